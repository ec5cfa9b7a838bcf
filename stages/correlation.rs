//! `correlation`: a TF is taken to regulate what its expression goes along with.

mod profile;

use crate::code;
use crate::kit::columns::Columns;
use crate::kit::network::{self, Network};
use crate::kit::scores::{self, Score};
use crate::kit::{cells, formats, genes, pairs};
use crate::stage::{Io, Kind, Slot, Slots, Stage};
use anyhow::{Result, bail};
use profile::Profile;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Correlation>(
    "correlation",
    "scores each pair by the correlation of TF and target over the cells",
    Slots::Named(&[
        Slot { name: "data", about: "cells and genes, normalised", required: true },
        Slot {
            name: "split",
            about: "the pairs to score; without it, every TF with every gene",
            required: false,
        },
        Slot {
            name: "tfs",
            about: "names of TFs, one a line, where no split says; without it, the network's regulators",
            required: false,
        },
    ]),
    code::CORRELATION,
);

/// How many TFs are spread over the cells at a time: their values in one cell are one cache line.
const LANES: usize = 8;

/// Scores pairs by correlation.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Correlation {
    /// Of the values, or of their ranks.
    method: Method,
    /// Keeps the sign, a guess at what activates and what represses.
    signed: bool,
}

/// What is correlated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// The values: how nearly one is a straight line over the other.
    Pearson,
    /// Their ranks, ties at the middle of theirs: how nearly one rises with the other.
    Spearman,
}

impl Default for Correlation {
    fn default() -> Correlation {
        Correlation { method: Method::Pearson, signed: false }
    }
}

/// TF and target by their index.
type Pair = (u32, u32);

/// Genes ready to be correlated.
struct Profiles {
    cells: usize,
    /// By the index of the gene; those that are in no pair are empty.
    genes: Vec<Profile>,
}

impl Stage for Correlation {
    fn run(&self, io: &Io) -> Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let mut pairs = match io.optional_input("split") {
            Some(split) => of_split(&split.join(pairs::FILE), &names, io)?,
            None => of_tfs(&tfs(io, data)?, &names)?,
        };
        pairs.sort_unstable();
        let profiles = self.profiles(&data.join(cells::FILE), &pairs, &names, io)?;
        let correlations = correlate(&pairs, &profiles, io)?;
        let mut scored: Vec<Score> = pairs
            .iter()
            .zip(correlations)
            .map(|((tf, target), correlation)| Score {
                tf: names[*tf as usize].clone(),
                target: names[*target as usize].clone(),
                score: if self.signed { correlation } else { correlation.abs() },
            })
            .collect();
        scored.sort_by(|a, b| (&a.tf, &a.target).cmp(&(&b.tf, &b.target)));
        scores::write(&io.out(scores::FILE), &scored)
    }
}

/// The pairs of a split; those whose genes the data lacks are left out and told.
fn of_split(path: &Path, names: &[String], io: &Io) -> Result<Vec<Pair>> {
    let index: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
    let wanted = pairs::read(path)?;
    let find = |name: &String| index.get(name.as_str()).copied();
    let found: Vec<Pair> =
        wanted.iter().filter_map(|pair| Some((find(&pair.tf)?, find(&pair.target)?))).collect();
    match (found.len(), wanted.len()) {
        (_, 0) => bail!("{}: has no pairs to score", path.display()),
        (0, all) => bail!("none of the {all} pairs of the split is of genes that the data has"),
        (some, all) if some < all => {
            io.warn(format!("{} of {all} pairs have no score: the data lacks their genes", all - some));
        }
        _ => {}
    }
    Ok(found)
}

/// Every TF with every other gene.
fn of_tfs(tfs: &BTreeSet<String>, names: &[String]) -> Result<Vec<Pair>> {
    let genes = || 0..names.len() as u32;
    let found: Vec<u32> = genes().filter(|gene| tfs.contains(&names[*gene as usize])).collect();
    if found.is_empty() {
        bail!("none of the {} TFs is among the genes; are they of the same species?", tfs.len());
    }
    let targets = |tf: u32| genes().filter(move |gene| *gene != tf).map(move |gene| (tf, gene));
    Ok(found.into_iter().flat_map(targets).collect())
}

fn tfs(io: &Io, data: &Path) -> Result<BTreeSet<String>> {
    let network = data.join(network::FILE);
    match io.optional_input("tfs") {
        Some(path) => Ok(formats::read_list(path)?.into_iter().collect()),
        None if network.exists() => {
            Ok(Network::read(&network)?.edges().map(|(tf, _, _)| tf.to_owned()).collect())
        }
        None => bail!("nothing says which pairs to score; wire the input `split`, or a list to `tfs`"),
    }
}

impl Correlation {
    fn profiles(&self, path: &Path, pairs: &[Pair], names: &[String], io: &Io) -> Result<Profiles> {
        let mut wanted = vec![false; names.len()];
        for (tf, target) in pairs {
            wanted[*tf as usize] = true;
            wanted[*target as usize] = true;
        }
        let columns = Columns::read(path, &wanted, || Ok(io.check_stop()?))?;
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
        let constant: Vec<&str> = (0..names.len())
            .filter(|gene| wanted[*gene] && genes[*gene].is_constant())
            .map(|gene| names[gene].as_str())
            .collect();
        if let Some(first) = constant.first() {
            let (count, all) = (constant.len(), wanted.iter().filter(|wanted| **wanted).count());
            io.warn(format!(
                "{count} of {all} genes have the same value in every cell, such as `{first}`: their pairs score 0"
            ));
        }
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
        // Each lane is summed in the order of the cells, so neither threads nor neighbours change a bit.
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
