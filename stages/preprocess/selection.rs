//! The genes that BEELINE would keep: TFs that vary along pseudotime, and the most variable genes.
//!
//! BEELINE takes the p-value of a generalised additive model (the R package VGAM) along each lineage.
//! We test a cubic curve instead, with the same correction (Bonferroni) and the same limit.

use super::count;
use super::normalised::{Normalised, Summary};
use anyhow::{Result, bail};
use contract::bounds::{MOST, above_zero, within};
use contract::stage::Mistake;
use data::formats;
use data::network::{self, Network};
use data::pseudotime;
use data::statistics::curve_p_value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// TFs that vary along pseudotime, and the most variable genes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// The number of genes kept in addition to the TFs, those with the largest variance.
    genes: usize,
    /// Which TFs are kept.
    tfs: Tfs,
    /// The threshold of the corrected p-value.
    p: f64,
}

/// Which TFs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Tfs {
    /// Those that vary significantly along pseudotime.
    Significant,
    /// All TFs in the data.
    All,
}

impl Default for Selection {
    fn default() -> Selection {
        Selection { genes: 500, tfs: Tfs::Significant, p: 0.01 }
    }
}

impl Selection {
    /// Rejects invalid settings.
    pub fn check(&self) -> Result<(), Mistake> {
        within("select.genes", self.genes, 0..=MOST)?;
        above_zero("select.p", self.p, 1.0)
    }

    /// Decides for each gene whether it is kept.
    pub fn select(&self, normalised: &Normalised, names: &[String]) -> Result<Vec<bool>> {
        let tfs = tfs(normalised, names)?;
        let tested = if self.tfs == Tfs::Significant { tfs.clone() } else { Vec::new() };
        let Summary { ids, moments, profiles } = normalised.summary(&tested)?;
        let mut selected = vec![false; names.len()];
        match self.tfs {
            Tfs::All => tfs.iter().for_each(|gene| selected[*gene] = true),
            Tfs::Significant => {
                let lineages = lineages(normalised, &ids)?;
                let limit = self.p / (count(&normalised.kept.genes) * lineages.len()) as f64;
                for (gene, profile) in tested.iter().zip(&profiles) {
                    selected[*gene] = lineages.iter().any(|lineage| lineage.p_value(profile) < limit);
                }
            }
        }
        let is_tf: BTreeSet<usize> = tfs.into_iter().collect();
        let mut others: Vec<usize> =
            (0..names.len()).filter(|gene| normalised.kept.genes[*gene] && !is_tf.contains(gene)).collect();
        let variance = |gene: &usize| moments[*gene].variance(ids.len());
        // Ties are broken by index, so that the order depends only on the data.
        others.sort_by(|a, b| variance(b).total_cmp(&variance(a)).then(a.cmp(b)));
        others.iter().take(self.genes).for_each(|gene| selected[*gene] = true);
        Ok(selected)
    }
}

/// The indices of the TFs among the genes that passed the filters.
fn tfs(normalised: &Normalised, names: &[String]) -> Result<Vec<usize>> {
    let io = normalised.io;
    let network = io.input("data")?.join(network::FILE);
    let known: BTreeSet<String> = match io.optional_input("tfs") {
        Some(path) => formats::read_list(path)?.into_iter().collect(),
        None if network.exists() => {
            Network::read(&network)?.edges().map(|(tf, _, _)| tf.to_owned()).collect()
        }
        None => bail!("nothing says which genes are TFs; wire a list to the input `tfs`"),
    };
    let there = |gene: &usize| normalised.kept.genes[*gene] && known.contains(&names[*gene]);
    let found: Vec<usize> = (0..names.len()).filter(there).collect();
    if found.is_empty() {
        bail!("none of the {} TFs is among the genes; are they of the same species?", known.len());
    }
    Ok(found)
}

/// Cells by index, with their times.
struct Lineage {
    cells: Vec<usize>,
    times: Vec<f64>,
}

impl Lineage {
    fn p_value(&self, profile: &[f64]) -> f64 {
        let values: Vec<f64> = self.cells.iter().map(|cell| profile[*cell]).collect();
        curve_p_value(&self.times, &values)
    }
}

fn lineages(normalised: &Normalised, ids: &[String]) -> Result<Vec<Lineage>> {
    let path = normalised.io.input("data")?.join(pseudotime::FILE);
    if !path.exists() {
        bail!("the data has no pseudotime, along which TFs could vary; give `select: {{tfs: all}}`");
    }
    let index: HashMap<&str, usize> =
        ids.iter().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
    let mut lineages: BTreeMap<String, Lineage> = BTreeMap::new();
    for moment in pseudotime::read(&path)? {
        if let Some(cell) = index.get(moment.cell.as_str()) {
            let empty = || Lineage { cells: Vec::new(), times: Vec::new() };
            let lineage = lineages.entry(moment.lineage).or_insert_with(empty);
            lineage.cells.push(*cell);
            lineage.times.push(moment.pseudotime);
        }
    }
    Ok(lineages.into_values().collect())
}
