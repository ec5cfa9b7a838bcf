//! One task as a file: all that a worker on another machine is given.

use crate::error::{Error, Result};
use crate::key::{Digest, Hardware};
use crate::platform;
use crate::task::Task;
use contract::disk;
use contract::stage::{Kind, Need};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The format that this program writes and reads.
const FORMAT: u32 = 1;
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A task, and what a worker must have in common with the engine that made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The format of this file.
    pub format: u32,
    /// The version of the program.
    pub version: String,
    /// The instruction set that kinds with numeric code must find.
    pub instructions: String,
    /// The cache folder.
    pub cache: PathBuf,
    /// What to compute.
    pub task: Task,
    /// How many GPUs the worker's job must have.
    pub gpus: usize,
}

impl Assignment {
    /// An assignment for workers of this program.
    pub fn new(task: Task, cache: &Path, gpus: usize) -> Assignment {
        Assignment {
            format: FORMAT,
            version: VERSION.to_owned(),
            instructions: platform::instructions().to_owned(),
            cache: cache.to_owned(),
            task,
            gpus,
        }
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an assignment is plain data with text keys")
    }

    /// Reads an assignment.
    pub fn read(path: &Path) -> Result<Assignment> {
        let bytes = disk::read(path)?;
        let found = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
        let format = found.and_then(|value| value["format"].as_u64()).unwrap_or_default();
        if format > u64::from(FORMAT) {
            let found = u32::try_from(format).unwrap_or(u32::MAX);
            return Err(Error::Newer { path: path.to_owned(), found, expected: FORMAT });
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Usage(format!("{} is not a task for a worker: {error}", path.display())))
    }

    /// Refuses the task if what this process would compute is not what the key stands for.
    pub fn check(&self, kinds: &[Kind]) -> Result<()> {
        let step = &self.task.step;
        if self.version != VERSION {
            return Err(Error::Usage(format!(
                "{step} was given out by version {} of this program, and this is version {VERSION}; start the same program on every machine",
                self.version
            )));
        }
        let recipe = &self.task.recipe;
        let Some(kind) = kinds.iter().find(|kind| kind.name == recipe.kind) else {
            return Err(Error::Usage(format!(
                "{step}: this program has no kind `{}`; start the same program on every machine",
                recipe.kind
            )));
        };
        let on_gpu = recipe.device == Some(Hardware::Cuda);
        let besides = kind.on_device.filter(|_| on_gpu).map(|able| able.code).unwrap_or_default();
        let mut code = kind.code.iter().chain(besides);
        if let Some((name, _)) =
            code.find(|(name, digest)| recipe.code.get(*name).map(String::as_str) != Some(*digest))
        {
            return Err(Error::Usage(format!(
                "{step}: the code of `{}` differs from that of the program that made the task ({name}); start the same program on every machine",
                kind.name
            )));
        }
        let here = platform::instructions();
        if !kind.code.is_empty() && self.instructions != here {
            return Err(Error::Device(format!(
                "{step}: this processor computes with {here} and the task asks for {}, which gives other bits; ask for nodes of one type (`flags: [--constraint=…]` in the profile), or say `instructions: {here}` there if all of them are like this one",
                self.instructions
            )));
        }
        let prepared = (kind.prepare)(&self.task.with)
            .map_err(|mistake| Error::Usage(format!("{step}: {}", mistake.message)))?;
        for need in prepared.stage.needs() {
            let Need::Variable(name) = need else { continue };
            let value = std::env::var_os(&name).map(|value| Digest::of(value.as_encoded_bytes()).to_string());
            let value = value.unwrap_or_else(|| "unset".to_owned());
            if recipe.code.get(&format!("${name}")) != Some(&value) {
                return Err(Error::Usage(format!(
                    "{step}: the environment variable {name} has another value here than where the run was started; set it there as it is here"
                )));
            }
        }
        Ok(())
    }
}
