//! Finds the split of a node that lowers the squared error most.
//!
//! For a node of weight W with centred targets, a split that sends weight w with the target sum s to the left lowers
//! the squared error by s² W / (w (W - w)).

use super::{Feature, Features};
use data::random::Random;

/// A sample's contribution to a node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Load {
    /// How often it was drawn.
    pub weight: u32,
    /// Its target minus a constant, times its weight.
    pub sum: f64,
}

/// A split of a node.
#[derive(Debug, Clone, Copy)]
pub struct Split {
    /// The feature to split by.
    pub feature: usize,
    /// Values up to this one go left.
    pub threshold: f32,
    /// The decrease of the squared error.
    pub gain: f64,
}

/// Searches for splits, with buffers that are reused from node to node.
pub struct Splitter<'a> {
    features: &'a Features,
    /// The usable features, in the order of the last draw.
    drawn: Vec<u32>,
    /// The number of features tried at each node.
    tries: usize,
    /// For each sample, the last node that it was in.
    marks: Vec<u32>,
    node: u32,
    sorted: Vec<u32>,
    values: Vec<f32>,
    sums: Vec<f64>,
    right: Vec<u32>,
    /// 1 / w.
    inverse: Vec<f64>,
    /// 1 / (w (W - w)) in the node.
    scales: Vec<f64>,
}

