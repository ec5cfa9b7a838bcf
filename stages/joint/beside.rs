//! Additional features of a pair for the scorer: the correlation of its genes, how the known edges around them explain
//! it, and the labels of other pairs.
//!
//! A pair's own label never contributes: training pairs are described by the labels of the other folds.

mod around;

use super::inputs::{Genes, Labels};
use crate::kit::labels::{EVIDENCE, Evidence, FOLDS, Labelled, Problem};
use around::{AROUND, Around, Profiles};
use data::pairs::{Pair, Part};
use data::random::Random;
use learn::logistic::logit;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tensor::{Device, Tensor, shape, tensor, values};

/// The random stream that draws the folds.
const FOLDS_STREAM: u64 = (1 << 40) + 3;
/// The correlation and its absolute value.
const CORRELATION: usize = 2;

/// Additional features of a pair for the scorer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The correlation of TF and target over the cells.
    pub correlation: bool,
    /// Features from known edges: the correlation of TF and target that the target's known regulators do not explain,
    /// the correlation of the target with the TF's known targets, and that of the TF with the target's known
    /// regulators.
    pub network: bool,
    /// Features from the labels of the other training pairs: how often the TF regulates and the target is regulated,
    /// the reverse pair, and TFs with similar targets.
    pub labels: bool,
    /// The width of the layer over these features.
    pub width: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { correlation: true, network: true, labels: false, width: 64 }
    }
}

impl Config {
    /// The number of features of a pair.
    pub fn numbers(&self) -> usize {
        usize::from(self.correlation) * CORRELATION
            + usize::from(self.network) * AROUND
            + usize::from(self.labels) * EVIDENCE
    }
}

/// The training pairs, as a problem of learning from labels.
pub struct Known {
    problem: Problem,
    /// For each gene, its index among the problem's TFs, and among its targets.
    tfs: Vec<Option<usize>>,
    targets: Vec<Option<usize>>,
    /// The position of each training pair.
    places: HashMap<(u32, u32), usize>,
}

impl Known {
    /// The training pairs, with the labels used for training.
    pub fn new(labels: &Labels) -> Known {
        let name = |gene: u32| labels.names[gene as usize].clone();
        let train = labels.train.pairs.iter().zip(&labels.train.labels);
        let named = train.map(|((tf, target), label)| Pair {
            tf: name(*tf),
            target: name(*target),
            label: *label,
            part: Part::Train,
        });
        let problem = Problem::new(named.collect());
        let number = |sorted: &[String]| -> Vec<Option<usize>> {
            labels.names.iter().map(|name| sorted.binary_search(name).ok()).collect()
        };
        let (tfs, targets) = (number(&problem.tfs), number(&problem.targets));
        Known { tfs, targets, places: labels.train.pairs.iter().copied().zip(0..).collect(), problem }
    }
}

/// What was learned from a subset of the training pairs.
struct Told<'a> {
    network: Option<Around<'a>>,
    labels: Option<Evidence<'a>>,
}

/// Computes the features of pairs.
pub struct Beside<'a> {
    config: &'a Config,
    device: Device,
    profiles: Profiles<'a>,
    known: &'a Known,
    /// Learned from all training pairs.
    told: Told<'a>,
    /// The means and scales that standardise each feature over the training pairs.
    scales: Vec<(f32, f32)>,
    /// The features of the training pairs, in order.
    train: Vec<f32>,
}

