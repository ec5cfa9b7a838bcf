//! What a step is to whoever computes it: plain data, from which any process that has the same kinds and
//! reaches the same cache can make the artifact.

use crate::error::Error;
use crate::hash::Seen;
use crate::key::{Digest, Key, Recipe};
use crate::store::Artifact;
use contract::checkpoint::Checkpoints;
use contract::stage::{Report, StopReason};
use serde::{Deserialize, Serialize};
use serde_json::Value;
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
    use super::*;
    use crate::key::{FORMAT, Hardware};
    use serde_json::json;
    use std::path::Path;

    #[test]
    fn a_task_survives_being_sent() {
        let with = json!({"rate": 0.1, "seed": u64::MAX, "run": "a \"b\"\n", "none": null});
        let digest = Digest::of(b"cells");
        let recipe = Recipe {
            format: FORMAT,
            kind: "train".into(),
            code: BTreeMap::new(),
            params: with.clone(),
            device: Some(Hardware::Cuda),
            inputs: BTreeMap::from([("cells".into(), digest)]),
            platform: BTreeMap::new(),
        };
        let key = Recipe::key(&recipe.canonical());
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("task.rs");
        let seen = crate::hash::input(&here, &Default::default()).unwrap();
        let file = Filling::File("/data/cells.h5ad".into());
        let task = Task {
            step: "train[seed=1]".into(),
            run: "20260101-000000-1".into(),
            key,
            recipe,
            with,
            inputs: BTreeMap::from([("cells".into(), Filling::Artifact(key)), ("file".into(), file)]),
            watched: vec![Watched { seen, settled: true }],
            anew: false,
            draft: "20260101-000000-1.0.0".into(),
            root: "/project".into(),
            cpus: 2,
            gpus: vec![0, 3],
            limit: Some(Duration::from_millis(1500)),
            log: "/project/cache/runs/x.log".into(),
        };
        let sent = serde_json::to_string(&task).unwrap();
        let read: Task = serde_json::from_str(&sent).unwrap();
        assert_eq!(read, task);
        assert_eq!(Recipe::key(&read.recipe.canonical()), key);
    }
}
