//! Predictors of hidden genes that a model is held against.
//!
//! Two look at no cell: the shares of the bins among all genes, and each gene's own. Two look at the cell: the most
//! similar training cell that expresses the gene, and a ridge regression of the gene on the cell's first principal
//! components. Hidden genes count as average in both, as they do in a model's own vector of the cell.

use super::NO_TARGET;
use crate::linear::{directions, principal_components, solve};
use crate::model::readout::{Priors, standardise};
use data::tokens::Corpus;
use rayon::prelude::*;
use tensor::simd::dot;

/// The weight of the overall shares in a gene's own shares, as a number of pseudo-observations.
const PRIOR: f64 = 1.0;
/// The most training cells that are compared with, regressed on, or reduced to principal components.
const MOST_CELLS: usize = 2000;
/// Principal components per cell. More of them made no prediction better on simulated and real cells (docs/transformer.md).
const COMPONENTS: usize = 50;
/// The penalties of the regression, of which validation cells choose one.
const PENALTIES: [f64; 6] = [100.0, 300.0, 1e3, 3e3, 1e4, 3e4];
/// A gene that fewer training cells express is not regressed; its own bins predict it.
const LEAST_CELLS: usize = 5;

/// The shares of the bins.
#[derive(Debug, Clone)]
pub struct Frequencies {
    /// Among the non-zero genes of all cells; `[0]` is bin 1.
    pub overall: Vec<f64>,
    /// The same for each gene.
    pub genes: Vec<Vec<f64>>,
}

impl Frequencies {
    /// Counts bins in the training cells.
    pub fn new(corpus: &Corpus, cells: &[usize], bins: u8, positions: usize) -> Frequencies {
        let mut counts = vec![vec![0.0; usize::from(bins)]; positions];
        for (gene, token) in cells.iter().flat_map(|cell| corpus.expressed(*cell)) {
            counts[gene as usize][usize::from(token) - 1] += 1.0;
        }
        // Starts each count at 1, so that an unseen bin is not impossible.
        let sums = (0..usize::from(bins)).map(|bin| 1.0 + counts.iter().map(|gene| gene[bin]).sum::<f64>());
        let overall = shares(&sums.collect::<Vec<f64>>());
        let of_gene = |counts: &Vec<f64>| {
            let counts: Vec<f64> =
                counts.iter().zip(&overall).map(|(count, share)| count + PRIOR * share).collect();
            shares(&counts)
        };
        Frequencies { genes: counts.iter().map(of_gene).collect(), overall }
    }

    /// What a model may know of each gene before it is trained.
    pub fn priors(&self, corpus: &Corpus, cells: &[usize]) -> Priors {
        let positions = self.genes.len();
        let (mut sums, mut squares) = (vec![0.0; positions], vec![0.0; positions]);
        for (gene, token) in cells.iter().flat_map(|cell| corpus.expressed(*cell)) {
            sums[gene as usize] += f64::from(token);
            squares[gene as usize] += f64::from(token).powi(2);
        }
        let count = cells.len().max(1) as f64;
        let deviation = |(sum, square): (&f64, &f64)| {
            let mean = sum / count;
            libm::sqrt((square / count - mean * mean).max(0.0)) as f32
        };
        Priors {
            means: sums.iter().map(|sum| (sum / count) as f32).collect(),
            deviations: sums.iter().zip(&squares).map(deviation).collect(),
            shares: self.genes.clone(),
        }
    }
}

/// The tokens of training cells, or of every so many if there are many.
pub fn sample(corpus: &Corpus, training: &[usize]) -> Vec<u32> {
    let every = training.len().div_ceil(MOST_CELLS).max(1);
    let mut tokens = Vec::new();
    training.iter().step_by(every).for_each(|cell| corpus.append(*cell, &mut tokens));
    tokens
}

/// The mean bin of these shares.
pub fn expected(shares: &[f64]) -> f64 {
    shares.iter().zip(1..).map(|(share, bin)| share * f64::from(bin)).sum()
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}

