//! Logistic regression with several classes, on many features most of which are zero.
//!
//! Minimises Σ −log softmax(W x + b)ₖ + ½ λ ‖W‖² by L-BFGS (Liu and Nocedal 1989). Every sum is in the same order on
//! any number of threads.

use rayon::prelude::*;
use std::collections::VecDeque;

const MOST_STEPS: usize = 100;
/// How many steps the approximation of the curvature remembers.
const REMEMBERED: usize = 8;
/// Stops where no entry of the mean gradient is larger.
const FLAT: f64 = 1e-5;
/// The share of the expected decrease that a step must bring (Armijo).
const LEAST_DECREASE: f64 = 1e-4;
const MOST_HALVINGS: usize = 30;

/// The features of one example that are not zero.
pub type Sparse = Vec<(u32, f32)>;

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Multinomial {
    /// For each class the weights of all features, then the intercept.
    weights: Vec<f64>,
    features: usize,
}

impl Multinomial {
    /// Fits to examples of `features` features, each of a class below `classes`; the larger the penalty, the smaller
    /// the weights.
    pub fn fit(
        rows: &[&Sparse],
        labels: &[u32],
        features: usize,
        classes: usize,
        penalty: f64,
    ) -> Multinomial {
        let problem = Problem { rows, labels, penalty };
        let mut model = Multinomial { weights: vec![0.0; classes * (features + 1)], features };
        let (mut loss, mut slope) = problem.at(&model);
        let mut memory: VecDeque<(Vec<f64>, Vec<f64>)> = VecDeque::new();
        for _ in 0..MOST_STEPS {
            let steepest = slope.iter().fold(0.0, |most: f64, entry| most.max(entry.abs()));
            if steepest <= FLAT * rows.len() as f64 {
                break;
            }
            let way = direction(&slope, &memory);
            let downhill = dot(&way, &slope);
            // Before anything is known of the curvature, a step of length 1.
            let mut length = if memory.is_empty() { 1.0 / dot(&way, &way).sqrt() } else { 1.0 };
            let mut halvings = 0;
            let (next, next_loss, next_slope) = loop {
                let weights = model.weights.iter().zip(&way).map(|(weight, way)| weight + length * way);
                let next = Multinomial { weights: weights.collect(), features };
                let (next_loss, next_slope) = problem.at(&next);
                if next_loss <= loss + LEAST_DECREASE * length * downhill || halvings == MOST_HALVINGS {
                    break (next, next_loss, next_slope);
                }
                length /= 2.0;
                halvings += 1;
            };
            if next_loss >= loss {
                break;
            }
            let step: Vec<f64> = way.iter().map(|way| length * way).collect();
            let change: Vec<f64> = next_slope.iter().zip(&slope).map(|(next, now)| next - now).collect();
            if dot(&step, &change) > 0.0 {
                memory.push_back((step, change));
                if memory.len() > REMEMBERED {
                    memory.pop_front();
                }
            }
            (model, loss, slope) = (next, next_loss, next_slope);
        }
        model
    }

    /// Weights for each class, `features` and the intercept, as one list.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The model with these weights. Prereq: they are `features` and an intercept for each class.
    pub fn of_weights(weights: Vec<f64>, features: usize) -> Multinomial {
        Multinomial { weights, features }
    }

    /// The log odds of each class, up to a constant.
    pub fn logits(&self, row: &Sparse) -> Vec<f64> {
        let of_class = |weights: &[f64]| {
            let sum = row.iter().map(|(feature, value)| weights[*feature as usize] * f64::from(*value));
            weights[self.features] + sum.sum::<f64>()
        };
        self.weights.chunks_exact(self.features + 1).map(of_class).collect()
    }

    /// The mean of −log p over examples with these labels.
    pub fn cross_entropy(&self, rows: &[&Sparse], labels: &[u32]) -> f64 {
        let of_row = |(row, label): (&&Sparse, &u32)| -libm::log(chances(self.logits(row))[*label as usize]);
        rows.iter().zip(labels).map(of_row).sum::<f64>() / rows.len() as f64
    }
}

/// Softmax.
pub fn chances(mut logits: Vec<f64>) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|logit| *logit = libm::exp(*logit - most));
    let total: f64 = logits.iter().sum();
    // Keeps the logarithm of an impossible class finite.
    logits.iter_mut().for_each(|chance| *chance = (*chance / total).max(f64::MIN_POSITIVE));
    logits
}

struct Problem<'a> {
    rows: &'a [&'a Sparse],
    labels: &'a [u32],
    penalty: f64,
}

