//! How the known edges around a pair explain the expression of its genes.
//!
//! A TF also correlates with indirect targets, and with genes that share a regulator with it. What is left of a
//! correlation after accounting for the target's known regulators tells such pairs from edges.

use learn::linear::{factor, substitute_forward};
use rayon::prelude::*;
use std::collections::BTreeMap;
use tensor::simd;
use tensor::simd::dot;

/// The number of features of a pair.
pub const AROUND: usize = 4;
/// The share of a regulator's variance that is taken to be its own, beyond everything that it shares with others.
const RIDGE: f64 = 0.1;
/// The least share of a gene's variance assumed to be unexplained by others.
const LEAST_LEFT: f64 = 0.05;
/// The most regulators that may explain a target: those that correlate with it most.
const MOST: usize = 32;

/// The z-scores of each gene.
#[derive(Clone, Copy)]
pub struct Profiles<'a> {
    values: &'a [f32],
    cells: usize,
}

impl<'a> Profiles<'a> {
    /// `values` holds the genes one after the other, with a number for each cell.
    pub fn new(values: &'a [f32], cells: usize) -> Profiles<'a> {
        Profiles { values, cells }
    }

    /// The correlation of two genes over the cells.
    pub fn correlation(&self, gene: u32, other: u32) -> f64 {
        f64::from(simd::dot(self.of(gene), self.of(other)) / self.cells as f32)
    }

    fn of(&self, gene: u32) -> &'a [f32] {
        &self.values[gene as usize * self.cells..][..self.cells]
    }
}

/// Known edges, indexed by both ends.
pub struct Around<'a> {
    profiles: Profiles<'a>,
    /// By target.
    regulators: BTreeMap<u32, Regulators>,
    /// The mean profile of the targets of each TF.
    targets: BTreeMap<u32, Vec<f32>>,
}

/// The known regulators of a target.
struct Regulators {
    genes: Vec<u32>,
    /// The Cholesky factor of their correlation matrix.
    factor: Vec<f64>,
    /// The target's correlations with them, after forward substitution with that factor.
    of_target: Vec<f64>,
}

impl<'a> Around<'a> {
    /// From these edges.
    pub fn new(profiles: Profiles<'a>, edges: impl Iterator<Item = (u32, u32)>) -> Around<'a> {
        let (mut regulators, mut targets) = (BTreeMap::<_, Vec<u32>>::new(), BTreeMap::<_, Vec<u32>>::new());
        for (tf, target) in edges {
            regulators.entry(target).or_default().push(tf);
            targets.entry(tf).or_default().push(target);
        }
        let of_target = |(target, genes)| (target, Regulators::new(profiles, target, genes));
        let of_tf = |(tf, targets): (u32, Vec<u32>)| (tf, mean(profiles, &targets));
        Around {
            profiles,
            regulators: regulators.into_par_iter().map(of_target).collect(),
            targets: targets.into_par_iter().map(of_tf).collect(),
        }
    }

    /// The correlation that the target's regulators leave unexplained, and its absolute value; the correlation of the
    /// target with the TF's targets; and the mean correlation of the TF with the target's regulators. Prereq: the
    /// pair's own edge was left out.
    pub fn describe(&self, tf: u32, target: u32) -> [f64; AROUND] {
        let own = self.profiles.correlation(tf, target);
        let (left, with_regulators) = match self.regulators.get(&target) {
            None => (own, 0.0),
            Some(regulators) => {
                let mut with: Vec<f64> =
                    regulators.genes.iter().map(|other| self.profiles.correlation(tf, *other)).collect();
                let mean = with.iter().sum::<f64>() / with.len() as f64;
                substitute_forward(&regulators.factor, &mut with);
                let unexplained = |of: &[f64]| f64::max(1.0 - dot(of, of), LEAST_LEFT);
                let scale = libm::sqrt(unexplained(&with) * unexplained(&regulators.of_target));
                ((own - dot(&with, &regulators.of_target)) / scale, mean)
            }
        };
        let with_targets = self.targets.get(&tf).map_or(0.0, |mean| {
            f64::from(simd::dot(mean, self.profiles.of(target)) / self.profiles.cells as f32)
        });
        [left, left.abs(), with_targets, with_regulators]
    }
}

impl Regulators {
    fn new(profiles: Profiles, target: u32, mut genes: Vec<u32>) -> Regulators {
        genes.sort_by(|a, b| {
            let size = |gene: u32| profiles.correlation(gene, target).abs();
            size(*b).total_cmp(&size(*a)).then(a.cmp(b))
        });
        genes.truncate(MOST);
        let count = genes.len();
        let mut together = vec![0.0; count * count];
        for (row, gene) in genes.iter().enumerate() {
            for (column, other) in genes.iter().enumerate() {
                let own = if row == column { RIDGE } else { 0.0 };
                together[row * count + column] = profiles.correlation(*gene, *other) + own;
            }
        }
        factor(&mut together, count).expect("correlations with a ridge are positive definite");
        let mut of_target: Vec<f64> = genes.iter().map(|gene| profiles.correlation(*gene, target)).collect();
        substitute_forward(&together, &mut of_target);
        Regulators { genes, factor: together, of_target }
    }
}

fn mean(profiles: Profiles, genes: &[u32]) -> Vec<f32> {
    let mut mean = vec![0.0; profiles.cells];
    for gene in genes {
        mean.iter_mut().zip(profiles.of(*gene)).for_each(|(sum, value)| *sum += value / genes.len() as f32);
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::random::Random;

    const CELLS: usize = 2000;

    #[test]
    fn what_goes_with_a_target_through_a_known_regulator_alone_is_told_from_an_edge() {
        // 0 drives 1, and 1 drives 2; 3 drives 2 as well.
        let mut random = Random::new(1, 0);
        let mut noise = || -> Vec<f32> { (0..CELLS).map(|_| random.normal() as f32).collect() };
        let sum = |a: &[f32], b: &[f32]| -> Vec<f32> { a.iter().zip(b).map(|(a, b)| 2.0 * a + b).collect() };
        let (first, other) = (noise(), noise());
        let second = sum(&first, &noise());
        let third = sum(&sum(&second, &other), &noise());
        let mut rows = [first, second, third, other];
        for row in &mut rows {
            let mean = row.iter().sum::<f32>() / CELLS as f32;
            let deviation = (row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / CELLS as f32).sqrt();
            row.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
        }
        let values = rows.concat();
        let profiles = Profiles::new(&values, CELLS);
        assert!(profiles.correlation(0, 2) > 1.3 * profiles.correlation(3, 2));
        let around = Around::new(profiles, [(0, 1), (1, 2)].into_iter());
        let [indirect, size, with_targets, with_regulators] = around.describe(0, 2);
        let [direct, ..] = around.describe(3, 2);
        assert!(direct > 1.2 * indirect.abs(), "{direct} {indirect}");
        assert_eq!(size, indirect.abs());
        assert!((with_targets - profiles.correlation(1, 2)).abs() < 1e-5);
        assert!((with_regulators - profiles.correlation(0, 1)).abs() < 1e-5);
        let [left, _, none, nothing] = Around::new(profiles, std::iter::empty()).describe(3, 2);
        assert_eq!((left, none, nothing), (profiles.correlation(3, 2), 0.0, 0.0));
    }
}