/// What two predictors that look at the cell say of one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Looked {
    /// The bin in the most similar training cell that expresses the gene.
    pub nearest: f64,
    /// The bin that the ridge regression expects, within the range of bins.
    pub ridge: f64,
}

/// The predictors that look at the cell.
pub struct Lookers {
    bins: f64,
    priors: Priors,
    /// The training cells, standardised; one row each.
    standard: Vec<f32>,
    /// The same cells' tokens.
    tokens: Vec<u32>,
    /// A gene's part in the components: positions x components.
    loadings: Vec<f64>,
    components: usize,
    regressions: Vec<Option<Regression>>,
    /// The penalty that validation chose, as an index.
    penalty: usize,
}

/// The regression of one gene.
struct Regression {
    /// The mean of the components over the cells that express the gene.
    centre: Vec<f64>,
    mean: f64,
    /// A weight for each component, for each penalty.
    weights: Vec<Vec<f64>>,
}

impl Lookers {
    /// Learns from training cells. `validation` holds cells with hidden genes and their targets, one after the other.
    pub fn new(corpus: &Corpus, training: &[usize], priors: Priors, validation: (&[u32], &[u32])) -> Lookers {
        let (positions, bins) = (priors.means.len(), priors.shares.first().map_or(0, Vec::len) as f64);
        let tokens = sample(corpus, training);
        let mask = bins as u32 + 1;
        let standard: Vec<f32> =
            tokens.chunks(positions).flat_map(|cell| standard(cell, mask, &priors)).collect();
        let (places, components) = principal_components(&standard, positions, COMPONENTS);
        let loadings = directions(&standard, positions, &places, components);
        let mut lookers = Lookers {
            bins,
            priors,
            standard,
            tokens,
            loadings,
            components,
            regressions: Vec::new(),
            penalty: 0,
        };
        lookers.regressions =
            (0..positions).into_par_iter().map(|gene| lookers.regress(gene, &places)).collect();
        lookers.choose(validation);
        lookers
    }

    fn positions(&self) -> usize {
        self.priors.means.len()
    }

    fn standard(&self, cell: &[u32]) -> Vec<f32> {
        standard(cell, self.bins as u32 + 1, &self.priors)
    }

    fn loading(&self, gene: usize) -> &[f64] {
        &self.loadings[gene * self.components..][..self.components]
    }

    /// Regresses a gene on the components, from which its own part is taken.
    fn regress(&self, gene: usize, places: &[f64]) -> Option<Regression> {
        let (positions, components) = (self.positions(), self.components);
        let rows: Vec<usize> = (0..self.tokens.len() / positions)
            .filter(|row| self.tokens[row * positions + gene] > 0)
            .collect();
        if rows.len() < LEAST_CELLS || components == 0 {
            return None;
        }
        let token = |row: &usize| f64::from(self.tokens[row * positions + gene]);
        let count = rows.len() as f64;
        let mean = rows.iter().map(token).sum::<f64>() / count;
        let mut inputs: Vec<f64> = Vec::with_capacity(rows.len() * components);
        for row in &rows {
            let own = f64::from(self.standard[row * positions + gene]);
            let place = &places[row * components..][..components];
            inputs.extend(place.iter().zip(self.loading(gene)).map(|(place, part)| place - own * part));
        }
        let mut centre = vec![0.0; components];
        for row in inputs.chunks(components) {
            centre.iter_mut().zip(row).for_each(|(sum, value)| *sum += value / count);
        }
        for row in inputs.chunks_mut(components) {
            row.iter_mut().zip(&centre).for_each(|(value, centre)| *value -= centre);
        }
        let (mut squares, mut right) = (vec![0.0; components * components], vec![0.0; components]);
        for (row, at) in inputs.chunks(components).zip(&rows) {
            let off = token(at) - mean;
            for (place, value) in row.iter().enumerate() {
                right[place] += value * off;
                let sums = squares[place * components..][..place + 1].iter_mut();
                sums.zip(row).for_each(|(sum, other)| *sum += value * other);
            }
        }
        let weights = |penalty: &f64| {
            let (mut matrix, mut weights) = (squares.clone(), right.clone());
            (0..components).for_each(|place| matrix[place * components + place] += penalty);
            solve(&mut matrix, &mut weights).map(|()| weights)
        };
        let weights = PENALTIES.iter().map(weights).collect::<Option<Vec<_>>>()?;
        Some(Regression { centre, mean, weights })
    }