impl<'a> Splitter<'a> {
    /// Prereq: no node weighs more than the number of samples.
    pub fn new(features: &'a Features, used: &[u32], tries: usize) -> Splitter<'a> {
        let samples = features.samples;
        Splitter {
            features,
            drawn: used.to_vec(),
            tries: tries.clamp(1, used.len().max(1)),
            marks: vec![0; samples],
            node: 0,
            sorted: vec![0; samples + 1],
            values: vec![0.0; samples],
            sums: vec![0.0; samples],
            right: vec![0; samples],
            inverse: (0..=samples).map(|weight| 1.0 / weight as f64).collect(),
            scales: vec![0.0; samples + 1],
        }
    }

    /// The best threshold between two neighbouring values, over some randomly drawn features. Centres the node's loads.
    pub fn best(&mut self, node: &[u32], loads: &mut [Load], random: &mut Random) -> Option<Split> {
        let weight = centre(node, loads, &self.inverse);
        self.mark(node);
        for left in 1..weight as usize {
            self.scales[left] = self.inverse[left] * self.inverse[weight as usize - left];
        }
        let mut best: Option<Split> = None;
        let mut highest = -1.0;
        for tried in 0..self.drawn.len() {
            // As in scikit-learn, features that are constant in the node count as tried, but the search goes on until
            // one is not. Two samples are separated by any feature, and none does better than another.
            if best.is_some() && (tried >= self.tries || node.len() == 2) {
                break;
            }
            let index = self.draw(tried, random);
            let feature = &self.features.columns[index];
            self.sort(feature, node);
            let Some((gain, below, above)) =
                cut(&self.sorted[..node.len()], &feature.values, loads, &self.scales, highest)
            else {
                continue;
            };
            highest = gain;
            let middle = below / 2.0 + above / 2.0;
            let threshold = if middle < above { middle.max(below) } else { below };
            best = Some(Split { feature: index, threshold, gain: gain * f64::from(weight) });
        }
        best
    }

    /// The best of random thresholds, one for each of some randomly drawn features. Prereq: each sample was drawn once.
    /// Centres the node's loads.
    pub fn best_of_random(&mut self, node: &[u32], loads: &mut [Load], random: &mut Random) -> Option<Split> {
        let count = centre(node, loads, &self.inverse) as usize;
        // Copied into contiguous memory, because they are read once per feature.
        for (place, sample) in self.sums.iter_mut().zip(node) {
            *place = loads[*sample as usize].sum;
        }
        let mut best: Option<Split> = None;
        let mut highest = -1.0;
        for tried in 0..self.drawn.len() {
            if best.is_some() && (tried >= self.tries || count == 2) {
                break;
            }
            let index = self.draw(tried, random);
            let values = &mut self.values[..count];
            let Some(threshold) =
                random_threshold(&self.features.columns[index].values, node, values, random)
            else {
                continue;
            };
            let (left, sum) = up_to(threshold, values, &self.sums[..count]);
            let gain = sum * sum * self.inverse[left] * self.inverse[count - left];
            if gain > highest {
                highest = gain;
                best = Some(Split { feature: index, threshold, gain: gain * count as f64 });
            }
        }
        best
    }

    /// Partitions the samples into left and right, keeping the order on each side; returns the number on the left.
    pub fn divide(&mut self, node: &mut [u32], split: &Split) -> usize {
        let values = &self.features.columns[split.feature].values;
        let (mut left, mut right) = (0, 0);
        // Branch-free, because the direction of a sample is unpredictable.
        for place in 0..node.len() {
            let sample = node[place];
            let goes_left = values[sample as usize] <= split.threshold;
            node[left] = sample;
            self.right[right] = sample;
            left += usize::from(goes_left);
            right += usize::from(!goes_left);
        }
        node[left..].copy_from_slice(&self.right[..right]);
        left
    }

    /// Draws the next feature; each is drawn at most once per node.
    fn draw(&mut self, place: usize, random: &mut Random) -> usize {
        let other = place + random.below(self.drawn.len() - place);
        self.drawn.swap(place, other);
        self.drawn[place] as usize
    }

    fn mark(&mut self, node: &[u32]) {
        self.node = self.node.wrapping_add(1);
        node.iter().for_each(|sample| self.marks[*sample as usize] = self.node);
    }

    /// Fills the beginning of `sorted` with the node's samples, ordered by a feature. Prereq: the node is marked.
    fn sort(&mut self, feature: &Feature, node: &[u32]) {
        let count = node.len();
        if count * SORTING >= feature.order.len() {
            let mut place = 0;
            for sample in &feature.order {
                self.sorted[place] = *sample;
                place += usize::from(self.marks[*sample as usize] == self.node);
            }
        } else {
            let sorted = &mut self.sorted[..count];
            for (place, sample) in sorted.iter_mut().zip(node) {
                *place = feature.places[*sample as usize];
            }
            sorted.sort_unstable();
            sorted.iter_mut().for_each(|place| *place = feature.order[*place as usize]);
        }
    }
}

/// The measured cost of sorting a sample, relative to skipping it in the order of all samples.
const SORTING: usize = 6;

/// Subtracts the mean from the targets; returns the node's weight.
fn centre(node: &[u32], loads: &mut [Load], inverse: &[f64]) -> u32 {
    let (mut weight, mut sum) = (0, 0.0);
    for sample in node {
        weight += loads[*sample as usize].weight;
        sum += loads[*sample as usize].sum;
    }
    let mean = sum * inverse[weight as usize];
    for sample in node {
        let load = &mut loads[*sample as usize];
        load.sum -= mean * f64::from(load.weight);
    }
    weight
}

/// How many values are at most `threshold`, and the sum that belongs to them. Summed in lanes, always in the same
/// order.
fn up_to(threshold: f32, values: &[f32], sums: &[f64]) -> (usize, f64) {
    const LANES: usize = 4;
    let mut left = [0u32; LANES];
    let mut sum = [0.0; LANES];
    let (value_lanes, value_rest) = values.as_chunks::<LANES>();
    let (sum_lanes, sum_rest) = sums.as_chunks::<LANES>();
    for (values, sums) in value_lanes.iter().zip(sum_lanes) {
        let lanes = left.iter_mut().zip(&mut sum);
        for ((value, own), (left, sum)) in values.iter().zip(sums).zip(lanes) {
            let goes_left = *value <= threshold;
            *left += u32::from(goes_left);
            *sum += if goes_left { *own } else { 0.0 };
        }
    }
    for (value, rest) in value_rest.iter().zip(sum_rest) {
        let goes_left = *value <= threshold;
        left[0] += u32::from(goes_left);
        sum[0] += if goes_left { *rest } else { 0.0 };
    }
    (left.iter().sum::<u32>() as usize, sum.iter().sum())
}

/// A random value between the least and the largest, such that not all samples go left; `None` if all values are equal.
/// Also fills `found` with the node's values.
pub fn random_threshold(values: &[f32], node: &[u32], found: &mut [f32], random: &mut Random) -> Option<f32> {
    let (mut least, mut largest) = (f32::INFINITY, f32::NEG_INFINITY);
    for (place, sample) in found.iter_mut().zip(node) {
        let value = values[*sample as usize];
        // A single instruction, unlike `min` and `max`; no value is NaN.
        least = if value < least { value } else { least };
        largest = if value > largest { value } else { largest };
        *place = value;
    }
    if least >= largest {
        return None;
    }
    let threshold = random.between(f64::from(least), f64::from(largest)) as f32;
    Some(if threshold < largest { threshold } else { least })
}

/// The best decrease of the squared error, divided by W, that exceeds `highest`, and the values on both sides of the
/// cut.
fn cut(
    sorted: &[u32],
    values: &[f32],
    loads: &[Load],
    scales: &[f64],
    highest: f64,
) -> Option<(f64, f32, f32)> {
    let (mut weight, mut sum) = (0, 0.0);
    let mut best = None;
    let mut highest = highest;
    for two in sorted.windows(2) {
        let load = &loads[two[0] as usize];
        weight += load.weight;
        sum += load.sum;
        let gain = sum * sum * scales[weight as usize];
        if gain > highest {
            let (below, above) = (values[two[0] as usize], values[two[1] as usize]);
            if below < above {
                highest = gain;
                best = Some((gain, below, above));
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splitter<'a>(features: &'a Features, used: &[u32]) -> Splitter<'a> {
        Splitter::new(features, used, used.len())
    }

    fn loads(targets: &[f64]) -> Vec<Load> {
        targets.iter().map(|target| Load { weight: 1, sum: *target }).collect()
    }

    /// Brute force: tries every threshold of every feature.
    fn slowly(columns: &[Vec<f32>], node: &[u32], targets: &[f64]) -> f64 {
        let error = |side: &[f64]| {
            let mean = side.iter().sum::<f64>() / side.len().max(1) as f64;
            side.iter().map(|target| (target - mean).powi(2)).sum::<f64>()
        };
        let all: Vec<f64> = node.iter().map(|sample| targets[*sample as usize]).collect();
        let fall = |column: &Vec<f32>, threshold: f32| {
            let goes_left = |sample: &&u32| column[**sample as usize] <= threshold;
            let side = |left: bool| -> Vec<f64> {
                let there = node.iter().filter(|sample| goes_left(sample) == left);
                there.map(|sample| targets[*sample as usize]).collect()
            };
            error(&all) - error(&side(true)) - error(&side(false))
        };
        let thresholds =
            |column: &Vec<f32>| node.iter().map(|sample| column[*sample as usize]).collect::<Vec<_>>();
        let falls =
            columns.iter().flat_map(|column| thresholds(column).into_iter().map(move |at| fall(column, at)));
        falls.fold(0.0, f64::max)
    }

    #[test]
    fn the_best_split_is_that_of_trying_all() {
        let mut random = Random::new(1, 0);
        for samples in [2, 3, 7, 40, 200] {
            let columns: Vec<Vec<f32>> = (0..4)
                .map(|column| (0..samples).map(|_| random.below(3 + 20 * column) as f32).collect())
                .collect();
            let targets: Vec<f64> = (0..samples).map(|_| random.normal()).collect();
            let features = Features::new(columns.clone());
            for share in [0.3, 1.0] {
                let node: Vec<u32> = (0..samples as u32).filter(|_| random.unit() <= share).collect();
                if node.len() < 2 {
                    continue;
                }
                let mut splitter = splitter(&features, &[0, 1, 2, 3]);
                let Some(found) = splitter.best(&node, &mut loads(&targets), &mut random) else { continue };
                let expected = slowly(&columns, &node, &targets);
                assert!((found.gain - expected).abs() < 1e-9, "{samples}: {} {expected}", found.gain);
                let mut divided = node.clone();
                let left = splitter.divide(&mut divided, &found);
                assert!(left > 0 && left < node.len());
                let column = &columns[found.feature];
                assert!(divided[..left].iter().all(|sample| column[*sample as usize] <= found.threshold));
                assert!(divided[left..].iter().all(|sample| column[*sample as usize] > found.threshold));
            }
        }
    }

    #[test]
    fn features_that_are_constant_in_a_node_are_passed_over() {
        let features = Features::new(vec![vec![1.0; 4], vec![2.0; 4], vec![0.0, 0.0, 1.0, 1.0]]);
        let mut loads = loads(&[0.0, 0.0, 1.0, 1.0]);
        for seed in 0..10 {
            let mut random = Random::new(seed, 0);
            let mut splitter = Splitter::new(&features, &[0, 1, 2], 1);
            assert_eq!(splitter.best(&[0, 1, 2, 3], &mut loads, &mut random).unwrap().feature, 2);
            assert_eq!(splitter.best_of_random(&[0, 1, 2, 3], &mut loads, &mut random).unwrap().feature, 2);
            assert!(splitter.best(&[0, 1], &mut loads, &mut random).is_none());
            assert!(splitter.best_of_random(&[2, 3], &mut loads, &mut random).is_none());
        }
    }
}
