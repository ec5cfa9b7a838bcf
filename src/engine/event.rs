//! What happens in a run, as one stream that the console, the run log and `--json` all hear.

use crate::error::Result;
use crate::key::{Key, Reason};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One thing that happened. The serialised form is that of `run --json` and of the run log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    Begun(Begun),
    /// The artifact is there.
    Cached {
        /// The step's name.
        step: String,
        /// Its key.
        key: Key,
    },
    /// The artifact is not there, and will be made if its turn comes.
    Due {
        /// The step's name.
        step: String,
        /// Its key.
        key: Key,
        /// Why it is not there.
        reason: Reason,
    },
    /// The step runs.
    Started {
        /// The step's name.
        step: String,
        /// 1, and more after a retry.
        attempt: u32,
        /// The GPUs leased to it.
        gpus: Vec<u32>,
    },
    /// Another run is computing the same artifact; this one waits for it.
    Waiting {
        /// The step's name.
        step: String,
        /// The process that has it, where this machine can tell.
        process: Option<u32>,
    },
    /// Another run on this machine has the GPU that the step needs; it waits for it.
    WaitingForGpu {
        /// The step's name.
        step: String,
        /// The process that has it, where this machine can tell.
        process: Option<u32>,
    },
    /// What the step is doing.
    Note {
        /// The step's name.
        step: String,
        /// In a few words.
        text: String,
    },
    /// How far the step is.
    Progress {
        /// The step's name.
        step: String,
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// Something that stops nothing and that a person should know.
    Warning {
        /// The step that it is about, if it is about one.
        step: Option<String>,
        /// What.
        text: String,
    },
    /// The step was really computed, and its artifact is durable.
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
    /// The step could not be computed.
    Failed(Failed),
    /// The step was not computed.
    Skipped {
        /// The step's name.
        step: String,
        /// Why not.
        why: String,
    },
    /// An optional input of the step, or of a step before it, is not there.
    Absent {
        /// The step's name.
        step: String,
        /// What the pipeline file says to do about it.
        hint: String,
    },
    /// A signal came; no new step is started.
    Stopping {
        /// Its number.
        signal: i32,
    },
    /// The run ended.
    Ended(Ended),
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
    /// Where steps compute that have a choice, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The machine.
    pub host: String,
    /// Seconds since 1970.
    pub at: u64,
}

/// A step that could not be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The step's name.
    pub step: String,
    /// What went wrong.
    pub why: String,
    /// The last lines of its output.
    pub tail: Vec<String>,
    /// Where all of its output is.
    pub log: Option<PathBuf>,
    /// Which attempt it was.
    pub attempt: u32,
    /// After how many seconds it is tried again, if it is.
    pub retry_in: Option<f64>,
}

/// The last event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// The run's name.
    pub run: String,
    /// Steps computed by this run.
    pub computed: usize,
    /// Steps whose artifact was there, or was made by another run meanwhile.
    pub cached: usize,
    /// Steps that were not computed: absent inputs, failures before them, a signal.
    pub skipped: usize,
    /// Steps that failed.
    pub failed: usize,
    /// How long the run took.
    pub seconds: f64,
}

impl Event {
    /// The key that a step needs, where the event names one. A run that needs a key says so before it
    /// looks the key up, which is what keeps garbage collection off it.
    pub fn key(&self) -> Option<(&str, Key)> {
        match self {
            Event::Cached { step, key }
            | Event::Due { step, key, .. }
            | Event::Computed { step, key, .. } => Some((step, *key)),
            _ => None,
        }
    }
}

/// Something that hears every event of a run.
pub trait Sink {
    /// Hears one event; an error ends the run.
    fn hear(&mut self, event: &Event) -> Result<()>;

    /// Makes what was heard visible to others; called when a batch of events is complete.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