impl<'a> Beside<'a> {
    /// `None` if no features are wanted. The seed draws folds of the training pairs.
    pub fn new(
        config: &'a Config,
        device: &Device,
        genes: &'a Genes,
        labels: &Labels,
        known: &'a Known,
        seed: u64,
    ) -> Option<Beside<'a>> {
        if config.numbers() == 0 {
            return None;
        }
        let mut folds: Vec<usize> = (0..labels.train.pairs.len()).map(|place| place % FOLDS).collect();
        Random::new(seed, FOLDS_STREAM).shuffle(&mut folds);
        let profiles = Profiles::new(values(&genes.features), shape(&genes.features).1);
        let told = Told::by(config, profiles, labels, known, |_| true);
        let (device, scales) = (device.clone(), vec![(0.0, 1.0); config.numbers()]);
        let mut beside = Beside { config, device, profiles, known, told, scales, train: Vec::new() };
        beside.train = vec![0.0; labels.train.pairs.len() * config.numbers()];
        for fold in 0..FOLDS {
            let others = Told::by(config, profiles, labels, known, |place| folds[place] != fold);
            let rows = beside.train.par_chunks_exact_mut(config.numbers());
            rows.zip(&labels.train.pairs)
                .zip(&folds)
                .filter(|(_, of)| **of == fold)
                .for_each(|((row, pair), _)| describe(config, profiles, known, &others, *pair, row));
        }
        beside.scales = (0..config.numbers()).map(|column| beside.scale(column)).collect();
        let Beside { scales, train, .. } = &mut beside;
        train.chunks_exact_mut(config.numbers()).for_each(|row| rescale(row, scales));
        Some(beside)
    }

    fn scale(&self, column: usize) -> (f32, f32) {
        let of_column =
            || self.train.iter().skip(column).step_by(self.config.numbers()).map(|x| f64::from(*x));
        let rows = of_column().count() as f64;
        let mean = of_column().sum::<f64>() / rows;
        let variance = of_column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows;
        (mean as f32, if variance > 0.0 { (1.0 / variance.sqrt()) as f32 } else { 0.0 })
    }

    /// Computes a row of features for each pair.
    pub fn describe(&self, pairs: &[(u32, u32)]) -> Tensor {
        let width = self.config.numbers();
        let mut numbers = vec![0.0; pairs.len() * width];
        numbers.par_chunks_exact_mut(width).zip(pairs).for_each(|(row, pair)| {
            if let Some(place) = self.known.places.get(pair) {
                row.copy_from_slice(&self.train[place * width..][..width]);
            } else {
                describe(self.config, self.profiles, self.known, &self.told, *pair, row);
                rescale(row, &self.scales);
            }
        });
        tensor(&self.device, numbers, pairs.len(), width)
    }
}

impl<'a> Told<'a> {
    /// Learns from the training pairs whose positions are kept.
    fn by(
        config: &Config,
        profiles: Profiles<'a>,
        labels: &Labels,
        known: &'a Known,
        keep: impl Fn(usize) -> bool,
    ) -> Told<'a> {
        let train = labels.train.pairs.iter().copied().zip(labels.train.labels.iter().copied()).enumerate();
        let kept: Vec<((u32, u32), bool)> =
            train.filter(|(place, _)| keep(*place)).map(|(_, pair)| pair).collect();
        let edges = || kept.iter().filter(|(_, label)| *label).map(|(pair, _)| *pair);
        let network = config.network.then(|| Around::new(profiles, edges()));
        let labels = config.labels.then(|| {
            let labelled = kept.iter().filter_map(|((tf, target), label)| {
                let (tf, target) = (known.tfs[*tf as usize]?, known.targets[*target as usize]?);
                Some(Labelled { tf, target, label: *label, part: Part::Train })
            });
            Evidence::of(&known.problem, &labelled.collect::<Vec<_>>())
        });
        Told { network, labels }
    }
}

/// Fills in the features of a pair.
fn describe(
    config: &Config,
    profiles: Profiles,
    known: &Known,
    told: &Told,
    (tf, target): (u32, u32),
    row: &mut [f32],
) {
    let mut rest = row.iter_mut();
    let mut put = |numbers: &[f64]| {
        rest.by_ref().zip(numbers).for_each(|(place, number)| *place = *number as f32);
    };
    if config.correlation {
        let correlation = profiles.correlation(tf, target);
        put(&[correlation, correlation.abs()]);
    }
    if let Some(network) = &told.network {
        put(&network.describe(tf, target));
    }
    if let Some(evidence) = &told.labels {
        put(&match (known.tfs[tf as usize], known.targets[target as usize]) {
            (Some(tf), Some(target)) => evidence.describe(tf, target),
            (Some(tf), None) => [logit(evidence.rate(tf)), 0.0, 0.0, 0.0],
            _ => [0.0; EVIDENCE],
        });
    }
}

fn rescale(row: &mut [f32], scales: &[(f32, f32)]) {
    row.iter_mut().zip(scales).for_each(|(number, (mean, scale))| *number = (*number - mean) * scale);
}
