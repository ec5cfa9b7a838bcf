//! Extremely randomised trees with several outputs.
//!
//! A split is chosen by the decrease of the squared error summed over the outputs, so that outputs that depend on the
//! same features help each other: an output with few positives would find nothing on its own.

use super::Features;
use super::split::random_threshold;
use data::random::Random;
use rayon::prelude::*;

/// Trees that are grown before their predictions are added up.
const BLOCK: usize = 16;

/// The settings of a forest.
#[derive(Debug, Clone, Copy)]
pub struct Outputs {
    /// The number of trees.
    pub trees: usize,
    /// The minimum number of samples in a leaf.
    pub leaf: usize,
    /// The share of the features tried at each node.
    pub share: f64,
}

/// A node of a fitted tree.
enum Node {
    /// A leaf, with its position among the means of all leaves.
    Leaf(usize),
    /// A split with the index of its right child; the left child comes next.
    Inner { feature: usize, threshold: f32, right: usize },
}

impl Outputs {
    /// Grows trees on the `known` samples and predicts all samples: sample after sample, one value per output.
    ///
    /// Prereq: `targets` has the same layout and `known` is not empty. The same seed gives the same bits on any number
    /// of threads.
    pub fn predict(
        &self,
        features: &Features,
        known: &[u32],
        targets: &[f64],
        outputs: usize,
        seed: u64,
    ) -> Vec<f64> {
        let mut sums = vec![0.0; features.samples() * outputs];
        let trees: Vec<u64> = (0..self.trees as u64).collect();
        for block in trees.chunks(BLOCK) {
            let grown: Vec<Tree> = block
                .par_iter()
                .map(|tree| {
                    Tree::grow(self, features, known, targets, outputs, &mut Random::new(seed, *tree))
                })
                .collect();
            // One tree after the other, so that sums have a fixed order.
            sums.par_chunks_mut(outputs.max(1)).enumerate().for_each(|(sample, sums)| {
                for tree in &grown {
                    sums.iter_mut().zip(tree.predict(sample)).for_each(|(sum, value)| *sum += value);
                }
            });
        }
        sums.iter_mut().for_each(|sum| *sum /= self.trees.max(1) as f64);
        sums
    }
}

struct Tree<'a> {
    forest: &'a Outputs,
    features: &'a Features,
    targets: &'a [f64],
    outputs: usize,
    drawn: Vec<usize>,
    found: Vec<f32>,
    nodes: Vec<Node>,
    means: Vec<f64>,
}

