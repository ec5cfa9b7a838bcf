//! Whether a model predicts hidden genes better than baselines that do not look at the cell.
//!
//! There are two baselines, both made of frequencies: the share of each bin among all non-zero genes, and the shares
//! for the gene itself. A model that does not beat the second has learned nothing about cells.

use super::NO_TARGET;
use data::metrics::summary::{Row, limits};
use data::random::Random;
use data::tokens::Corpus;

/// Bootstrap replicates. Whole cells are resampled, because the genes of a cell are not independent.
const REPLICATES: usize = 1000;
const BOOTSTRAP_STREAM: u64 = 1 << 52;
/// The weight of the overall shares in a gene's own shares, as a number of pseudo-observations.
const PRIOR: f64 = 1.0;

/// One target and its prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Guess {
    gene: usize,
    target: u32,
    right: bool,
    /// The negative log probability that was predicted for the target.
    loss: f64,
}

/// The targets of one cell and their predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged(Vec<Guess>);

impl Judged {
    /// From each gene's target and its logits for all tokens.
    pub fn new(targets: &[u32], logits: &[f32]) -> Judged {
        let classes = logits.len() / targets.len().max(1);
        let genes = targets.iter().zip(logits.chunks(classes.max(1))).enumerate();
        let guess = |(gene, (target, logits)): (usize, (&u32, &[f32]))| {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = logits.iter().map(|logit| libm::exp(f64::from(logit - most))).sum();
            let aimed_at = logits[*target as usize];
            let first = logits.iter().position(|logit| *logit == most);
            Guess {
                gene,
                target: *target,
                right: first == Some(*target as usize),
                loss: f64::from(most - aimed_at) + libm::log(total),
            }
        };
        Judged(genes.filter(|(_, (target, _))| **target != NO_TARGET).map(guess).collect())
    }

    /// The mean over all targets of all cells; `None` if there are no targets.
    pub fn cross_entropy(judged: &[Judged]) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0_u64);
        for guess in judged.iter().flat_map(|judged| &judged.0) {
            sum += guess.loss;
            count += 1;
        }
        (count > 0).then(|| sum / count as f64)
    }
}

/// The baselines: bin frequencies, which need no look at the cell.
#[derive(Debug, Clone)]
pub struct Frequencies {
    /// The share of each bin among the non-zero genes; `[0]` is bin 1.
    overall: Vec<f64>,
    /// The same for each gene.
    genes: Vec<Vec<f64>>,
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

    /// The predictions of the two baselines for the same targets: with overall shares, and with the gene's own.
    fn guess(&self, judged: &Judged) -> [Judged; 2] {
        let guess = |guess: &Guess, shares: &[f64]| {
            let aimed_at = guess.target as usize - 1;
            let most = shares.iter().copied().fold(0.0, f64::max);
            let first = shares.iter().position(|share| *share == most);
            Guess { right: first == Some(aimed_at), loss: -libm::log(shares[aimed_at]), ..*guess }
        };
        [
            Judged(judged.0.iter().map(|target| guess(target, &self.overall)).collect()),
            Judged(judged.0.iter().map(|target| guess(target, &self.genes[target.gene])).collect()),
        ]
    }
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}

/// Totals for one cell or for many: the targets and, for the model and both baselines, the number of correct
/// predictions and the summed loss.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    targets: f64,
    right: [f64; 3],
    loss: [f64; 3],
}

/// Accuracy and cross-entropy of the model and of both baselines, and the model's gain over the gene's own bins.
pub const METRICS: [&str; 8] = [
    "accuracy",
    "accuracy_most_frequent_bin",
    "accuracy_gene_bins",
    "cross_entropy",
    "cross_entropy_most_frequent_bin",
    "cross_entropy_gene_bins",
    "accuracy_above_gene_bins",
    "cross_entropy_below_gene_bins",
];

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.targets += other.targets;
        for predictor in 0..self.right.len() {
            self.right[predictor] += other.right[predictor];
            self.loss[predictor] += other.loss[predictor];
        }
    }

    /// The metrics, in the order of `METRICS`.
    fn metrics(&self) -> Vec<(String, f64)> {
        let accuracy = self.right.map(|right| right / self.targets);
        let loss = self.loss.map(|loss| loss / self.targets);
        let above = [accuracy[0] - accuracy[2], loss[2] - loss[0]];
        let values = accuracy.into_iter().chain(loss).chain(above);
        METRICS.into_iter().map(str::to_owned).zip(values).collect()
    }
}

