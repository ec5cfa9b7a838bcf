//! Runs each step on a thread of this process.
//!
//! One thread per step, mostly waiting: a killed engine leaves none behind.

use super::{Message, Outcome, Task, Watched};
use crate::clock;
use crate::error::{Error, Result};
use crate::hash;
use crate::store::{Claim, CommitError, Committed, Origin, Store};
use crate::worker::{self, Failure};
use contract::stage::{Device, Io, StopFlag};
use contract::warden::Wardens;
use std::sync::mpsc::Sender;
use std::time::Instant;

/// Starts tasks on this machine.
#[derive(Clone)]
pub struct Local {
    store: Store,
    stop: StopFlag,
    wardens: Wardens,
    messages: Sender<Message>,
}

impl Local {
    /// An executor that answers through `messages`.
    pub fn new(store: Store, stop: StopFlag, messages: Sender<Message>) -> Local {
        Local { store, stop, wardens: Wardens::default(), messages }
    }

    /// Starts a task; its outcome comes as a message.
    pub fn start(&self, task: Task) {
        let local = self.clone();
        std::thread::spawn(move || {
            let node = task.node;
            let outcome = local.run(task).unwrap_or_else(Outcome::Refused);
            local.tell(Message::Finished(node, outcome));
        });
    }

    /// Ends the processes that are kept for steps to come.
    pub fn close(&self) {
        self.wardens.dismiss();
    }

    /// The loop may have ended before a step that was told to stop did.
    fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }

    fn run(&self, task: Task) -> Result<Outcome> {
        let draft = match self.store.claim(task.key, &task.draft, task.anew)? {
            Claim::Hit(artifact) => return Ok(Outcome::Hit(artifact)),
            Claim::Busy(process) => return Ok(Outcome::Busy(process)),
            Claim::Draft(draft) => draft,
        };
        self.tell(Message::Started(task.node));
        let began = Instant::now();
        let device = match task.gpus.first() {
            Some(id) if task.on_gpu => Device::Cuda(*id),
            _ => Device::Cpu,
        };
        let io = Io {
            step: task.step.clone(),
            root: task.root,
            inputs: task.inputs,
            out: draft.out(),
            work: draft.work(),
            device,
            gpus: task.gpus,
            cpus: task.cpus,
            stop: self.stop.clone(),
            limit: task.limit,
            began,
            checkpoints: task.checkpoints,
            wardens: self.wardens.clone(),
            listener: Box::new(|_| ()),
        };
        let (node, messages) = (task.node, self.messages.clone());
        let tell = move |report| drop(messages.send(Message::Report(node, report)));
        match worker::work(&*task.stage, io, task.log, tell) {
            Ok(()) => {}
            Err(Failure::Stopped(stopped)) => return Ok(Outcome::Stopped(stopped.0)),
            Err(Failure::Refused(refusal)) => {
                return Err(Error::Device(format!("{}: {refusal}", task.step)));
            }
            Err(Failure::Failed { why, tail, log }) => return Ok(Outcome::Failed { why, tail, log }),
        }
        let failed = |why| Outcome::Failed { why, tail: Vec::new(), log: None };
        for watched in &task.watched {
            if !still_the_same(watched, &self.stop) {
                let path = watched.seen.stamps[0].0.display();
                return Ok(failed(format!(
                    "the input {path} changed while the step ran; run again when it is at rest"
                )));
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let origin = Origin { step: task.step, run: task.run, at: clock::unix_seconds(), seconds };
        match draft.commit(&task.recipe, origin) {
            Ok(Committed { artifact, bytes, other }) => {
                Ok(Outcome::Computed { artifact, seconds, bytes, other })
            }
            Err(CommitError::Output(why)) => Ok(failed(why)),
            Err(CommitError::Machine(error)) => Err(error),
        }
    }
}

/// Whether the step read what its key was made of. A file that was written to has changed even where its
/// bytes are the old ones again: in between they may have been others. Where just a link or a right
/// changed, or where the file was written just before it was hashed so that an equal stamp proves
/// nothing, it is hashed again.
fn still_the_same(watched: &Watched, stop: &StopFlag) -> bool {
    let Watched { seen, settled } = watched;
    let same_bytes = || hash::input(&seen.stamps[0].0, stop).is_ok_and(|now| now.digest == seen.digest);
    (*settled && seen.unchanged()) || (seen.unwritten() && same_bytes())
}
