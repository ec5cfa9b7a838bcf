//! The contract between the engine and a kind: what a kind declares, and what it gets at run time.

pub use crate::stop::{Refusal, StopFlag, StopReason, Stopped};
pub use crate::wires::{Makes, MetricNames, Output, Slot, Slots, Takes, Wires, always, sometimes};

use crate::checkpoint::Checkpoints;
use crate::gpu::Finder;
use crate::warden::Wardens;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A kind of stage.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name, as written after `kind:` in a pipeline file.
    pub name: &'static str,
    /// A one-sentence description.
    pub about: &'static str,
    /// The inputs it takes.
    pub slots: Slots,
    /// The files that its artifacts hold.
    pub makes: Makes,
    /// The metrics that its artifacts hold.
    pub metrics: MetricNames,
    /// The source files and crates that determine what it computes; `build.rs` finds them.
    pub code: Code,
    /// How it computes on a GPU, if it can. The device then enters the key.
    pub on_device: Option<OnDevice>,
    /// The JSON Schema of its params.
    pub schema: fn() -> schemars::Schema,
    /// Turns the params as written into checked, typed params with defaults filled in.
    pub prepare: fn(&Value) -> Result<Prepared, Mistake>,
}

impl Kind {
    /// A kind whose params are the fields of `T`. The contents of its artifacts are not declared.
    pub const fn of<T>(name: &'static str, about: &'static str, slots: Slots, code: Code) -> Kind
    where
        T: Stage + Serialize + DeserializeOwned + schemars::JsonSchema + 'static,
    {
        Kind {
            name,
            about,
            slots,
            makes: Makes::Anything,
            metrics: MetricNames::Any,
            code,
            on_device: None,
            schema: schema_of::<T>,
            prepare: prepare::<T>,
        }
    }

    /// Declares that its artifacts hold these files and no metrics.
    pub const fn makes(self, files: &'static [Output]) -> Kind {
        Kind { makes: Makes::These(files), metrics: MetricNames::These(&[]), ..self }
    }

    /// Declares the metrics in its artifacts.
    pub const fn judges(self, metrics: &'static [&'static [&'static str]]) -> Kind {
        Kind { metrics: MetricNames::These(metrics), ..self }
    }

    /// Declares that it can compute on a GPU, where this code also affects the result.
    pub const fn on_device(self, code: Code, gpus: Finder) -> Kind {
        Kind { on_device: Some(OnDevice { code, gpus }), ..self }
    }
}

/// Source files or crates of this program, each with a digest or version.
pub type Code = &'static [(&'static str, &'static str)];

/// How a kind computes on a GPU.
#[derive(Clone, Copy)]
pub struct OnDevice {
    /// The additional code that affects the result on a GPU.
    pub code: Code,
    /// Finds the usable GPUs.
    pub gpus: Finder,
}

/// Params that have been checked.
pub struct Prepared {
    /// Every param with its value, defaults filled in. These enter the key.
    pub params: Value,
    /// The stage with these params.
    pub stage: Arc<dyn Stage>,
}

/// An invalid param or wire: where it is, and why it is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is.
    pub at: At,
    /// What was expected and found.
    pub message: String,
}

/// What a mistake is blamed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// The param that these keys and indices lead to, below `with:`.
    Param(Vec<String>),
    /// The slot of this name, filled or not.
    Slot(String),
    /// The inputs as a whole, or the lack of any.
    Wires,
}

impl Mistake {
    /// A mistake in a param. Dots in the name lead into maps and lists.
    pub fn param(name: &str, message: impl Into<String>) -> Mistake {
        let path = name.split('.').map(str::to_owned).collect();
        Mistake { at: At::Param(path), message: message.into() }
    }

    /// A mistake in what fills a slot, or in a slot left empty.
    pub fn slot(name: &str, message: impl Into<String>) -> Mistake {
        Mistake { at: At::Slot(name.to_owned()), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// The code of a kind that runs. The implementing type's fields are the params.
pub trait Stage: Send + Sync {
    /// Refuses invalid params and wires. Called when the pipeline file is read, so `run` need not check
    /// again; `run` refuses what only the data can show to be wrong.
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        Ok(())
    }

    /// The optional outputs that these params rule out.
    fn leaves_out(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads the inputs of `io`, writes files below `io.out()`.
    ///
    /// Prereq: `check` has passed.
    fn run(&self, io: &Io) -> anyhow::Result<()>;

    /// Whether `run` only waits for other programs, and so needs no threads for parallel loops.
    fn only_waits(&self) -> bool {
        false
    }

    /// What affects the result besides params and inputs.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }
}

/// Something outside params and inputs whose content enters the key as code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// A file, relative to the pipeline file's folder.
    File(String),
    /// The value of an environment variable.
    Variable(String),
}

fn schema_of<T: schemars::JsonSchema>() -> schemars::Schema {
    schemars::schema_for!(T)
}

fn prepare<T>(written: &Value) -> Result<Prepared, Mistake>
where
    T: Stage + Serialize + DeserializeOwned + 'static,
{
    // Tracking the path costs time, so it is done only after an error.
    let stage = T::deserialize(written).or_else(|_| serde_path_to_error::deserialize(written));
    let stage: T = stage.map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let path = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(index.to_string()),
                serde_path_to_error::Segment::Map { key } => Some(key.clone()),
                _ => None,
            })
            .collect();
        Mistake { at: At::Param(path), message: error.into_inner().to_string() }
    })?;
    let params = serde_json::to_value(&stage)
        .map_err(|error| Mistake { at: At::Param(Vec::new()), message: error.to_string() })?;
    let mut way = Vec::new();
    if list_for_map(written, &params, &mut way) {
        return Err(Mistake {
            at: At::Param(way),
            message: "invalid type: sequence, expected a map".to_owned(),
        });
    }
    Ok(Prepared { params, stage: Arc::new(stage) })
}

