//! `genie3`: predicts that a TF regulates the genes whose expression trees predict from the TF's.

use crate::kit::candidates::{self, Candidates};
use crate::kit::trees::Features;
use crate::kit::trees::boosting::Boosting;
use crate::kit::trees::forest::{Chance, Forest};
use anyhow::{Result, bail};
use contract::bounds::within;
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slots, Stage, Wires};
use data::columns::Column;
use data::random::Random;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Genie3>(
    "genie3",
    "scores each pair by what the TF adds to a prediction of the target by trees: GENIE3, GRNBoost2",
    Slots::Named(&candidates::SLOTS),
    code!(),
)
.makes(&candidates::OUTPUTS);

/// Arboreto's settings of stochastic gradient boosting.
const BOOSTED_TREES: usize = 5000;
const RATE: f64 = 0.01;
const DEPTH: usize = 3;
const SHARE: f64 = 0.9;
const SHARE_OF_FEATURES: f64 = 0.1;
const WINDOW: usize = 25;

/// Predicts each target from all TFs by trees.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Genie3 {
    /// The kind of trees.
    method: Method,
    /// The number of trees of a forest; `grnboost2` stops early by itself.
    trees: usize,
    /// The random seed.
    seed: u64,
}

/// The kind of trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// GENIE3 (Huynh-Thu et al. 2010): bootstrap samples, with the square root of the number of TFs tried at each node.
    RandomForest,
    /// GENIE3 with random thresholds: similar results in less time.
    ExtraTrees,
    /// GRNBoost2 (Moerman et al. 2019): small trees, each fitted to the residuals, until they no longer help.
    Grnboost2,
}

impl Default for Genie3 {
    fn default() -> Genie3 {
        Genie3 { method: Method::RandomForest, trees: 1000, seed: 0 }
    }
}

impl Stage for Genie3 {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("trees", self.trees, 1..=1_000_000)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let candidates = Candidates::find(io)?;
        let columns = candidates.columns(io)?;
        let cells = columns.ids.len();
        if cells < 2 {
            bail!("trees cannot be grown on {cells} cells; give at least 2");
        }
        let mut tfs: Vec<u32> = candidates.pairs.iter().map(|(tf, _)| *tf).collect();
        tfs.dedup();
        let features =
            Features::new(tfs.iter().map(|tf| dense(&columns.genes[*tf as usize], cells)).collect());
        candidates.tell_constant(
            |gene| standardised(&columns.genes[gene], cells).iter().all(|value| *value == 0.0),
            io,
        );
        let mut targets: Vec<u32> = candidates.pairs.iter().map(|(_, target)| *target).collect();
        targets.sort_unstable();
        targets.dedup();
        let done = AtomicU64::new(0);
        let of_target = |target: &u32| -> Result<(u32, Vec<f64>)> {
            io.check_stop()?;
            // A gene's own expression would explain it completely.
            let used: Vec<u32> = (0..tfs.len() as u32).filter(|tf| tfs[*tf as usize] != *target).collect();
            let values = standardised(&columns.genes[*target as usize], cells);
            let found =
                self.importances(&features, &used, &values, &mut Random::new(self.seed, u64::from(*target)));
            let mut by_tf = vec![0.0; tfs.len()];
            used.iter().zip(found).for_each(|(tf, importance)| by_tf[*tf as usize] = importance);
            io.progress(done.fetch_add(1, Ordering::Relaxed) + 1, targets.len() as u64);
            Ok((*target, by_tf))
        };
        let found: HashMap<u32, Vec<f64>> = targets.par_iter().map(of_target).collect::<Result<_>>()?;
        let places: HashMap<u32, usize> = tfs.iter().copied().zip(0..).collect();
        let score = |(tf, target): &candidates::Pair| found[target][places[tf]];
        candidates.write(candidates.pairs.iter().map(score).collect(), io)
    }
}

impl Genie3 {
    fn importances(
        &self,
        features: &Features,
        used: &[u32],
        target: &[f64],
        random: &mut Random,
    ) -> Vec<f64> {
        let mut forest = |chance| {
            let tries = (used.len() as f64).sqrt() as usize;
            Forest { chance, trees: self.trees, tries }.importances(features, used, target, random)
        };
        match self.method {
            Method::RandomForest => forest(Chance::Samples),
            Method::ExtraTrees => forest(Chance::Thresholds),
            Method::Grnboost2 => {
                let tries = (used.len() as f64 * SHARE_OF_FEATURES) as usize;
                let boosting = Boosting {
                    trees: BOOSTED_TREES,
                    rate: RATE,
                    depth: DEPTH,
                    share: SHARE,
                    tries,
                    window: WINDOW,
                };
                boosting.importances(features, used, target, random)
            }
        }
    }
}

fn dense(column: &Column, cells: usize) -> Vec<f32> {
    let mut values = vec![0.0; cells];
    column.cells.iter().zip(&column.values).for_each(|(cell, value)| values[*cell as usize] = *value);
    values
}

/// Values scaled to mean 0 and variance 1, so that targets are comparable; 0 if all values are equal.
fn standardised(column: &Column, cells: usize) -> Vec<f64> {
    let values = dense(column, cells);
    if values.iter().all(|value| *value == values[0]) {
        return vec![0.0; cells];
    }
    let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / cells as f64;
    let around = |value: &f32| f64::from(*value) - mean;
    let variance = values.iter().map(|value| around(value) * around(value)).sum::<f64>() / cells as f64;
    let scale = 1.0 / libm::sqrt(variance);
    values.iter().map(|value| around(value) * scale).collect()
}
