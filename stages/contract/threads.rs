//! Threads that are kept for later work: starting one costs more than much of what it is given to do.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

type Work = Box<dyn FnOnce() + Send>;

/// The idle threads of this process. The one that became idle last is the first to work again, because its
/// memory is most likely still in a cache of the processor.
static IDLE: Mutex<Vec<Sender<Work>>> = Mutex::new(Vec::new());

/// Runs `work` on an idle thread, or on a new one.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut work: Work = Box::new(work);
    loop {
        let Some(thread) = idle().pop() else { break };
        match thread.send(work) {
            Ok(()) => return Ok(()),
            Err(unsent) => work = unsent.0,
        }
    }
    Builder::new().spawn(move || serve(work)).map(drop)
}

/// Works, and then waits for more. A panic ends the thread, which is then no longer among the idle ones.
fn serve(mut work: Work) {
    let (sender, receiver) = channel();
    loop {
        work();
        idle().push(sender.clone());
        match receiver.recv() {
            Ok(next) => work = next,
            Err(_) => unreachable!("this thread holds a sender itself"),
        }
    }
}

fn idle() -> MutexGuard<'static, Vec<Sender<Work>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier};

    #[test]
    fn work_that_waits_for_other_work_is_not_queued_behind_it() {
        let all = Arc::new(Barrier::new(9));
        for _ in 0..8 {
            let all = Arc::clone(&all);
            spawn(move || {
                all.wait();
            })
            .unwrap();
        }
        all.wait();
    }

    #[test]
    fn a_panic_does_not_reach_later_work() {
        let (sender, receiver) = channel();
        for number in 0..20 {
            let sender = sender.clone();
            spawn(move || {
                sender.send(number).unwrap();
                assert!(number % 2 == 0, "a panic of the test itself");
            })
            .unwrap();
            assert_eq!(receiver.recv(), Ok(number));
        }
    }
}
