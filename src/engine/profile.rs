//! A profile: how steps are given to a cluster's scheduler, as a YAML file of the user's.

use crate::complaint::{Complaint, Place};
use crate::error::{Error, Result};
use crate::quantity;
use crate::spec::{self, Resources, optional_bytes, optional_duration};
use crate::yaml::PipelineText;
use contract::stage::Kind;
use indexmap::IndexMap;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where profiles lie, in the pipeline file's folder and those above it, and among the user's settings.
const FOLDER: &str = "profiles";

/// A profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The scheduler.
    pub executor: Executor,
    /// The partition.
    partition: Option<String>,
    /// The account that pays.
    account: Option<String>,
    /// The quality of service.
    qos: Option<String>,
    /// Further options for the scheduler, as written.
    #[serde(default)]
    flags: Vec<String>,
    /// Amounts, where a step names none.
    #[serde(default)]
    resources: Amounts,
    /// The most jobs at once, queued or running.
    #[serde(default = "most_jobs")]
    pub jobs: usize,
    /// Kinds whose steps run on this machine.
    #[serde(default)]
    pub local: Vec<String>,
    /// Shell lines before each step, such as `module load cuda`.
    #[serde(default)]
    pub setup: Vec<String>,
    /// By kind, what is asked for instead.
    #[serde(default)]
    kinds: IndexMap<String, Request>,
    /// What is tried again.
    #[serde(default)]
    pub retries: Retries,
    /// How long before its time limit a job is warned, so that it saves a checkpoint.
    #[serde(default = "warning", deserialize_with = "a_duration")]
    pub warning: Duration,
    /// The shortest interval between two questions about all jobs.
    #[serde(default = "poll", deserialize_with = "a_duration")]
    pub poll: Duration,
    /// The instruction set of the nodes, if it is not this machine's.
    pub instructions: Option<String>,
}

/// A scheduler that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// SLURM.
    Slurm,
}

/// What a job asks for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Request {
    /// The partition.
    pub partition: Option<String>,
    /// The account that pays.
    pub account: Option<String>,
    /// The quality of service.
    pub qos: Option<String>,
    /// Further options for the scheduler, as written.
    pub flags: Vec<String>,
    /// Amounts, whatever the step names.
    pub resources: Amounts,
}

/// Amounts of what a step needs, each of which may be left open.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amounts {
    /// Threads.
    pub cpus: Option<usize>,
    /// Bytes, written like `1GiB`.
    #[serde(deserialize_with = "optional_bytes")]
    pub memory: Option<u64>,
    /// GPUs.
    pub gpus: Option<usize>,
    /// The time limit, such as `10m`.
    #[serde(deserialize_with = "optional_duration")]
    pub time: Option<Duration>,
}

/// What is tried again after a job ended without a result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// The factor for the memory of a step that ran out of it, such as `x2`.
    #[serde(deserialize_with = "factor")]
    pub memory: Option<f64>,
    /// The factor for the time of a step that ran out of it.
    #[serde(deserialize_with = "factor")]
    pub time: Option<f64>,
    /// How often each of these factors is applied to one step.
    pub most: u32,
    /// How often a step is submitted again whose job was lost: preempted, or with its node.
    pub lost: u32,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { memory: None, time: None, most: 3, lost: 3 }
    }
}

fn most_jobs() -> usize {
    200
}

fn warning() -> Duration {
    Duration::from_secs(90)
}

fn poll() -> Duration {
    Duration::from_secs(2)
}

fn a_duration<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Duration, D::Error> {
    quantity::duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<f64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = text.strip_prefix('x').and_then(|number| number.parse().ok());
    let number = number.filter(|number: &f64| *number > 1.0 && *number <= 100.0);
    number
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("expected a factor above 1 such as `x2`, found `{text}`")))
}

impl Profile {
    /// Reads the profile with this name, or the one in this file.
    pub fn find(name: &str, pipeline: &Path, kinds: &[Kind]) -> Result<Profile> {
        let is_path = name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml");
        let path = match is_path {
            true => PathBuf::from(name),
            false => search(name, pipeline)?,
        };
        Ok(Profile::read(&path, kinds)?)
    }

    fn read(path: &Path, kinds: &[Kind]) -> std::result::Result<Profile, Complaint> {
        let source = PipelineText::read(path)?;
        let value = source.parse()?;
        if !value.is_object() {
            let title = format!("expected a map with `executor`, found {}", spec::short(&value));
            return Err(source.complain(&Place::top(), title, "the whole file"));
        }
        let profile: Profile = spec::typed(&value, |segments, message| {
            spec::complain(&source, Place::top().join(segments), message)
        })?;
        let named = profile.local.iter().map(|kind| ("local", kind));
        for (field, kind) in named.chain(profile.kinds.keys().map(|kind| ("kinds", kind))) {
            if kinds.iter().all(|known| known.name != kind) {
                let place = Place::of(&[field]);
                let title = format!("there is no kind {}", crate::complaint::word(kind));
                let known = crate::complaint::known(kind, "kinds", kinds.iter().map(|kind| kind.name));
                return Err(source.complain_of(&place, kind, title, "no such kind").hint(known));
            }
        }
        if profile.jobs == 0 {
            return Err(source.complain(
                &Place::of(&["jobs"]),
                "`jobs` must be 1 or more",
                "no job could run",
            ));
        }
        Ok(profile)
    }

    /// What a step of this kind is given that asks for these resources.
    pub fn resources_of(&self, kind: &str, asked: &Resources) -> Resources {
        let Amounts { cpus, memory, gpus, time } = &self.resources;
        let own = self.kinds.get(kind).map(|request| request.resources.clone()).unwrap_or_default();
        Resources {
            cpus: own.cpus.or(cpus.filter(|_| asked.cpus == 1)).unwrap_or(asked.cpus),
            memory: own.memory.or(asked.memory).or(*memory),
            gpus: own.gpus.or(gpus.filter(|_| asked.gpus == 0)).unwrap_or(asked.gpus),
            time: own.time.or(asked.time).or(*time),
        }
    }

    /// What a job of this kind asks for besides resources.
    pub fn request_of(&self, kind: &str) -> Request {
        let own = self.kinds.get(kind).cloned().unwrap_or_default();
        Request {
            partition: own.partition.or_else(|| self.partition.clone()),
            account: own.account.or_else(|| self.account.clone()),
            qos: own.qos.or_else(|| self.qos.clone()),
            flags: [self.flags.clone(), own.flags].concat(),
            resources: own.resources,
        }
    }

    /// Whether steps of this kind run on this machine.
    pub fn keeps(&self, kind: &str) -> bool {
        self.local.iter().any(|local| local == kind)
    }
}

/// Looks for `profiles/NAME.yaml` beside the pipeline file, in each folder above it, and among the user's settings.
fn search(name: &str, pipeline: &Path) -> Result<PathBuf> {
    let file = format!("{name}.yaml");
    let settings = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".config"));
    let settings = settings.or_else(home).map(|folder| folder.join("pipeline"));
    let above = pipeline.ancestors().skip(1).map(Path::to_owned);
    let places: Vec<PathBuf> = above.chain(settings).map(|folder| folder.join(FOLDER).join(&file)).collect();
    match places.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => {
            let (beside, own) = (&places[0], places.last().unwrap_or(&places[0]));
            Err(Error::Usage(format!(
                "there is no profile `{name}`; write it to {}, or for all of your projects to {}",
                beside.display(),
                own.display()
            )))
        }
    }
}
