//! Events of a run: one stream that feeds the console, the run log and `--json`.

use crate::error::Result;
use crate::key::Key;
use crate::reason::Reason;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One event. Its serialised form is the format of `run --json` and of the run log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    Begun(Begun),
    /// Cache hit: the artifact exists.
    Cached {
        /// The step's name.
        step: String,
        /// Its key.
        key: Key,
        /// How many warnings the artifact carries.
        #[serde(default, skip_serializing_if = "is_zero")]
        warnings: usize,
    },
    /// Cache miss: the step is due to be computed.
    Due {
        /// The step's name.
        step: String,
        /// Its key.
        key: Key,
        /// Why the artifact is missing.
        reason: Reason,
    },
    /// The step started.
    Started {
        /// The step's name.
        step: String,
        /// 1 for the first attempt; higher after retries.
        attempt: u32,
        /// The GPUs leased to it.
        gpus: Vec<u32>,
    },
    /// Another run is computing the same artifact; this one waits for it.
    Waiting {
        /// The step's name.
        step: String,
        /// The process that holds the lock, where this machine can tell.
        process: Option<u32>,
    },
    /// Another run on this machine holds the GPU that the step needs; the step waits.
    WaitingForGpu {
        /// The step's name.
        step: String,
        /// The process that holds the GPU, if it can be determined.
        process: Option<u32>,
    },
    /// What the step is doing now.
    Note {
        /// The step's name.
        step: String,
        /// A short description.
        text: String,
    },
    /// The step's progress.
    Progress {
        /// The step's name.
        step: String,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// Something about this run that does not concern the result of the step.
    Remark {
        /// The step's name.
        step: String,
        /// The remark.
        text: String,
    },
    /// A warning; nothing is stopped.
    Warning {
        /// The step concerned; `None` if the warning is about the whole run.
        step: Option<String>,
        /// The warning.
        text: String,
    },
    /// This run computed the step, and its artifact is durable.
    Computed {
        /// The step's name.
        step: String,
        /// Its key.
        key: Key,
        /// How long it took.
        seconds: f64,
        /// The size of the artifact.
        bytes: u64,
    },
    /// The step failed.
    Failed(Failed),
    /// The step was not run.
    Skipped {
        /// The step's name.
        step: String,
        /// The reason.
        why: String,
    },
    /// An optional input of the step, or of one of its producers, is missing.
    Absent {
        /// The step's name.
        step: String,
        /// The pipeline file's hint for obtaining the input.
        hint: String,
    },
    /// A signal arrived; no further steps are started.
    Stopping {
        /// The signal's number.
        signal: i32,
    },
    /// The run ended.
    Ended(Ended),
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The first event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The run's name.
    pub run: String,
    /// The pipeline file.
    pub file: PathBuf,
    /// Its `name:`.
    pub name: String,
    /// How many steps it has.
    pub steps: usize,
    /// The version of this program.
    pub version: String,
    /// The command line.
    pub arguments: Vec<String>,
    /// Which device the steps with a choice compute on, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The machine.
    pub host: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// A failed attempt of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The step's name.
    pub step: String,
    /// What went wrong.
    pub why: String,
    /// The last lines of its output.
    pub tail: Vec<String>,
    /// The file with all of its output.
    pub log: Option<PathBuf>,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// Seconds until the next attempt; `None` if there will be no retry.
    pub retry_in: Option<f64>,
}

/// The last event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The run's name.
    pub run: String,
    /// Steps computed by this run.
    pub computed: usize,
    /// Steps whose artifact existed, or was made by another run in the meantime.
    pub cached: usize,
    /// Steps that were not run: an input was absent, a producer failed, or a signal came.
    pub skipped: usize,
    /// Steps that failed.
    pub failed: usize,
    /// How long the run took.
    pub seconds: f64,
}

impl Event {
    /// The step and its key, if the event names one. A run holds the lock against garbage collection from a
    /// lookup until the key is on record, so that a collection spares the artifact.
    pub fn key(&self) -> Option<(&str, Key)> {
        match self {
            Event::Cached { step, key, .. }
            | Event::Due { step, key, .. }
            | Event::Computed { step, key, .. } => Some((step, *key)),
            _ => None,
        }
    }
}

/// A listener that receives every event of a run.
pub trait Sink {
    /// Receives one event; an error ends the run.
    fn hear(&mut self, event: &Event) -> Result<()>;

    /// Receives, when the first step turns out to be due, every step that is not settled yet, with the seconds
    /// that it took the last time.
    fn expect(&mut self, _steps: &[(String, Option<f64>)]) {}

    /// Flushes what was received; called after each batch of events.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
