//! What a step is to whoever computes it: plain data, from which any process that has the same kinds and
//! reaches the same cache can make the artifact.

use crate::error::Error;
use crate::hash::Seen;
use crate::key::{Digest, Key, Recipe};
use crate::store::Artifact;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stages::checkpoint::Checkpoints;
use stages::stage::{Report, StopReason};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that is needed to compute one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The step's name.
    pub step: String,
    /// The run that it is part of.
    pub run: String,
    /// The key that it makes the artifact of.
    pub key: Key,
    /// What the key is the hash of: the kind, its params, the device.
    pub recipe: Recipe,
    /// The params as the pipeline file writes them. Those in the recipe are what a kind makes of them, and
    /// cannot be read back: a kind may leave out what is not set.
    pub with: Value,
    /// What each slot is filled with.
    pub inputs: BTreeMap<String, Filling>,
    /// The external files among them, and the scripts, as they were when the key was made.
    pub watched: Vec<Watched>,
    /// Compute it although it is there.
    pub anew: bool,
    /// The name of its draft: that of the run, and a number that no other draft of the run has.
    pub draft: String,
    /// The folder of the pipeline file.
    pub root: PathBuf,
    /// How many threads it may use.
    pub cpus: usize,
    /// The GPUs leased to it.
    pub gpus: Vec<u32>,
    /// How long it may take.
    pub limit: Option<Duration>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// What fills a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    /// An artifact that whoever made the task has verified; its digest is in the recipe.
    Artifact(Key),
    /// A file or folder that no step makes.
    File(PathBuf),
}

/// An external file or folder that a step reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// As it was when the key was made.
    pub seen: Seen,
    /// Whether its stamps would show every later change.
    pub settled: bool,
}

/// What is told of a task while it runs.
pub enum Told {
    /// It got its lock and begins.
    Begun {
        /// Its checkpoints, by which one can tell whether it saves any.
        checkpoints: Checkpoints,
        /// The GPUs that it has.
        gpus: Vec<u32>,
    },
    /// The stage reports something.
    Report(Report),
}

/// How a task came out.
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
    /// Somebody is making it: the process, where this machine can tell.
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

#[cfg(test)]
mod tests {
    use crate::graph::Graph;
    use std::path::Path;

    /// A task carries params and no stage: whoever does it prepares them once more.
    #[test]
    fn written_params_survive_being_sent() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let mut steps = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let graph = Graph::load(&file, stages::KINDS, &[], &folder).unwrap();
            for step in graph.steps.node_weights() {
                let sent = serde_json::from_str(&step.with.to_string()).unwrap();
                let again =
                    (step.kind.prepare)(&sent).unwrap_or_else(|error| panic!("{}: {error:?}", step.name));
                assert_eq!(again.params, step.prepared.params, "{} of {}", step.name, file.display());
                steps += 1;
            }
        }
        assert!(steps > 0);
    }
}