/// Whether a list is given where a map belongs; serde would accept it as the fields in order. Leaves the path
/// to it in `way`.
fn list_for_map(written: &Value, meant: &Value, way: &mut Vec<String>) -> bool {
    match (written, meant) {
        (Value::Array(_), Value::Object(_)) => true,
        (Value::Object(written), Value::Object(meant)) => written.iter().any(|(key, written)| {
            way.push(key.clone());
            let found = meant.get(key).is_some_and(|meant| list_for_map(written, meant, way));
            if !found {
                way.pop();
            }
            found
        }),
        _ => false,
    }
}

/// The device that a step computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The GPU with this id.
    Cuda(u32),
}

/// A report from a running step.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// What it is doing now, in a few words.
    Note(String),
    /// Its progress.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// Output of an external program, as it came.
    Log(Vec<u8>),
    /// Something about this run that does not concern the result.
    Remark(String),
    /// A warning about the result, which is kept with the artifact; the step goes on.
    Warning(String),
}

/// Everything that a step may touch while it runs.
pub struct Io {
    /// The step's name, for messages.
    pub step: String,
    /// The folder of the pipeline file.
    pub root: PathBuf,
    /// The file or folder in each slot. Read only.
    pub inputs: BTreeMap<String, PathBuf>,
    /// The draft's output folder: what is written here becomes the artifact.
    pub out: PathBuf,
    /// A private scratch folder, removed when the step ends.
    pub work: PathBuf,
    /// The device to compute on.
    pub device: Device,
    /// Every GPU leased to the step, for external programs.
    pub gpus: Vec<u32>,
    /// How many threads the step may use.
    pub cpus: usize,
    /// The run's stop flag.
    pub stop: StopFlag,
    /// The step's time limit.
    pub limit: Option<Duration>,
    /// When the step began.
    pub began: Instant,
    /// Checkpoints, which survive a kill.
    pub checkpoints: Checkpoints,
    /// The wardens that run external programs.
    pub wardens: Wardens,
    /// Receives the step's reports.
    pub listener: Box<dyn Fn(Report) + Send + Sync>,
}

impl Io {
    /// The file or folder in a slot that the kind declares as required.
    pub fn input(&self, slot: &str) -> anyhow::Result<&Path> {
        self.optional_input(slot).ok_or_else(|| anyhow::anyhow!("nothing is wired to the input `{slot}`"))
    }

    /// The file or folder in a slot, if the stage gives one.
    pub fn optional_input(&self, slot: &str) -> Option<&Path> {
        self.inputs.get(slot).map(PathBuf::as_path)
    }

    /// The path of an output file.
    pub fn out(&self, name: &str) -> PathBuf {
        self.out.join(name)
    }

    /// Reports what the step is doing.
    pub fn note(&self, text: impl Into<String>) {
        (self.listener)(Report::Note(text.into()));
    }

    /// Reports the step's progress.
    pub fn progress(&self, done: u64, total: u64) {
        (self.listener)(Report::Progress { done, total });
    }

    /// Reports something about this run that does not concern the result: it goes on from a checkpoint.
    pub fn remark(&self, text: impl Into<String>) {
        (self.listener)(Report::Remark(text.into()));
    }

    /// Warns of something that everybody who uses the result must know. It is kept with the artifact.
    pub fn warn(&self, text: impl Into<String>) {
        (self.listener)(Report::Warning(text.into()));
    }

    /// Whether the step should end, and why.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.stop
            .reason()
            .or_else(|| self.limit.filter(|limit| self.began.elapsed() >= *limit).map(StopReason::Timeout))
    }

    /// Returns an error if the step should stop. For loops without checkpoints.
    pub fn check_stop(&self) -> Result<(), Stopped> {
        self.stop_reason().map_or(Ok(()), |reason| Err(Stopped(reason)))
    }
}
