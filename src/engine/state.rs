//! The state of a step.

use crate::key::Key;
use crate::store::Artifact;
use contract::checkpoint::Checkpoints;
use std::time::Instant;

/// The state of a step.
#[derive(Debug, Clone)]
pub enum State {
    /// Not selected.
    Out,
    /// This many inputs are not known yet.
    Waiting(usize),
    /// Every input is known; the artifact has not been looked up.
    Ready,
    /// Cache miss; it may start as soon as resources are free.
    Due(Work),
    /// Cache miss; it may start at this time, not earlier.
    Later(Work, Instant),
    /// Handed to an executor. The checkpoints are set once it holds the key's lock and runs.
    Running(Work, Option<Checkpoints>),
    /// Cache hit.
    Cached(Artifact),
    /// Computed by this run.
    Computed(Artifact),
    /// It failed.
    Failed,
    /// It will not be computed, for this reason.
    Skipped(String),
    /// An optional input is missing; the text is the pipeline file's hint.
    Absent(String),
}

/// What is known about a step whose artifact is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The key that its artifact will have.
    pub key: Key,
    /// What is wrong with the existing artifact, if it is damaged.
    pub damage: Option<String>,
    /// Attempts started.
    pub attempts: u32,
    /// How often another run was found computing it.
    pub waits: u32,
}

/// An event that changes a step's state.
#[derive(Debug, Clone)]
pub enum News {
    /// An optional input is missing; the text is the pipeline file's hint.
    Absent(String),
    /// Its artifact was found whole.
    Found(Artifact),
    /// Its artifact is missing, or damaged as described.
    Missing(Key, Option<String>),
    /// It was handed to an executor.
    Handed,
    /// It holds the key's lock and runs.
    Begun(Checkpoints),
    /// Another run is computing it; look again at this time.
    Busy(Instant),
    /// Its artifact was computed.
    Computed(Artifact),
    /// It failed; retry at this time, if at all.
    Failed(Option<Instant>),
    /// The time it waited for has come.
    Awaited,
    /// It will not be computed, for this reason.
    GivenUp(String),
}

impl State {
    /// Whether the state is final.
    pub fn settled(&self) -> bool {
        use State::{Absent, Cached, Computed, Due, Failed, Later, Out, Ready, Running, Skipped, Waiting};
        match self {
            Out | Cached(_) | Computed(_) | Failed | Skipped(_) | Absent(_) => true,
            Waiting(_) | Ready | Due(_) | Later(..) | Running(..) => false,
        }
    }

    /// Its artifact, if it has one.
    pub fn artifact(&self) -> Option<&Artifact> {
        match self {
            State::Cached(artifact) | State::Computed(artifact) => Some(artifact),
            _ => None,
        }
    }

    /// What is known of it, if its artifact is missing and may be computed.
    pub fn work(&self) -> Option<&Work> {
        match self {
            State::Due(work) | State::Later(work, _) | State::Running(work, _) => Some(work),
            _ => None,
        }
    }

    /// Its key, once its inputs are known.
    pub fn key(&self) -> Option<Key> {
        self.artifact().map(Artifact::key).or_else(|| self.work().map(|work| work.key))
    }

    /// The state in one word.
    pub fn word(&self) -> &'static str {
        match self {
            State::Out => "out",
            State::Waiting(_) => "waiting",
            State::Ready | State::Due(_) | State::Later(..) => "due",
            State::Running(..) => "running",
            State::Cached(_) => "cached",
            State::Computed(_) => "computed",
            State::Failed => "failed",
            State::Skipped(_) => "skipped",
            State::Absent(_) => "absent",
        }
    }
}
