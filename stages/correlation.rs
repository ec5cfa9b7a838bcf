//! `correlation`: predicts that a TF regulates the genes whose expression correlates with its own.

mod profile;

use crate::kit::candidates::{self, Candidates, Pair};
use anyhow::{Result, bail};
use contract::code;
use contract::stage::{Io, Kind, Slots, Stage};
use profile::Profile;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Correlation>(
    "correlation",
    "scores each pair by the correlation of TF and target over the cells",
    Slots::Named(&candidates::SLOTS),
    code!(),
)
.makes(&candidates::OUTPUTS);

/// TFs that are processed together: their values in one cell fill one cache line.
const LANES: usize = 8;

/// Scores pairs by correlation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Correlation {
    /// Whether values or ranks are correlated.
    method: Method,
    /// Keeps the sign, which suggests activation or repression.
    signed: bool,
}

/// What is correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// Values: how close the relation is to linear.
    Pearson,
    /// Ranks, ties sharing the mean rank: how close the relation is to monotonic.
    Spearman,
}

impl Default for Correlation {
    fn default() -> Correlation {
        Correlation { method: Method::Pearson, signed: false }
    }
}

/// Gene profiles, ready to be correlated.
struct Profiles {
    cells: usize,
    /// By gene index; genes that are in no pair are empty.
    genes: Vec<Profile>,
}

impl Stage for Correlation {
    fn run(&self, io: &Io) -> Result<()> {
        let candidates = Candidates::find(io)?;
        let profiles = self.profiles(&candidates, io)?;
        let mut correlations = correlate(&candidates.pairs, &profiles, io)?;
        if !self.signed {
            correlations.iter_mut().for_each(|correlation| *correlation = correlation.abs());
        }
        candidates.write(correlations, io)
    }
}

impl Correlation {
    fn profiles(&self, candidates: &Candidates, io: &Io) -> Result<Profiles> {
        let columns = candidates.columns(io)?;
        let cells = columns.ids.len();
        if cells < 2 {
            bail!("there is no correlation over {cells} cells; give at least 2");
        }
        let profile = match self.method {
            Method::Pearson => Profile::of_values,
            Method::Spearman => Profile::of_ranks,
        };
        let genes: Vec<Profile> =
            columns.genes.into_par_iter().map(|column| profile(column, cells)).collect();
        candidates.tell_constant(|gene| genes[gene].is_constant(), io);
        Ok(Profiles { cells, genes })
    }
}

/// One correlation for each pair. Prereq: pairs are sorted by TF.
fn correlate(pairs: &[Pair], profiles: &Profiles, io: &Io) -> Result<Vec<f64>> {
    let of_tfs: Vec<&[Pair]> = pairs.chunk_by(|a, b| a.0 == b.0).collect();
    let mut correlations = Vec::with_capacity(pairs.len());
    for block in of_tfs.chunks(LANES) {
        io.check_stop()?;
        let mut spread = vec![0.0; profiles.cells * LANES];
        for (lane, of_tf) in block.iter().enumerate() {
            profiles.genes[of_tf[0].0 as usize].spread(&mut spread, lane, LANES);
        }
        let targets: BTreeSet<u32> = block.iter().flat_map(|of_tf| of_tf.iter().map(|pair| pair.1)).collect();
        // Each lane is summed in cell order, so the bits depend neither on threads nor on the other lanes.
        let found: HashMap<u32, [f64; LANES]> = targets
            .into_par_iter()
            .map(|target| (target, profiles.genes[target as usize].correlations(&spread)))
            .collect();
        for (lane, of_tf) in block.iter().enumerate() {
            correlations.extend(of_tf.iter().map(|(_, target)| found[target][lane]));
        }
        io.progress(correlations.len() as u64, pairs.len() as u64);
    }
    Ok(correlations)
}