    /// The regression's prediction for a gene of a cell at this place.
    fn predict(&self, gene: usize, place: &[f64], penalty: usize) -> f64 {
        let Some(Regression { centre, mean, weights }) = &self.regressions[gene] else {
            return expected(&self.priors.shares[gene]);
        };
        let off: Vec<f64> = place.iter().zip(centre).map(|(place, centre)| place - centre).collect();
        (mean + dot(&off, &weights[penalty])).clamp(1.0, self.bins)
    }

    /// The place of a standardised cell among the components.
    fn place(&self, cell: &[f32]) -> Vec<f64> {
        let mut place = vec![0.0; self.components];
        for (value, loading) in cell.iter().zip(self.loadings.chunks(self.components.max(1))) {
            place.iter_mut().zip(loading).for_each(|(sum, part)| *sum += f64::from(*value) * part);
        }
        place
    }

    /// Chooses the penalty with the least squared error on validation cells.
    fn choose(&mut self, (tokens, targets): (&[u32], &[u32])) {
        let positions = self.positions();
        let of_cell = |(tokens, targets): (&[u32], &[u32])| {
            let place = self.place(&self.standard(tokens));
            let mut errors = [0.0; PENALTIES.len()];
            for (gene, target) in targets.iter().enumerate().filter(|(_, target)| **target != NO_TARGET) {
                for (penalty, error) in errors.iter_mut().enumerate() {
                    *error += (self.predict(gene, &place, penalty) - f64::from(*target)).powi(2);
                }
            }
            errors
        };
        let cells = tokens.par_chunks(positions).zip(targets.par_chunks(positions));
        let each: Vec<[f64; PENALTIES.len()]> = cells.map(of_cell).collect();
        let total = |penalty: usize| each.iter().map(|errors| errors[penalty]).sum::<f64>();
        self.penalty =
            (0..PENALTIES.len()).min_by(|a, b| total(*a).total_cmp(&total(*b))).expect("there are penalties");
    }

    /// The predictions for the targets of a cell, in the order of genes.
    pub fn guess(&self, tokens: &[u32], targets: &[u32]) -> Vec<Looked> {
        let positions = self.positions();
        let cell = self.standard(tokens);
        let place = self.place(&cell);
        let similarity = |other: &[f32]| {
            let (mut across, mut length) = (0.0, 1e-12);
            for (a, b) in cell.iter().zip(other) {
                across += f64::from(a * b);
                length += f64::from(b * b);
            }
            across / libm::sqrt(length)
        };
        let similarities: Vec<f64> = self.standard.par_chunks(positions).map(similarity).collect();
        let mut order: Vec<usize> = (0..similarities.len()).collect();
        order.sort_by(|a, b| similarities[*b].total_cmp(&similarities[*a]));
        let looked = |(gene, _): (usize, &u32)| {
            let bins = order.iter().map(|row| self.tokens[row * positions + gene]);
            let nearest = bins
                .into_iter()
                .find(|bin| *bin > 0)
                .map_or_else(|| expected(&self.priors.shares[gene]), f64::from);
            Looked { nearest, ridge: self.predict(gene, &place, self.penalty) }
        };
        targets.iter().enumerate().filter(|(_, target)| **target != NO_TARGET).map(looked).collect()
    }
}

fn standard(cell: &[u32], mask: u32, priors: &Priors) -> Vec<f32> {
    standardise(cell, mask, &priors.means, &priors.deviations, 0.0)
}
