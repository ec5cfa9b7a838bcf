//! `gene2vec`: learns a vector for each gene from co-expression (after Du et al. 2019).

use anyhow::{Result, bail};
use contract::bounds::{MOST, WIDEST, above_zero, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, always};
use data::cells;
use data::columns::{Column, Columns};
use data::embeddings::{self, Embeddings};
use data::genes;
use data::random::Random;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor::gemm::multiply_parallel;
use tensor::matrix::{View, ViewMut};
use tensor::ops::skip_gram;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Gene2vec>(
    "gene2vec",
    "a vector for each gene, learned from which genes go up and down together (skip-gram)",
    Slots::Named(&[Slot {
        name: "data",
        about: "cells and genes, normalised",
        required: true,
        takes: cells::ARTIFACT,
    }]),
    code!(),
)
.makes(&[always(embeddings::FILE)]);

/// Random streams below the seed.
const START_STREAM: u64 = 0;
const CELLS_STREAM: u64 = 1;
const EPOCH_STREAM: u64 = 2;
/// The fewest cells: two cells always correlate.
const FEWEST_CELLS: usize = 3;
/// Genes whose correlations are computed together: 17 MB for 16,906 genes.
const GENES_AT_ONCE: usize = 256;
/// The final learning rate, as a share of the first.
const LAST_RATE: f64 = 1e-2;
/// The probability of drawing a gene as a negative is proportional to its count to this power, as in word2vec.
const EVENNESS: f64 = 0.75;
/// Pairs between two checks for a stop request.
const PAIRS_AT_ONCE: usize = 1 << 14;

/// Skip-gram over pairs of genes whose expression correlates.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Gene2vec {
    /// The length of a vector, equal to the `width` of a model that uses the vectors as positions.
    dimensions: usize,
    /// Each gene is paired with this many genes, those that correlate with it most.
    neighbours: usize,
    /// Pairs with a lower correlation are left out.
    least_correlation: f64,
    /// The number of random genes contrasted with each pair.
    negatives: usize,
    /// The number of passes over all pairs.
    epochs: usize,
    /// The initial step size; it falls linearly.
    rate: f64,
    /// Uses at most this many cells, drawn at random.
    cells: Option<usize>,
    /// The random seed.
    seed: u64,
}

impl Default for Gene2vec {
    fn default() -> Gene2vec {
        Gene2vec {
            dimensions: 200,
            neighbours: 20,
            least_correlation: 0.1,
            negatives: 5,
            epochs: 20,
            rate: 0.05,
            cells: Some(4000),
            seed: 0,
        }
    }
}

impl Stage for Gene2vec {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("dimensions", self.dimensions, 1..=WIDEST)?;
        within("neighbours", self.neighbours, 1..=WIDEST)?;
        within("least_correlation", self.least_correlation, -1.0..=1.0)?;
        within("negatives", self.negatives, 0..=WIDEST)?;
        within("epochs", self.epochs, 1..=1_000_000)?;
        above_zero("rate", self.rate, 1.0)?;
        within("cells", self.cells.unwrap_or(FEWEST_CELLS), FEWEST_CELLS..=MOST)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let columns =
            Columns::read(&data.join(cells::FILE), &vec![true; names.len()], || Ok(io.check_stop()?))?;
        let pairs = self.pairs(&columns, io)?;
        if pairs.is_empty() {
            bail!("no two genes correlate by {}: see `least_correlation`", self.least_correlation);
        }
        let values = self.learn(&pairs, names.len(), io)?;
        Embeddings { names, dimensions: self.dimensions, values }.write(&io.out(embeddings::FILE))
    }
}

impl Gene2vec {
    /// Pairs each gene with those that correlate with it most, in gene order.
    fn pairs(&self, columns: &Columns, io: &Io) -> Result<Vec<[u32; 2]>> {
        let cells = columns.ids.len();
        if cells < FEWEST_CELLS {
            bail!("there is no correlation to speak of over {cells} cells; give at least {FEWEST_CELLS}");
        }
        let mut order: Vec<usize> = (0..cells).collect();
        Random::new(self.seed, CELLS_STREAM).shuffle(&mut order);
        let mut place = vec![None; cells];
        let used = self.cells.unwrap_or(cells).min(cells);
        order.iter().take(used).enumerate().for_each(|(to, cell)| place[*cell] = Some(to));
        let genes = columns.genes.len();
        let mut profiles = vec![0.0; genes * used];
        profiles
            .par_chunks_mut(used)
            .zip(&columns.genes)
            .for_each(|(profile, column)| standardise(profile, column, &place));
        let all = View::new(&profiles, genes, used);
        let mut pairs = Vec::new();
        for first in (0..genes).step_by(GENES_AT_ONCE) {
            io.check_stop()?;
            let count = GENES_AT_ONCE.min(genes - first);
            let mut correlations = vec![0.0; count * genes];
            let rows = all.part(first..first + count, 0..used);
            multiply_parallel(
                ViewMut::new(&mut correlations, count, genes),
                0.0,
                1.0,
                rows,
                all.transposed(),
            );
            let of_genes: Vec<Vec<[u32; 2]>> = correlations
                .par_chunks(genes)
                .enumerate()
                .map(|(row, correlations)| self.nearest(first + row, correlations))
                .collect();
            pairs.extend(of_genes.into_iter().flatten());
            io.progress((first + count) as u64, genes as u64);
        }
        Ok(pairs)
    }

