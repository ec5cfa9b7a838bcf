//! Forests of fully grown trees, for the importance of each feature.

use super::Features;
use super::split::{Load, Splitter};
use data::random::Random;

/// How the trees of a forest are randomised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chance {
    /// Each tree sees a bootstrap sample and uses the best thresholds (Breiman 2001).
    Samples,
    /// Each tree sees all samples and uses random thresholds (Geurts et al. 2006).
    Thresholds,
}

/// The settings of a forest.
#[derive(Debug, Clone, Copy)]
pub struct Forest {
    /// How its trees are randomised.
    pub chance: Chance,
    /// The number of trees.
    pub trees: usize,
    /// The number of features tried at each node.
    pub tries: usize,
}

impl Forest {
    /// The share of the target's variance explained by the splits of each feature, averaged over the trees; in the
    /// order of `used`. Prereq: the target has one value per sample, with mean 0 and variance 1.
    pub fn importances(
        &self,
        features: &Features,
        used: &[u32],
        target: &[f64],
        random: &mut Random,
    ) -> Vec<f64> {
        let mut gains = vec![0.0; features.count()];
        if !used.is_empty() {
            let mut splitter = Splitter::new(features, used, self.tries);
            let mut tree =
                Tree { samples: Vec::new(), open: Vec::new(), loads: vec![Load::default(); target.len()] };
            for _ in 0..self.trees {
                tree.draw(self.chance, target, random);
                tree.grow(self.chance, target, &mut splitter, random, &mut gains);
            }
        }
        let scale = 1.0 / (self.trees.max(1) * target.len().max(1)) as f64;
        used.iter().map(|feature| gains[*feature as usize] * scale).collect()
    }
}

/// A tree while it grows; its buffers are reused for the next one.
struct Tree {
    /// The drawn samples; each node is a range of them.
    samples: Vec<u32>,
    /// The ranges of nodes that may still be split.
    open: Vec<(usize, usize)>,
    /// By sample.
    loads: Vec<Load>,
}

impl Tree {
    fn draw(&mut self, chance: Chance, target: &[f64], random: &mut Random) {
        let count = target.len();
        match chance {
            Chance::Samples => {
                self.loads.iter_mut().for_each(|load| load.weight = 0);
                (0..count).for_each(|_| self.loads[random.below(count)].weight += 1);
            }
            Chance::Thresholds => self.loads.iter_mut().for_each(|load| load.weight = 1),
        }
        let sums = self.loads.iter_mut().zip(target);
        sums.for_each(|(load, target)| load.sum = f64::from(load.weight) * target);
        self.samples.clear();
        self.samples.extend((0..count as u32).filter(|sample| self.loads[*sample as usize].weight > 0));
    }

    fn grow(
        &mut self,
        chance: Chance,
        target: &[f64],
        splitter: &mut Splitter,
        random: &mut Random,
        gains: &mut [f64],
    ) {
        self.open.push((0, self.samples.len()));
        while let Some((start, end)) = self.open.pop() {
            let node = &mut self.samples[start..end];
            let Some(first) = node.first().map(|sample| target[*sample as usize]) else { continue };
            if node.iter().all(|sample| target[*sample as usize] == first) {
                continue;
            }
            let split = match chance {
                Chance::Samples => splitter.best(node, &mut self.loads, random),
                Chance::Thresholds => splitter.best_of_random(node, &mut self.loads, random),
            };
            let Some(split) = split else { continue };
            gains[split.feature] += split.gain;
            let middle = start + splitter.divide(node, &split);
            self.open.push((start, middle));
            self.open.push((middle, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples whose target depends on the first of some features.
    fn example(samples: usize) -> (Features, Vec<f64>) {
        let mut random = Random::new(3, 0);
        let columns: Vec<Vec<f32>> =
            (0..6).map(|_| (0..samples).map(|_| random.normal() as f32).collect()).collect();
        let target: Vec<f64> =
            columns[0].iter().map(|value| f64::from(*value) + 0.3 * random.normal()).collect();
        let mean = target.iter().sum::<f64>() / samples as f64;
        let variance = target.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / samples as f64;
        let target = target.into_iter().map(|value| (value - mean) / variance.sqrt()).collect();
        (Features::new(columns), target)
    }

    #[test]
    fn a_forest_finds_what_the_target_follows_from() {
        let (features, target) = example(150);
        for chance in [Chance::Samples, Chance::Thresholds] {
            let forest = Forest { chance, trees: 30, tries: 3 };
            let found = forest.importances(&features, &[5, 4, 3, 2, 1, 0], &target, &mut Random::new(1, 0));
            // Fully grown trees explain all of the variance, most of it by the first feature.
            let sum = found.iter().sum::<f64>();
            assert!((sum - 1.0).abs() < 0.05, "{chance:?}: {found:?}");
            assert!(found[5] > 0.6 && found[..5].iter().all(|other| *other < 0.2), "{chance:?}: {found:?}");
        }
    }

    #[test]
    fn a_target_without_variance_is_explained_by_nothing() {
        let (features, _) = example(20);
        let forest = Forest { chance: Chance::Samples, trees: 5, tries: 2 };
        assert_eq!(forest.importances(&features, &[0, 1], &[0.0; 20], &mut Random::new(1, 0)), [0.0, 0.0]);
        assert!(forest.importances(&features, &[], &[0.0; 20], &mut Random::new(1, 0)).is_empty());
    }
}
