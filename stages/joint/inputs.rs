//! The inputs of `joint`: genes with their features, and labelled pairs.

use super::embedded::Embedded;
use super::{Features, Joint};
use anyhow::{Result, bail};
use contract::stage::Io;
use data::cells;
use data::columns::{Column, Columns};
use data::genes;
use data::pairs::{self, Part};
use data::random::{Random, choose};
use learn::model::scorer::Biases;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use tensor::{Device, Tensor, shape, tensor};

/// Random streams, separate from those of training.
const CELLS_STREAM: u64 = 1 << 40;
const LABELS_STREAM: u64 = (1 << 40) + 2;
const FEATURES_STREAM: u64 = 1 << 41;
/// The weight, in pairs, of the overall rate of edges in the estimate of a gene's own rate.
const PRIOR_PAIRS: f64 = 5.0;

/// The inputs for each gene.
pub struct Genes {
    /// The graph network's features, one row per gene.
    pub features: Tensor,
    /// The transformer's vectors.
    pub embedded: Embedded,
}

impl Genes {
    /// The number of genes.
    pub fn count(&self) -> usize {
        shape(&self.features).0
    }

    /// Reads expression and combines it with embeddings.
    pub fn read(joint: &Joint, device: &Device, embedded: Embedded, io: &Io) -> Result<Genes> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let columns =
            Columns::read(&data.join(cells::FILE), &vec![true; names.len()], || Ok(io.check_stop()?))?;
        let all = columns.ids.len();
        if all < 2 {
            bail!("there is no z-score over {all} cells; give at least 2");
        }
        let chosen = choose(all, joint.most_cells, joint.seed, CELLS_STREAM);
        let width = chosen.len();
        let mut values = vec![0.0; names.len() * width];
        values.par_chunks_mut(width).zip(&columns.genes).enumerate().for_each(|(gene, (row, column))| {
            match joint.features {
                Features::Expression => z_scores(row, column, all, &chosen),
                Features::Random => {
                    let mut random = Random::new(joint.seed, FEATURES_STREAM + gene as u64);
                    row.iter_mut().for_each(|value| *value = random.normal() as f32);
                }
            }
        });
        let features = tensor(device, values, names.len(), width);
        Ok(Genes { features, embedded })
    }
}

/// (x - mean) / deviation over all cells, for the chosen ones; zeros if all values are equal.
fn z_scores(row: &mut [f32], column: &Column, cells: usize, chosen: &[usize]) {
    let mean = column.values.iter().map(|value| f64::from(*value)).sum::<f64>() / cells as f64;
    let around = |value: &f32| (f64::from(*value) - mean) * (f64::from(*value) - mean);
    let zeros = (cells - column.values.len()) as f64;
    let variance = (column.values.iter().map(around).sum::<f64>() + zeros * mean * mean) / cells as f64;
    let deviation = variance.sqrt();
    // Rounding may leave a deviation that should be zero slightly above it.
    if deviation <= 1e-6 * mean.abs() || deviation == 0.0 {
        return;
    }
    row.fill((-mean / deviation) as f32);
    for (cell, value) in column.cells.iter().zip(&column.values) {
        if let Ok(place) = chosen.binary_search(&(*cell as usize)) {
            row[place] = ((f64::from(*value) - mean) / deviation) as f32;
        }
    }
}

/// Labelled pairs, as gene indices.
pub struct Labels {
    /// The names of all genes.
    pub names: Vec<String>,
    /// The TFs of all parts.
    pub tfs: BTreeSet<u32>,
    /// The pairs to train on.
    pub train: Pairs,
    /// The pairs that the best epoch is chosen by.
    pub validation: Pairs,
}

/// Pairs and whether each is an edge.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// TF and target.
    pub pairs: Vec<(u32, u32)>,
    /// One label per pair.
    pub labels: Vec<bool>,
}

impl Pairs {
    /// The number of edges.
    pub fn edges(&self) -> usize {
        self.labels.iter().filter(|label| **label).count()
    }

    /// Whether there are both edges and other pairs.
    pub fn has_both_classes(&self) -> bool {
        self.edges() > 0 && self.edges() < self.labels.len()
    }
}

impl Labels {
    /// Reads the split; pairs with genes that the data lacks are left out with a message.
    pub fn read(joint: &Joint, io: &Io) -> Result<Labels> {
        let names = genes::read(&io.input("data")?.join(genes::FILE))?;
        let path = io.input("split")?.join(pairs::FILE);
        let index: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        let (mut train, mut validation) = (Pairs::default(), Pairs::default());
        let mut tfs = BTreeSet::new();
        let mut missing = 0;
        let read = pairs::read(&path)?;
        for pair in &read {
            let find = |name: &String| index.get(name.as_str()).copied();
            let (Some(tf), Some(target)) = (find(&pair.tf), find(&pair.target)) else {
                missing += 1;
                continue;
            };
            tfs.insert(tf);
            let part = match pair.part {
                Part::Train => &mut train,
                Part::Validation => &mut validation,
                Part::Test => continue,
            };
            part.pairs.push((tf, target));
            part.labels.push(pair.label);
        }
        if missing > 0 {
            io.warn(format!("{missing} of {} pairs are left out: the data lacks their genes", read.len()));
        }
        if !train.has_both_classes() {
            let edges = train.edges();
            bail!(
                "{}: the part `train` has {edges} edges and {} other pairs of genes of the data; it takes both to learn",
                path.display(),
                train.labels.len() - edges
            );
        }
        if joint.shuffle_labels {
            let mut random = Random::new(joint.seed, LABELS_STREAM);
            random.shuffle(&mut train.labels);
            random.shuffle(&mut validation.labels);
        }
        Ok(Labels { names, tfs, train, validation })
    }

    /// Initial biases: log odds from the share of edges among all training pairs, and among those of each gene.
    pub fn biases(&self, positive_weight: f64) -> Biases {
        let logit = |share: f64| libm::log(share / (1.0 - share));
        let rate = self.train.edges() as f64 / self.train.labels.len() as f64;
        let of = |side: fn(&(u32, u32)) -> u32| -> Vec<f32> {
            let mut counts = vec![(0.0, 0.0); self.names.len()];
            for (pair, label) in self.train.pairs.iter().zip(&self.train.labels) {
                let (edges, all) = &mut counts[side(pair) as usize];
                *edges += f64::from(u8::from(*label));
                *all += 1.0;
            }
            let share = |(edges, all): (f64, f64)| (edges + PRIOR_PAIRS * rate) / (all + PRIOR_PAIRS);
            counts.into_iter().map(|counts| (logit(share(counts)) - logit(rate)) as f32).collect()
        };
        let all = (logit(rate) + libm::log(positive_weight)) as f32;
        Biases { tf: of(|pair| pair.0), target: of(|pair| pair.1), all }
    }
}