impl Problem<'_> {
    /// The loss of a model, and its gradient.
    fn at(&self, model: &Multinomial) -> (f64, Vec<f64>) {
        let rows = self.rows.par_iter().zip(self.labels);
        let found: Vec<Vec<f64>> = rows.map(|(row, _)| chances(model.logits(row))).collect();
        let losses =
            found.iter().zip(self.labels).map(|(chances, label)| -libm::log(chances[*label as usize]));
        let size = model.features + 1;
        let mut slope = model.weights.clone();
        slope.par_chunks_exact_mut(size).enumerate().for_each(|(class, slope)| {
            slope.iter_mut().for_each(|entry| *entry *= self.penalty);
            slope[size - 1] = 0.0;
            for ((row, chances), label) in self.rows.iter().zip(&found).zip(self.labels) {
                let error = chances[class] - f64::from(u8::from(*label as usize == class));
                row.iter().for_each(|(feature, value)| slope[*feature as usize] += error * f64::from(*value));
                slope[size - 1] += error;
            }
        });
        let squares =
            model.weights.chunks_exact(size).map(|weights| dot(&weights[..size - 1], &weights[..size - 1]));
        (losses.sum::<f64>() + 0.5 * self.penalty * squares.sum::<f64>(), slope)
    }
}

/// The direction of L-BFGS: minus the gradient, scaled by the curvature along the last steps.
fn direction(slope: &[f64], memory: &VecDeque<(Vec<f64>, Vec<f64>)>) -> Vec<f64> {
    let mut way: Vec<f64> = slope.iter().map(|entry| -entry).collect();
    let mut shares = Vec::with_capacity(memory.len());
    let add = |way: &mut [f64], factor: f64, other: &[f64]| {
        way.iter_mut().zip(other).for_each(|(way, other)| *way += factor * other);
    };
    for (step, change) in memory.iter().rev() {
        let share = dot(step, &way) / dot(step, change);
        add(&mut way, -share, change);
        shares.push(share);
    }
    if let Some((step, change)) = memory.back() {
        let scale = dot(step, change) / dot(change, change);
        way.iter_mut().for_each(|way| *way *= scale);
    }
    for ((step, change), share) in memory.iter().zip(shares.into_iter().rev()) {
        let back = dot(change, &way) / dot(step, change);
        add(&mut way, share - back, step);
    }
    way
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::random::Random;

    fn example() -> (Vec<Sparse>, Vec<u32>) {
        let mut random = Random::new(5, 0);
        let row = |class: usize, random: &mut Random| {
            let value = |feature: usize| {
                let mean = if feature == class { 2.0 } else { 0.0 };
                (feature as u32, (mean + random.normal()) as f32)
            };
            (0..4).map(value).collect()
        };
        (0..300).map(|index| (row(index % 3, &mut random), (index % 3) as u32)).unzip()
    }

    #[test]
    fn the_gradient_vanishes_at_the_fit() {
        let (rows, labels) = example();
        let rows: Vec<&Sparse> = rows.iter().collect();
        let model = Multinomial::fit(&rows, &labels, 4, 3, 1.0);
        let (_, slope) = Problem { rows: &rows, labels: &labels, penalty: 1.0 }.at(&model);
        assert!(slope.iter().all(|entry| entry.abs() < 1e-5 * 300.0), "{slope:?}");
        // Feature 3 tells nothing; feature k tells class k from the others.
        let weight = |class: usize, feature: usize| model.weights[class * 5 + feature];
        (0..3).for_each(|class| {
            assert!(weight(class, class) > 0.8 && weight(class, 3).abs() < 0.4, "{:?}", model.weights);
        });
        let right = rows.iter().zip(&labels).filter(|(row, label)| {
            let logits = model.logits(row);
            logits.iter().all(|logit| *logit <= logits[**label as usize])
        });
        assert!(right.count() > 240);
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (rows, labels) = example();
        let rows: Vec<&Sparse> = rows.iter().collect();
        let problem = Problem { rows: &rows, labels: &labels, penalty: 2.0 };
        let weights: Vec<f64> = (0..15).map(|place| (place as f64 * 0.7).sin()).collect();
        let (_, slope) = problem.at(&Multinomial::of_weights(weights.clone(), 4));
        for place in 0..weights.len() {
            let at = |shift: f64| {
                let mut weights = weights.clone();
                weights[place] += shift;
                problem.at(&Multinomial::of_weights(weights, 4)).0
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope[place] - expected).abs() < 1e-4 * expected.abs().max(1.0), "{place}");
        }
    }

    #[test]
    fn a_fit_is_the_same_bits_on_any_number_of_threads() {
        let (rows, labels) = example();
        let rows: Vec<&Sparse> = rows.iter().collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Multinomial::fit(&rows, &labels, 4, 3, 1.0))
        };
        assert_eq!(on(1), on(3));
    }
}
