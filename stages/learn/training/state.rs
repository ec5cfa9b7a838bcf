//! The state that is needed to resume a training exactly.
//!
//! A checkpoint is a safetensors file: arrays `value/<name>` for each tensor, `first/<number>` and `second/<number>`
//! for Adam's moments, `best/<name>` for the tensors of the best epoch, and the counters as JSON in the metadata.
//! Random numbers need no state: every draw is a function of the seed and a counter.

use super::history::Row;
use super::patience::Patience;
use crate::model::parameters::{self, Named};
use crate::model::weights::{self, Array, Arrays};
use anyhow::{Context, Result};
use contract::stage::Io;
use serde::{Deserialize, Serialize};
use tensor::ops::adam::{Adam, Moments};

const COUNTERS: &str = "training";

/// The progress of a training.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Completed epochs.
    pub epoch: u64,
    /// Completed steps of the current epoch.
    pub step_in_epoch: u64,
    /// The validation results so far.
    pub patience: Patience,
    /// All steps so far.
    pub history: Vec<Row>,
}

/// Everything that changes during training, except the tensors, which belong to the model.
#[derive(Debug, Default)]
pub struct State {
    /// The progress.
    pub counters: Counters,
    /// The optimiser.
    pub adam: Adam,
    /// The tensors of the best epoch; empty if nothing is held out.
    pub best: Arrays,
}

impl State {
    /// The number of steps so far.
    pub fn steps(&self) -> u64 {
        self.counters.history.last().map_or(0, |row| row.step)
    }

    /// Saves a checkpoint.
    pub fn save(&self, tensors: Vec<Named<'_>>, io: &Io) -> Result<()> {
        let bytes = self.to_bytes(tensors)?;
        Ok(io.checkpoints.save(|writer| writer.write_all(&bytes))?)
    }

    /// Loads the newest checkpoint, if any, and puts its tensors into the model.
    pub fn load(tensors: Vec<Named<'_>>, io: &Io) -> Result<Option<State>> {
        let Some(found) = io.checkpoints.load()? else { return Ok(None) };
        for path in found.damaged {
            io.remark(format!("the checkpoint {} is damaged; going on from the one before", path.display()));
        }
        State::from_bytes(&found.state, tensors).context("reading the checkpoint").map(Some)
    }

    fn to_bytes(&self, tensors: Vec<Named<'_>>) -> Result<Vec<u8>> {
        let mut arrays = prefixed("value", weights::of_tensors(tensors));
        arrays.extend(prefixed("best", self.best.clone()));
        for (number, moments) in self.adam.moments.iter().enumerate() {
            for (which, values) in ["first", "second"].into_iter().zip(moments.values()) {
                let array = Array { shape: vec![values.len()], values: values.into_owned() };
                arrays.insert(format!("{which}/{number}"), array);
            }
        }
        let counters = serde_json::to_string(&(&self.counters, self.adam.steps))?;
        weights::to_bytes(&arrays, (COUNTERS, &counters))
    }

    fn from_bytes(bytes: &[u8], tensors: Vec<Named<'_>>) -> Result<State> {
        let (mut arrays, counters) = weights::from_bytes(bytes, COUNTERS)?;
        let counters = counters.context("it has no counters")?;
        let (counters, steps) = serde_json::from_str(&counters)?;
        let mut adam = Adam { steps, ..Adam::default() };
        let mut moment = |which, number| Some(arrays.remove(&format!("{which}/{number}"))?.values);
        while let Some(first) = moment("first", adam.moments.len()) {
            let second = moment("second", adam.moments.len()).context("it lacks a second moment")?;
            adam.moments.push(Moments::new(first, second));
        }
        let best = without_prefix("best", &mut arrays);
        let mut values = without_prefix("value", &mut arrays);
        parameters::load(tensors, |name| values.remove(name).map(|array| (array.shape, array.values)))?;
        Ok(State { counters, adam, best })
    }
}

fn prefixed(prefix: &str, arrays: Arrays) -> Arrays {
    arrays.into_iter().map(|(name, array)| (format!("{prefix}/{name}"), array)).collect()
}

fn without_prefix(prefix: &str, arrays: &mut Arrays) -> Arrays {
    let own =
        |name: &str| name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned);
    let names: Vec<String> = arrays.keys().filter(|name| own(name).is_some()).cloned().collect();
    names.iter().filter_map(|name| Some((own(name)?, arrays.remove(name)?))).collect()
}