/// Compares the model with the two baselines, with 95 % intervals over cells; empty if there are no targets.
pub fn compare(judged: &[Judged], frequencies: &Frequencies, seed: u64) -> Vec<Row> {
    let cells: Vec<Sums> = judged
        .iter()
        .map(|model| {
            let [overall, genes] = frequencies.guess(model);
            let each = [model, &overall, &genes];
            let right = each.map(|of| of.0.iter().filter(|guess| guess.right).count() as f64);
            let loss = each.map(|of| of.0.iter().map(|guess| guess.loss).sum());
            Sums { targets: model.0.len() as f64, right, loss }
        })
        .filter(|cell| cell.targets > 0.0)
        .collect();
    if cells.is_empty() {
        return Vec::new();
    }
    let total = |chosen: &mut dyn Iterator<Item = usize>| {
        let mut sums = Sums::default();
        chosen.for_each(|cell| sums.add(&cells[cell]));
        sums.metrics()
    };
    let mut random = Random::new(seed, BOOTSTRAP_STREAM);
    let replicates: Vec<Vec<(String, f64)>> =
        (0..REPLICATES).map(|_| total(&mut (0..cells.len()).map(|_| random.below(cells.len())))).collect();
    let row = |(index, (metric, value)): (usize, (String, f64))| {
        let mut draws: Vec<f64> = replicates.iter().map(|metrics| metrics[index].1).collect();
        let interval = if cells.len() > 1 { limits(&mut draws) } else { None };
        Row { metric, value: Some(value), interval, count: cells.len() }
    };
    total(&mut (0..cells.len())).into_iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{Frequencies, Judged, NO_TARGET, compare};

    fn frequencies() -> Frequencies {
        Frequencies { overall: vec![0.75, 0.25], genes: vec![vec![0.5, 0.5], vec![0.1, 0.9]] }
    }

    #[test]
    fn guesses_are_judged_by_their_targets_alone() {
        // Two cells of two genes; tokens 0, 1, 2. The second gene of the first cell is not a target.
        let logits = [0.0, 1.0, 0.0, 9.0, 9.0, 9.0];
        let first = Judged::new(&[1, NO_TARGET], &logits);
        let second = Judged::new(&[2, 2], &[0.0, 2.0, 0.0, 0.0, 0.0, 3.0]);
        let rows = compare(&[first, second], &frequencies(), 1);
        let value = |name: &str| {
            let row = rows.iter().find(|row| row.metric == name).unwrap_or_else(|| panic!("{name}"));
            (row.value.unwrap() * 1e6).round() / 1e6
        };
        assert_eq!(value("accuracy"), 0.666_667);
        // Bin 1 is the most frequent overall. For the first gene both bins are equally frequent, and the first one
        // wins.
        assert_eq!(value("accuracy_most_frequent_bin"), 0.333_333);
        assert_eq!(value("accuracy_gene_bins"), 0.666_667);
        let expected = -(0.75f64.ln() + 2.0 * 0.25f64.ln()) / 3.0;
        assert_eq!(value("cross_entropy_most_frequent_bin"), (expected * 1e6).round() / 1e6);
        let expected = -(0.5f64.ln() * 2.0 + 0.9f64.ln()) / 3.0;
        assert_eq!(value("cross_entropy_gene_bins"), (expected * 1e6).round() / 1e6);
        let softmax = |logits: [f64; 3], target: usize| {
            -(logits[target].exp() / logits.iter().map(|logit| logit.exp()).sum::<f64>()).ln()
        };
        let expected =
            (softmax([0.0, 1.0, 0.0], 1) + softmax([0.0, 2.0, 0.0], 2) + softmax([0.0, 0.0, 3.0], 2)) / 3.0;
        assert_eq!(value("cross_entropy"), (expected * 1e6).round() / 1e6);
        assert!(rows.iter().all(|row| row.count == 2 && row.interval.is_some()));
    }

    #[test]
    fn without_targets_there_is_nothing_to_say() {
        let judged = [Judged::new(&[NO_TARGET], &[0.0, 0.0])];
        assert!(compare(&judged, &frequencies(), 1).is_empty());
        assert_eq!(Judged::cross_entropy(&judged), None);
    }
}
