//! A step as given to a worker: plain data, from which any process with the same kinds and access to the same
//! cache can make the artifact.

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

/// Everything needed to compute one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The step's name.
    pub step: String,
    /// The run that it is part of.
    pub run: String,
    /// The key of the artifact to make.
    pub key: Key,
    /// The recipe that hashes to the key: the kind, its params, the device.
    pub recipe: Recipe,
    /// The params as written in the pipeline file. The recipe's params cannot be used: they are the kind's
    /// normalised form, which may omit unset params and so cannot be parsed back.
    pub with: Value,
    /// The content of each slot.
    pub inputs: BTreeMap<String, Filling>,
    /// The external files among them, and the scripts, with the stamps from when the key was computed.
    pub watched: Vec<Watched>,
    /// Compute it even if the artifact exists.
    pub anew: bool,
    /// The name of its draft: the run's name and a suffix that is unique within the run.
    pub draft: String,
    /// The folder of the pipeline file.
    pub root: PathBuf,
    /// How many threads it may use.
    pub cpus: usize,
    /// The GPUs leased to it.
    pub gpus: Vec<u32>,
    /// The time limit.
    pub limit: Option<Duration>,
    /// The file for its output.
    pub log: PathBuf,
}

/// What fills a slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    /// An artifact, already verified by the task's creator; its digest is in the recipe.
    Artifact(Key),
    /// A file or folder that no step produces.
    File(PathBuf),
}

/// An external file or folder that a step reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// Its digest and stamps from when the key was computed.
    pub seen: Seen,
    /// Whether the stamps would reveal any later change.
    pub settled: bool,
}

/// A message about a running task.
pub enum Told {
    /// It acquired its lock and starts.
    Begun {
        /// Its checkpoints, which show whether it saves any.
        checkpoints: Checkpoints,
        /// The GPUs that it has.
        gpus: Vec<u32>,
    },
    /// A report from the stage.
    Report(Report),
    /// Its output is whole and hashed. It computes no more, and only waits for the disk.
    Sealed,
}

/// The result of a task.
pub enum Outcome {
    /// Its artifact is durable.
    Computed {
        /// The artifact.
        artifact: Artifact,
        /// How long it took.
        seconds: f64,
        /// Its size.
        bytes: u64,
        /// A different result of the same recipe that existed before.
        other: Option<Digest>,
    },
    /// Another run made the artifact meanwhile.
    Hit(Artifact),
    /// Another run is making it; the process, where this machine can tell.
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
    /// The engine itself hit an error of the machine.
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
