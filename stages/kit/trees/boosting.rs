//! Stochastic gradient boosting with early stopping, as in GRNBoost2 (Moerman et al. 2019).

use super::Features;
use super::split::{Load, Split, Splitter};
use data::random::Random;

/// Boosted trees, each fitted to the residuals of those before.
#[derive(Debug, Clone, Copy)]
pub struct Boosting {
    /// The maximum number of trees.
    pub trees: usize,
    /// The learning rate.
    pub rate: f64,
    /// The maximum number of splits between the root and a leaf.
    pub depth: usize,
    /// The share of the samples that each tree is fitted to.
    pub share: f64,
    /// The number of features tried at each node.
    pub tries: usize,
    /// Stops when the last `window` trees did not lower the error on their out-of-bag samples.
    pub window: usize,
}

/// A node of a fitted tree.
enum Node {
    Leaf(f64),
    /// A split with the index of its right child; the left child comes next.
    Inner(Split, usize),
}

impl Boosting {
    /// Each feature's share of what all splits explain, times the number of trees; in the order of `used`.
    ///
    /// As in arboreto, a target that takes many trees to explain weighs more than one that takes few.
    pub fn importances(
        &self,
        features: &Features,
        used: &[u32],
        target: &[f64],
        random: &mut Random,
    ) -> Vec<f64> {
        let count = target.len();
        let seen = ((self.share * count as f64) as usize).clamp(1, count.max(1));
        let mut gains = vec![0.0; features.count()];
        let mut trees = 0;
        if !used.is_empty() && count > 1 {
            let mean = target.iter().sum::<f64>() / count as f64;
            let mut rest: Vec<f64> = target.iter().map(|value| value - mean).collect();
            let mut grower = Grower {
                features,
                splitter: Splitter::new(features, used, self.tries),
                loads: vec![Load::default(); count],
                nodes: Vec::new(),
            };
            let (mut order, mut improvements): (Vec<u32>, Vec<f64>) =
                ((0..count as u32).collect(), Vec::new());
            while trees < self.trees && !self.is_over(&improvements) {
                let improvement = self.add_tree(&mut grower, &mut rest, &mut order, seen, random, &mut gains);
                improvements.push(improvement);
                trees += 1;
            }
        }
        let sum = gains.iter().sum::<f64>();
        let scale = if sum > 0.0 { trees as f64 / sum } else { 0.0 };
        used.iter().map(|feature| gains[*feature as usize] * scale).collect()
    }

    fn is_over(&self, improvements: &[f64]) -> bool {
        improvements.len() >= self.window
            && improvements[improvements.len() - self.window..].iter().sum::<f64>() < 0.0
    }

    /// Adds a tree; returns the decrease of the squared error on the samples that it was not fitted to.
    fn add_tree(
        &self,
        grower: &mut Grower,
        rest: &mut [f64],
        order: &mut [u32],
        seen: usize,
        random: &mut Random,
        gains: &mut [f64],
    ) -> f64 {
        // The last samples are left out, whatever the order of the others.
        let count = order.len();
        for place in (seen..count).rev() {
            order.swap(place, random.below(place + 1));
        }
        let (drawn, left_out) = order.split_at_mut(seen);
        for sample in drawn.iter() {
            grower.loads[*sample as usize] = Load { weight: 1, sum: rest[*sample as usize] };
        }
        grower.nodes.clear();
        grower.grow(drawn, self.depth, rest, self.rate, random, gains);
        let mut improvement = 0.0;
        for sample in left_out.iter() {
            let left = &mut rest[*sample as usize];
            let before = *left;
            *left -= self.rate * grower.predict(*sample as usize);
            improvement += before * before - *left * *left;
        }
        improvement
    }
}

struct Grower<'a> {
    features: &'a Features,
    splitter: Splitter<'a>,
    loads: Vec<Load>,
    nodes: Vec<Node>,
}

impl Grower<'_> {
    /// Grows a node and its subtree, and subtracts their predictions from the residuals of its samples.
    fn grow(
        &mut self,
        node: &mut [u32],
        depth: usize,
        rest: &mut [f64],
        rate: f64,
        random: &mut Random,
        gains: &mut [f64],
    ) {
        let split = if depth == 0 || node.len() < 2 {
            None
        } else {
            self.splitter.best(node, &mut self.loads, random).filter(|split| split.gain > 0.0)
        };
        let place = self.nodes.len();
        let Some(split) = split else {
            let mean = node.iter().map(|sample| rest[*sample as usize]).sum::<f64>() / node.len() as f64;
            self.nodes.push(Node::Leaf(mean));
            node.iter().for_each(|sample| rest[*sample as usize] -= rate * mean);
            return;
        };
        gains[split.feature] += split.gain;
        self.nodes.push(Node::Inner(split, 0));
        let middle = self.splitter.divide(node, &split);
        let (left, right) = node.split_at_mut(middle);
        self.grow(left, depth - 1, rest, rate, random, gains);
        self.nodes[place] = Node::Inner(split, self.nodes.len());
        self.grow(right, depth - 1, rest, rate, random, gains);
    }

    fn predict(&self, sample: usize) -> f64 {
        let mut place = 0;
        loop {
            match &self.nodes[place] {
                Node::Leaf(value) => return *value,
                Node::Inner(split, right) => {
                    let goes_left = self.features.columns[split.feature].values[sample] <= split.threshold;
                    place = if goes_left { place + 1 } else { *right };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOSTING: Boosting =
        Boosting { trees: 500, rate: 0.05, depth: 3, share: 0.9, tries: 2, window: 25 };

    fn columns(samples: usize, random: &mut Random) -> Vec<Vec<f32>> {
        (0..6).map(|_| (0..samples).map(|_| random.normal() as f32).collect()).collect()
    }

    #[test]
    fn what_can_be_explained_takes_more_trees_than_noise() {
        let mut random = Random::new(3, 0);
        let columns = columns(200, &mut random);
        let follows: Vec<f64> =
            columns[2].iter().map(|value| f64::from(*value).powi(2) + 0.3 * random.normal()).collect();
        let noise: Vec<f64> = (0..200).map(|_| random.normal()).collect();
        let features = Features::new(columns);
        let on = |target: &[f64]| {
            BOOSTING.importances(&features, &[0, 1, 2, 3, 4, 5], target, &mut Random::new(1, 0))
        };
        let (found, nothing) = (on(&follows), on(&noise));
        assert!(found[2] > 0.7 * found.iter().sum::<f64>(), "{found:?}");
        let (trees, of_noise) = (found.iter().sum::<f64>(), nothing.iter().sum::<f64>());
        assert!(trees > 60.0 && of_noise < trees / 2.0, "{trees} and {of_noise} trees");
    }

    #[test]
    fn a_constant_target_is_explained_by_nothing() {
        let features = Features::new(columns(30, &mut Random::new(1, 0)));
        assert_eq!(BOOSTING.importances(&features, &[0, 1], &[2.0; 30], &mut Random::new(1, 0)), [0.0, 0.0]);
    }
}
