//! Runs one task on the calling thread: claims its key, runs its stage, commits its artifact.
//!
//! The claim, the draft and the commit are done here and not in the run loop, so that a task could run in a
//! separate process, on this machine or another.

mod stage;

use crate::clock;
use crate::error::{Error, Result};
use crate::hash;
use crate::key::Hardware;
use crate::store::{Claim, Committed, Origin, Scratches, SealError, Store};
use crate::task::{Filling, Outcome, Task, Told, Watched};
use contract::checkpoint::Checkpoints;
use contract::stage::{Device, Io, Kind, Report, StopFlag};
use contract::warden::Wardens;
use stage::{Crews, Failure};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a process needs to run tasks. Clones share it.
#[derive(Clone)]
pub struct Worker {
    store: Store,
    kinds: Arc<[Kind]>,
    stop: StopFlag,
    wardens: Wardens,
    scratches: Scratches,
    crews: Crews,
}

impl Worker {
    /// A worker for tasks of these kinds.
    pub fn new(store: Store, kinds: &[Kind], stop: StopFlag) -> Worker {
        let (wardens, scratches, crews) = Default::default();
        Worker { store, kinds: kinds.into(), stop, wardens, scratches, crews }
    }

    /// Ends the idle processes, and removes the empty folders, that are kept for later tasks.
    pub fn close(&self) {
        self.wardens.dismiss();
        self.scratches.remove();
    }

    /// Runs a task, reporting its progress through `tell`.
    pub fn run(&self, task: Task, tell: impl Fn(Told) + Send + Sync + 'static) -> Outcome {
        self.try_to_run(task, tell).unwrap_or_else(Outcome::Refused)
    }

    fn try_to_run(&self, task: Task, tell: impl Fn(Told) + Send + Sync + 'static) -> Result<Outcome> {
        let failed = |why| Ok(Outcome::Failed { why, tail: Vec::new(), log: None });
        let draft = match self.store.claim(task.key, &task.draft, task.anew)? {
            Claim::Hit(artifact) => return Ok(Outcome::Hit(artifact)),
            Claim::Busy(process) => return Ok(Outcome::Busy(process)),
            Claim::Draft(draft) => draft,
        };
        let checkpoints = Checkpoints::in_folder(self.store.checkpoints(task.key));
        tell(Told::Begun { checkpoints: checkpoints.clone(), gpus: task.gpus.clone() });
        let began = Instant::now();
        let name = &task.recipe.kind;
        let Some(kind) = self.kinds.iter().find(|kind| kind.name == name) else {
            return failed(format!("this program has no kind `{name}`"));
        };
        let prepared = match (kind.prepare)(&task.with) {
            Ok(prepared) => prepared,
            Err(mistake) => return failed(mistake.message),
        };
        if prepared.params != task.recipe.params {
            return failed(format!("this program's kind `{name}` is not the one that the key was made for"));
        }
        let work = self.scratches.take(&self.store, &task.run)?;
        let io = Io {
            step: task.step.clone(),
            root: task.root.clone(),
            inputs: self.paths(&task),
            out: draft.out(),
            work: work.path().to_owned(),
            device: match task.gpus.first() {
                Some(id) if task.recipe.device == Some(Hardware::Cuda) => Device::Cuda(*id),
                _ => Device::Cpu,
            },
            gpus: task.gpus.clone(),
            cpus: task.cpus,
            stop: self.stop.clone(),
            limit: task.limit,
            began,
            checkpoints,
            wardens: self.wardens.clone(),
            listener: Box::new(|_| ()),
        };
        let tell = Arc::new(tell);
        let teller = Arc::clone(&tell);
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&warnings);
        let report = move |report| {
            if let Report::Warning(text) = &report {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(text.clone());
            }
            teller(Told::Report(report));
        };
        match stage::run(&*prepared.stage, io, &self.crews, task.log, report) {
            Ok(()) => {}
            Err(Failure::Stopped(stopped)) => return Ok(Outcome::Stopped(stopped.0)),
            Err(Failure::Refused(refusal)) => {
                return Err(Error::Device(format!("{}: {refusal}", task.step)));
            }
            Err(Failure::Failed { why, tail, log }) => return Ok(Outcome::Failed { why, tail, log }),
        }
        drop(work);
        if let Some(watched) = task.watched.iter().find(|watched| !self.still_the_same(watched)) {
            let path = watched.seen.stamps[0].0.display();
            return failed(format!(
                "the input {path} changed while the step ran; run again when it is at rest"
            ));
        }
        let seconds = began.elapsed().as_secs_f64();
        let sealed = match draft.seal() {
            Ok(sealed) => sealed,
            Err(SealError::Output(why)) => return failed(why),
            Err(SealError::Machine(error)) => return Err(error),
        };
        tell(Told::Sealed);
        let warnings = std::mem::take(&mut *warnings.lock().unwrap_or_else(PoisonError::into_inner));
        let origin = Origin { step: task.step, run: task.run, at: clock::unix_seconds(), seconds };
        let Committed { artifact, bytes, other } =
            sealed.commit(&task.recipe.canonical(), origin, warnings)?;
        Ok(Outcome::Computed { artifact, seconds, bytes, other })
    }

    /// The path of each input of a task.
    fn paths(&self, task: &Task) -> BTreeMap<String, PathBuf> {
        let path = |filling: &Filling| match filling {
            Filling::Artifact(key) => self.store.output_folder(*key),
            Filling::File(path) => path.clone(),
        };
        task.inputs.iter().map(|(slot, filling)| (slot.clone(), path(filling))).collect()
    }

    /// Whether the external input is still what the key was computed from. A file that was written to counts
    /// as changed even if its bytes are the same again, because the step may have read different ones in
    /// between. If only its links or permissions changed, or if it was written just before it was hashed so
    /// that an equal stamp proves nothing, it is hashed again.
    fn still_the_same(&self, watched: &Watched) -> bool {
        let Watched { seen, settled } = watched;
        let hash_again = || hash::input(&seen.stamps[0].0, &self.stop);
        let same_bytes = || hash_again().is_ok_and(|now| now.digest == seen.digest);
        (*settled && seen.unchanged()) || (seen.unwritten() && same_bytes())
    }
}
