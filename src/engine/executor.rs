//! Where a step runs. One place so far: this machine.

pub mod local;

use crate::error::Error;
use crate::hash::Seen;
use crate::key::{Digest, Key};
use crate::store::Artifact;
use contract::checkpoint::Checkpoints;
use contract::stage::{Report, Stage, StopReason};
use petgraph::graph::NodeIndex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Everything that is needed to compute one step.
pub struct Task {
    /// Which step, for the answer.
    pub node: NodeIndex,
    /// Its name.
    pub step: String,
    /// What runs.
    pub stage: Arc<dyn Stage>,
    /// The key that it makes the artifact of.
    pub key: Key,
    /// The recipe, as it is stored.
    pub recipe: String,
    /// Compute it although it is there.
    pub anew: bool,
    /// The name of its draft.
    pub draft: String,
    /// Slot to file or folder.
    pub inputs: BTreeMap<String, PathBuf>,
    /// The external files among them, as they were when the key was made.
    pub watched: Vec<Watched>,
    /// The folder of the pipeline file.
    pub root: PathBuf,
    /// How many threads it may use.
    pub cpus: usize,
    /// The GPUs leased to it.
    pub gpus: Vec<u32>,
    /// Whether it computes on a GPU itself.
    pub on_gpu: bool,
    /// How long it may take.
    pub limit: Option<Duration>,
    /// State that survives a kill.
    pub checkpoints: Checkpoints,
    /// Where its output goes.
    pub log: PathBuf,
    /// The run that it is part of.
    pub run: String,
}

/// An external file or folder that a step reads.
pub struct Watched {
    /// As it was when the key was made.
    pub seen: Seen,
    /// Whether its stamps would show every later change.
    pub settled: bool,
}

/// What the run loop hears.
pub enum Message {
    /// The step got its lock and begins.
    Started(NodeIndex),
    /// The step tells something.
    Report(NodeIndex, Report),
    /// The step is over.
    Finished(NodeIndex, Outcome),
    /// The process was sent a signal.
    Signal(i32),
}

/// How a step came out.
pub enum Outcome {
    /// Its artifact is durable.
    Computed {
        /// The artifact.
        artifact: Artifact,
        /// How long it took.
        seconds: f64,
        /// Its size.
        bytes: u64,
        /// Another result of the same recipe that was there already.
        other: Option<Digest>,
    },
    /// Somebody else made it meanwhile.
    Hit(Artifact),
    /// Somebody is making it.
    Busy(Option<u32>),
    /// It was told to stop.
    Stopped(StopReason),
    /// It failed.
    Failed {
        /// What went wrong.
        why: String,
        /// The last lines of its output.
        tail: Vec<String>,
        /// Where all of its output is.
        log: Option<PathBuf>,
    },
    /// The machine refused something that the engine needed.
    Refused(Error),
}