    fn nearest(&self, gene: usize, correlations: &[f32]) -> Vec<[u32; 2]> {
        let mut others: Vec<usize> = (0..correlations.len())
            .filter(|other| *other != gene && f64::from(correlations[*other]) >= self.least_correlation)
            .collect();
        // Ties are ordered by gene, so that the result is deterministic.
        others.sort_by(|a, b| correlations[*b].total_cmp(&correlations[*a]).then(a.cmp(b)));
        others.into_iter().take(self.neighbours).map(|other| [gene as u32, other as u32]).collect()
    }

    /// The vectors of all genes; zeros for a gene that is in no pair.
    fn learn(&self, pairs: &[[u32; 2]], genes: usize, io: &Io) -> Result<Vec<f32>> {
        let width = self.dimensions;
        let mut counts = vec![0.0f64; genes];
        pairs.iter().flatten().for_each(|gene| counts[*gene as usize] += 1.0);
        let negatives = Negatives::new(&counts);
        let mut random = Random::new(self.seed, START_STREAM);
        let bound = 0.5 / width as f64;
        let mut vectors: Vec<f32> =
            (0..genes * width).map(|_| random.between(-bound, bound) as f32).collect();
        let mut contexts = vec![0.0; genes * width];
        let total = self.epochs * pairs.len();
        let mut order: Vec<[u32; 2]> = pairs.to_vec();
        for epoch in 0..self.epochs {
            let mut random = Random::new(self.seed, EPOCH_STREAM + epoch as u64);
            random.shuffle(&mut order);
            for (number, [gene, context]) in order.iter().enumerate() {
                let done = epoch * pairs.len() + number;
                if done.is_multiple_of(PAIRS_AT_ONCE) {
                    io.check_stop()?;
                    io.progress(done as u64, total as u64);
                }
                let rate = self.rate * (1.0 - (1.0 - LAST_RATE) * done as f64 / total as f64);
                let mut chosen = vec![*context];
                chosen.extend((0..self.negatives).map(|_| negatives.draw(&mut random)));
                let v = &mut vectors[*gene as usize * width..][..width];
                skip_gram::step(v, &mut contexts, &chosen, rate as f32);
            }
        }
        let without: Vec<usize> = (0..genes).filter(|gene| counts[*gene] == 0.0).collect();
        without.iter().for_each(|gene| vectors[gene * width..][..width].fill(0.0));
        if !without.is_empty() {
            io.warn(format!("{} of {genes} genes correlate with no other and get zeros", without.len()));
        }
        Ok(vectors)
    }
}

/// Scales a profile to mean 0 and length 1 over the cells that have a place; zeros if it is constant.
fn standardise(profile: &mut [f32], column: &Column, place: &[Option<usize>]) {
    for (cell, value) in column.cells.iter().zip(&column.values) {
        if let Some(at) = place[*cell as usize] {
            profile[at] = *value;
        }
    }
    let mean = profile.iter().map(|value| f64::from(*value)).sum::<f64>() / profile.len() as f64;
    let square = profile.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>();
    let scale = if square > 1e-12 * mean * mean * profile.len() as f64 { 1.0 / square.sqrt() } else { 0.0 };
    profile.iter_mut().for_each(|value| *value = ((f64::from(*value) - mean) * scale) as f32);
}

/// Draws genes by their counts.
struct Negatives {
    /// The cumulative weights.
    sums: Vec<f64>,
}

impl Negatives {
    fn new(counts: &[f64]) -> Negatives {
        let sums = counts.iter().scan(0.0, |sum, count| {
            *sum += libm::pow(*count, EVENNESS);
            Some(*sum)
        });
        Negatives { sums: sums.collect() }
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let aim = random.unit() * self.sums.last().copied().unwrap_or(0.0);
        self.sums.partition_point(|sum| *sum <= aim).min(self.sums.len() - 1) as u32
    }
}