impl<'a> Tree<'a> {
    fn grow(
        forest: &'a Outputs,
        features: &'a Features,
        known: &[u32],
        targets: &'a [f64],
        outputs: usize,
        random: &mut Random,
    ) -> Tree<'a> {
        let drawn = (0..features.count()).collect();
        let found = vec![0.0; known.len()];
        let mut tree =
            Tree { forest, features, targets, outputs, drawn, found, nodes: Vec::new(), means: Vec::new() };
        tree.grow_node(&mut known.to_vec(), random);
        tree
    }

    fn grow_node(&mut self, node: &mut [u32], random: &mut Random) {
        let Some((feature, threshold)) = self.split(node, random) else {
            self.nodes.push(Node::Leaf(self.means.len()));
            let count = node.len() as f64;
            let sums = self.sums(node.iter());
            self.means.extend(sums.into_iter().map(|sum| sum / count));
            return;
        };
        let place = self.nodes.len();
        self.nodes.push(Node::Leaf(0));
        let values = &self.features.columns[feature].values;
        let middle = chosen_first(node, |sample| values[sample as usize] <= threshold);
        let (left, right) = node.split_at_mut(middle);
        self.grow_node(left, random);
        self.nodes[place] = Node::Inner { feature, threshold, right: self.nodes.len() };
        self.grow_node(right, random);
    }

    /// The best of some random splits that leave enough samples on both sides.
    fn split(&mut self, node: &[u32], random: &mut Random) -> Option<(usize, f32)> {
        if node.len() < 2 * self.forest.leaf.max(1) {
            return None;
        }
        let all = self.sums(node.iter());
        let tries = ((self.drawn.len() as f64 * self.forest.share) as usize).max(1);
        let (mut best, mut highest) = (None, f64::NEG_INFINITY);
        let mut changing = 0;
        for place in 0..self.drawn.len() {
            if place >= tries && changing > 0 {
                break;
            }
            let other = place + random.below(self.drawn.len() - place);
            self.drawn.swap(place, other);
            let feature = self.drawn[place];
            let values = &self.features.columns[feature].values;
            let Some(threshold) = random_threshold(values, node, &mut self.found[..node.len()], random)
            else {
                continue;
            };
            changing += 1;
            let goes_left = |sample: &&u32| values[**sample as usize] <= threshold;
            let count = node.iter().filter(goes_left).count();
            if count < self.forest.leaf || node.len() - count < self.forest.leaf {
                continue;
            }
            let left = self.sums(node.iter().filter(goes_left));
            let (of_left, of_right) = (1.0 / count as f64, 1.0 / (node.len() - count) as f64);
            let fall =
                |(all, left): (&f64, &f64)| left * left * of_left + (all - left) * (all - left) * of_right;
            let gain: f64 = all.iter().zip(&left).map(fall).sum();
            if gain > highest {
                highest = gain;
                best = Some((feature, threshold));
            }
        }
        best
    }

    fn sums<'b>(&self, samples: impl Iterator<Item = &'b u32>) -> Vec<f64> {
        let mut sums = vec![0.0; self.outputs];
        for sample in samples {
            let row = &self.targets[*sample as usize * self.outputs..][..self.outputs];
            sums.iter_mut().zip(row).for_each(|(sum, target)| *sum += target);
        }
        sums
    }

    fn predict(&self, sample: usize) -> &[f64] {
        let mut place = 0;
        loop {
            match &self.nodes[place] {
                Node::Leaf(means) => return &self.means[*means..][..self.outputs],
                Node::Inner { feature, threshold, right } => {
                    let goes_left = self.features.columns[*feature].values[sample] <= *threshold;
                    place = if goes_left { place + 1 } else { *right };
                }
            }
        }
    }
}

/// Moves the chosen samples to the front; returns their number.
fn chosen_first(samples: &mut [u32], chosen: impl Fn(u32) -> bool) -> usize {
    let mut count = 0;
    for place in 0..samples.len() {
        if chosen(samples[place]) {
            samples.swap(count, place);
            count += 1;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOREST: Outputs = Outputs { trees: 60, leaf: 5, share: 0.5 };

    /// Two outputs that depend on the first of five features, with opposite signs.
    fn example(samples: usize) -> (Features, Vec<f64>) {
        let mut random = Random::new(3, 0);
        let columns: Vec<Vec<f32>> =
            (0..5).map(|_| (0..samples).map(|_| random.normal() as f32).collect()).collect();
        let outputs = |value: &f32| {
            let step = if *value > 0.0 { 1.0 } else { -1.0 };
            [step + random.normal(), random.normal() - step]
        };
        let targets = columns[0].iter().flat_map(outputs).collect();
        (Features::new(columns), targets)
    }

    #[test]
    fn what_was_not_seen_is_predicted_for_each_output() {
        let (features, targets) = example(300);
        let known: Vec<u32> = (0..200).collect();
        let predicted = FOREST.predict(&features, &known, &targets, 2, 1);
        assert_eq!(predicted.len(), 600);
        let right = (200..300).filter(|sample| {
            let up = features.columns[0].values[*sample] > 0.0;
            (predicted[2 * sample] > 0.0) == up && (predicted[2 * sample + 1] < 0.0) == up
        });
        assert!(right.count() > 85);
    }

    #[test]
    fn predictions_are_the_same_bits_on_any_number_of_threads() {
        let (features, targets) = example(80);
        let known: Vec<u32> = (0..80).collect();
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| FOREST.predict(&features, &known, &targets, 2, 1))
        };
        assert_eq!(on(1), on(3));
    }
}
