//! Whether a model predicts hidden genes better than predictors that take no training worth the name.
//!
//! A model that does not beat each gene's own bins has learned nothing about cells; one that stays behind the ridge
//! regression has learned less than a linear model.

use super::yardsticks::{Frequencies, Looked, expected};
use super::{NO_TARGET, expected_bin, weights};
use data::metrics::summary::{Row, over_units};

/// The random stream that resamples cells: whole ones, because the genes of a cell are not independent.
const BOOTSTRAP_STREAM: u64 = 1 << 52;

/// One target and its prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Guess {
    gene: usize,
    target: u32,
    right: bool,
    /// The negative log probability that was predicted for the target.
    loss: f64,
    /// The square of the target less the bin that was expected.
    squared: f64,
}

/// The targets of one cell and their predictions.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged(Vec<Guess>);

impl Judged {
    /// From each gene's target and its logits for all tokens: the zero bin, the others, and the mask.
    pub fn new(targets: &[u32], logits: &[f32]) -> Judged {
        let classes = logits.len() / targets.len().max(1);
        let genes = targets.iter().zip(logits.chunks(classes.max(1))).enumerate();
        let guess = |(gene, (target, logits)): (usize, (&u32, &[f32]))| {
            let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let weights = weights(logits);
            let aimed_at = logits[*target as usize];
            let first = logits.iter().position(|logit| *logit == most);
            Guess {
                gene,
                target: *target,
                right: first == Some(*target as usize),
                loss: f64::from(most - aimed_at) + libm::log(weights.iter().sum()),
                squared: (expected_bin(&weights) - f64::from(*target)).powi(2),
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

    /// The predictions for the same targets of what looks at no cell: the overall shares, and the gene's own.
    fn by(&self, frequencies: &Frequencies) -> [Judged; 2] {
        let guess = |guess: &Guess, shares: &[f64]| {
            let aimed_at = guess.target as usize - 1;
            let most = shares.iter().copied().fold(0.0, f64::max);
            let first = shares.iter().position(|share| *share == most);
            Guess {
                right: first == Some(aimed_at),
                loss: -libm::log(shares[aimed_at]),
                squared: (expected(shares) - f64::from(guess.target)).powi(2),
                ..*guess
            }
        };
        [
            Judged(self.0.iter().map(|target| guess(target, &frequencies.overall)).collect()),
            Judged(self.0.iter().map(|target| guess(target, &frequencies.genes[target.gene])).collect()),
        ]
    }

    /// The same of what looks at the cell; it predicts no probabilities.
    fn by_looking(&self, looked: &[Looked]) -> [Judged; 2] {
        let guess = |guess: &Guess, bin: f64| {
            let target = f64::from(guess.target);
            Guess { right: bin.round() == target, loss: f64::NAN, squared: (bin - target).powi(2), ..*guess }
        };
        [
            Judged(self.0.iter().zip(looked).map(|(target, looked)| guess(target, looked.nearest)).collect()),
            Judged(self.0.iter().zip(looked).map(|(target, looked)| guess(target, looked.ridge)).collect()),
        ]
    }
}

/// The predictors, in the order of [`Sums`].
const MODEL: usize = 0;
const MOST_FREQUENT_BIN: usize = 1;
const GENE_BINS: usize = 2;
const NEAREST_CELL: usize = 3;
const RIDGE: usize = 4;
const PREDICTORS: usize = 5;

/// Totals for one cell or for many: the targets and, for each predictor, the number of correct predictions, the summed
/// loss and the summed squared error.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    targets: f64,
    right: [f64; PREDICTORS],
    loss: [f64; PREDICTORS],
    squared: [f64; PREDICTORS],
}

/// How well the model predicts, how well each yardstick does, and what the model gains over those that matter.
pub const METRICS: [&str; 14] = [
    "accuracy",
    "accuracy_most_frequent_bin",
    "accuracy_gene_bins",
    "accuracy_nearest_cell",
    "cross_entropy",
    "cross_entropy_most_frequent_bin",
    "cross_entropy_gene_bins",
    "squared_error",
    "squared_error_gene_bins",
    "squared_error_nearest_cell",
    "squared_error_ridge",
    "accuracy_above_gene_bins",
    "cross_entropy_below_gene_bins",
    "squared_error_below_ridge",
];

impl Sums {
    fn of(judged: [&Judged; PREDICTORS]) -> Sums {
        let sum = |of: &dyn Fn(&Guess) -> f64| judged.map(|by| by.0.iter().map(of).sum());
        Sums {
            targets: judged[MODEL].0.len() as f64,
            right: sum(&|guess| f64::from(u8::from(guess.right))),
            loss: sum(&|guess| guess.loss),
            squared: sum(&|guess| guess.squared),
        }
    }

    fn add(&mut self, other: &Sums) {
        self.targets += other.targets;
        for predictor in 0..PREDICTORS {
            self.right[predictor] += other.right[predictor];
            self.loss[predictor] += other.loss[predictor];
            self.squared[predictor] += other.squared[predictor];
        }
    }

    /// The metrics, in the order of `METRICS`.
    fn metrics(&self) -> [f64; METRICS.len()] {
        let accuracy = self.right.map(|right| right / self.targets);
        let loss = self.loss.map(|loss| loss / self.targets);
        let squared = self.squared.map(|squared| squared / self.targets);
        [
            accuracy[MODEL],
            accuracy[MOST_FREQUENT_BIN],
            accuracy[GENE_BINS],
            accuracy[NEAREST_CELL],
            loss[MODEL],
            loss[MOST_FREQUENT_BIN],
            loss[GENE_BINS],
            squared[MODEL],
            squared[GENE_BINS],
            squared[NEAREST_CELL],
            squared[RIDGE],
            accuracy[MODEL] - accuracy[GENE_BINS],
            loss[GENE_BINS] - loss[MODEL],
            squared[RIDGE] - squared[MODEL],
        ]
    }
}

/// Compares the model with the yardsticks, with 95 % intervals over cells; empty if there are no targets. Prereq:
/// `looked` holds the predictions for the targets of each judged cell.
pub fn compare(judged: &[Judged], frequencies: &Frequencies, looked: &[Vec<Looked>], seed: u64) -> Vec<Row> {
    let of_cell = |(model, looked): (&Judged, &Vec<Looked>)| {
        let [overall, genes] = model.by(frequencies);
        let [nearest, ridge] = model.by_looking(looked);
        Sums::of([model, &overall, &genes, &nearest, &ridge])
    };
    let cells: Vec<Sums> = judged.iter().zip(looked).map(of_cell).filter(|cell| cell.targets > 0.0).collect();
    let total = |chosen: &[usize]| {
        let mut sums = Sums::default();
        chosen.iter().for_each(|cell| sums.add(&cells[*cell]));
        sums.metrics()
    };
    over_units(METRICS, cells.len(), seed, BOOTSTRAP_STREAM, total)
}

#[cfg(test)]
mod tests {
    use super::{Frequencies, Judged, Looked, NO_TARGET, compare};

    fn frequencies() -> Frequencies {
        Frequencies { overall: vec![0.75, 0.25], genes: vec![vec![0.5, 0.5], vec![0.1, 0.9]] }
    }

    #[test]
    fn guesses_are_judged_by_their_targets_alone() {
        // Two cells of two genes; tokens 0, 1, 2 and a mask. The second gene of the first cell is not a target.
        let logits = [0.0, 1.0, 0.0, -99.0, 9.0, 9.0, 9.0, 9.0];
        let first = Judged::new(&[1, NO_TARGET], &logits);
        let second = Judged::new(&[2, 2], &[0.0, 2.0, 0.0, -99.0, 0.0, 0.0, 3.0, -99.0]);
        let looked = |nearest, ridge| Looked { nearest, ridge };
        let looked = [vec![looked(1.0, 1.5)], vec![looked(1.0, 2.0), looked(2.0, 1.0)]];
        let rows = compare(&[first, second], &frequencies(), &looked, 1);
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
        assert_eq!(value("accuracy_nearest_cell"), 0.666_667);
        assert_eq!(value("squared_error_nearest_cell"), 0.333_333);
        assert_eq!(value("squared_error_ridge"), 0.416_667);
        assert_eq!(value("squared_error_gene_bins"), ((0.25f64 + 0.25 + 0.01) / 3.0 * 1e6).round() / 1e6);
        let low = |logits: [f64; 2]| 1.0 / (1.0 + (logits[1] - logits[0]).exp());
        let errors = (1.0 - low([1.0, 0.0])).powi(2) + low([2.0, 0.0]).powi(2) + low([0.0, 3.0]).powi(2);
        assert_eq!(value("squared_error"), (errors / 3.0 * 1e6).round() / 1e6);
        assert_eq!(value("squared_error_below_ridge"), ((1.25 - errors) / 3.0 * 1e6).round() / 1e6);
        assert!(rows.iter().all(|row| row.count == 2 && row.interval.is_some()));
    }

    #[test]
    fn without_targets_there_is_nothing_to_say() {
        let judged = [Judged::new(&[NO_TARGET], &[0.0, 0.0])];
        assert!(compare(&judged, &frequencies(), &[Vec::new()], 1).is_empty());
        assert_eq!(Judged::cross_entropy(&judged), None);
    }
}
