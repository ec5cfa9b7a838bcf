//! The TF–target pairs that a method scores.

use anyhow::{Result, bail};
use contract::stage::{Io, Output, Slot, Takes, always};
use data::cells;
use data::columns::Columns;
use data::formats;
use data::genes;
use data::network::{self, Network};
use data::pairs;
use data::scores::{self, Score};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The input slots of a kind that scores pairs from expression.
pub const SLOTS: [Slot; 3] = [
    Slot { name: "data", about: "cells and genes, normalised", required: true, takes: cells::ARTIFACT },
    Slot {
        name: "split",
        about: "the pairs to score; without it, every TF with every gene",
        required: false,
        takes: pairs::ARTIFACT,
    },
    Slot {
        name: "tfs",
        about: "names of TFs, one a line, where no split says; without it, the network's regulators",
        required: false,
        takes: Takes::File,
    },
];

/// The outputs of such a kind.
pub const OUTPUTS: [Output; 1] = [always(scores::FILE)];

/// TF and target, as gene indices.
pub type Pair = (u32, u32);

/// Pairs of genes.
#[derive(Debug, Clone)]
pub struct Candidates {
    /// The names of all genes.
    pub names: Vec<String>,
    /// The pairs, sorted.
    pub pairs: Vec<Pair>,
}

impl Candidates {
    /// The pairs given by the inputs in `SLOTS`; genes that the data lacks are left out with a message.
    pub fn find(io: &Io) -> Result<Candidates> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let mut pairs = match io.optional_input("split") {
            Some(split) => of_split(&split.join(pairs::FILE), &names, io)?,
            None => of_tfs(&tfs(io, data)?, &names)?,
        };
        pairs.sort_unstable();
        Ok(Candidates { names, pairs })
    }

    /// Whether each gene is in any pair.
    pub fn genes(&self) -> Vec<bool> {
        let mut found = vec![false; self.names.len()];
        for (tf, target) in &self.pairs {
            found[*tf as usize] = true;
            found[*target as usize] = true;
        }
        found
    }

    /// The values of these genes.
    pub fn columns(&self, io: &Io) -> Result<Columns> {
        Columns::read(&io.input("data")?.join(cells::FILE), &self.genes(), || Ok(io.check_stop()?))
    }

    /// Reports which of these genes have the same value in every cell. Prereq: one entry per gene.
    pub fn tell_constant(&self, is_constant: impl Fn(usize) -> bool, io: &Io) {
        let genes = self.genes();
        let constant = || (0..genes.len()).filter(|gene| genes[*gene] && is_constant(*gene));
        if let Some(first) = constant().next() {
            let (count, all) = (constant().count(), genes.iter().filter(|wanted| **wanted).count());
            let first = &self.names[first];
            io.warn(format!(
                "{count} of {all} genes have the same value in every cell, such as `{first}`: their pairs score 0"
            ));
        }
    }

    /// Writes one score for each pair.
    pub fn write(&self, values: Vec<f64>, io: &Io) -> Result<()> {
        let name = |gene: u32| self.names[gene as usize].clone();
        let score =
            |((tf, target), score): (&Pair, f64)| Score { tf: name(*tf), target: name(*target), score };
        let mut scored: Vec<Score> = self.pairs.iter().zip(values).map(score).collect();
        scored.sort_by(|a, b| (&a.tf, &a.target).cmp(&(&b.tf, &b.target)));
        scores::write(&io.out(scores::FILE), &scored)
    }
}

/// The pairs of a split.
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

/// Every TF paired with every other gene.
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
