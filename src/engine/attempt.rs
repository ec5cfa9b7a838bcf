//! One attempt at an assignment, in a process of its own: computes the step and keeps its journal.

use crate::assignment::Assignment;
use crate::batch;
use crate::clock;
use crate::error::{Error, Result};
use crate::journal::{End, Journal, Remark};
use crate::store::Store;
use crate::task::{Outcome, Task, Told};
use crate::worker::Worker;
use contract::checkpoint::Checkpoints;
use contract::gpu;
use contract::stage::{Kind, Report, StopFlag, StopReason};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The interval at which a live worker writes to its journal, if it has nothing else to say.
const PULSE: Duration = Duration::from_secs(30);
/// The least time between two notes, or two progress reports: the journal lies on a shared file system.
const THROTTLE: Duration = Duration::from_secs(1);
/// The interval at which a lock that another worker holds is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What a process may be told from outside while it works.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    /// Stop.
    pub stop: StopFlag,
    /// The job's time is almost over.
    warned: Arc<AtomicBool>,
    /// The checkpoints of the step, once it runs.
    checkpoints: Arc<Mutex<Option<Checkpoints>>>,
}

impl Calls {
    /// Says that the job's time is almost over. A step that keeps checkpoints saves one and stops; any other goes
    /// on, because it may still be done in time.
    pub fn warn(&self) {
        let saves = self.lock().as_ref().is_some_and(Checkpoints::in_use);
        if saves && !self.warned.swap(true, Ordering::SeqCst) {
            self.stop.raise();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Checkpoints>> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Computes the step of an assignment's file, unless its artifact is there already. Each remark also goes to
/// `hear`. An error says that this process must not compute the step, or cannot.
pub fn run(
    file: &Path,
    kinds: &[Kind],
    calls: &Calls,
    hear: impl Fn(&Remark) + Send + Sync + 'static,
) -> Result<End> {
    let assignment = Assignment::read(file)?;
    let store = Store::at(&assignment.cache);
    let place = batch::place_of(&store, file)?.filter(|(batch, place)| !batch.settled(*place));
    let Some((batch, place)) = place else {
        let step = &assignment.task.step;
        return Err(Error::Usage(format!("nobody waits for {step} any more: its batch is closed")));
    };
    let journal = Arc::new(Journal::append_to(&batch.journal(place))?);
    let hear = Arc::new(hear);
    let gpus: Vec<u32> = match assignment.gpus {
        0 => Vec::new(),
        count => gpu::ids().into_iter().take(count).collect(),
    };
    let say = {
        let (journal, hear) = (Arc::clone(&journal), Arc::clone(&hear));
        move |remark: Remark| {
            hear(&remark);
            journal.say(&remark)
        }
    };
    say(Remark::Began {
        host: batch::host(),
        process: std::process::id(),
        job: job_of_this_process(),
        gpus: gpus.clone(),
        at: clock::unix_seconds(),
    })?;
    let result = assignment.check(kinds).and_then(|()| match gpus.len() < assignment.gpus {
        true => Err(Error::Device(format!(
            "{}: its job was to have {} GPU(s) and has {}",
            assignment.task.step,
            assignment.gpus,
            gpus.len()
        ))),
        false => {
            let name = batch::worker_name(&batch, place);
            let task = Task { gpus, draft: name, ..assignment.task };
            compute(&store, kinds, task, calls, say.clone())
        }
    });
    let end = match &result {
        Ok(end) => end.clone(),
        Err(error) => End::Failed { why: error.to_string(), tail: Vec::new(), log: None },
    };
    say(Remark::Ended { end })?;
    journal.sync()?;
    result
}

fn compute(
    store: &Store,
    kinds: &[Kind],
    task: Task,
    calls: &Calls,
    say: impl Fn(Remark) -> contract::disk::Result<()> + Clone + Send + Sync + 'static,
) -> Result<End> {
    let worker = Worker::new(store.clone(), kinds, calls.stop.clone());
    let (done, over) = channel::<()>();
    let pulse = say.clone();
    std::thread::spawn(move || {
        while over.recv_timeout(PULSE) == Err(RecvTimeoutError::Timeout) {
            // If the journal cannot be written, the end of the step will say so.
            let _ = pulse(Remark::Alive);
        }
    });
    let told = Mutex::new([None::<Instant>; 2]);
    let kept = calls.clone();
    let tell = Arc::new(move |message: Told| {
        let remark = match message {
            Told::Begun { checkpoints, .. } => {
                *kept.lock() = Some(checkpoints);
                return;
            }
            Told::Report(Report::Note(text)) => Remark::Note { text },
            Told::Report(Report::Progress { done, total }) => Remark::Progress { done, total },
            Told::Report(Report::Remark(text)) => Remark::Remark { text },
            Told::Report(Report::Warning(text)) => Remark::Warning { text },
            Told::Report(Report::Log(_)) | Told::Sealed | Told::Queued { .. } => return,
        };
        let of = match remark {
            Remark::Note { .. } => Some(0),
            Remark::Progress { done, total } if done < total => Some(1),
            _ => None,
        };
        if let Some(of) = of {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if told[of].is_some_and(|told| told.elapsed() < THROTTLE) {
                return;
            }
            told[of] = Some(Instant::now());
        }
        // As above.
        let _ = say(remark);
    });
    let outcome = (0..).find_map(|number| {
        let task = Task { draft: format!("{}.{number}", task.draft), ..task.clone() };
        let tell = Arc::clone(&tell);
        match worker.run(task, move |told| tell(told)) {
            Outcome::Busy(_) => match calls.stop.reason() {
                Some(reason) => Some(Outcome::Stopped(reason)),
                None => {
                    std::thread::sleep(LOOK);
                    None
                }
            },
            outcome => Some(outcome),
        }
    });
    drop(done);
    worker.close();
    Ok(match outcome.expect("numbers do not end") {
        Outcome::Computed { artifact: _, seconds, bytes, other } => End::Computed { seconds, bytes, other },
        Outcome::Hit(_) => End::Hit,
        Outcome::Failed { why, tail, log } => End::Failed { why, tail, log },
        Outcome::Stopped(StopReason::Timeout(limit)) => {
            let why = format!("stopped after its time limit of {limit:?}");
            End::Failed { why, tail: Vec::new(), log: None }
        }
        Outcome::Stopped(StopReason::Asked | StopReason::Now) if calls.warned.load(Ordering::SeqCst) => {
            End::OutOfTime
        }
        Outcome::Stopped(_) | Outcome::Busy(_) | Outcome::Left => End::Stopped,
        Outcome::Refused(error) => return Err(error),
    })
}

/// The scheduler's name for the job that this process is part of.
fn job_of_this_process() -> Option<String> {
    let variable = |name| std::env::var(name).ok();
    match (variable("SLURM_ARRAY_JOB_ID"), variable("SLURM_ARRAY_TASK_ID")) {
        (Some(id), Some(place)) => Some(format!("{id}_{place}")),
        _ => variable("SLURM_JOB_ID"),
    }
}
