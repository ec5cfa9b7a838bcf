//! What the scorer is told of a pair beside its two genes: how they vary together, and what the labels of other pairs say.
//!
//! A pair's own label is never among them: training pairs are described by the labels of the other folds.

use super::inputs::{Genes, Labels};
use crate::kit::labels::{EVIDENCE, Evidence, FOLDS, Labelled, Problem};
use crate::kit::logistic::logit;
use crate::kit::pairs::{Pair, Part};
use crate::kit::random::Random;
use crate::kit::tensor::simd::dot;
use crate::kit::tensor::{Device, Tensor, shape, tensor, values};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The stream of the seed that the folds are drawn from.
const FOLDS_STREAM: u64 = (1 << 40) + 3;
/// The correlation and its size.
const CORRELATION: usize = 2;

/// What the scorer is told of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How far TF and target go together over the cells.
    pub correlation: bool,
    /// What the labels of the other training pairs say: how often the TF regulates and the target is regulated, the reverse
    /// pair, and TFs with similar targets.
    pub labels: bool,
    /// The width of the layer over these numbers.
    pub width: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { correlation: true, labels: false, width: 16 }
    }
}

impl Config {
    /// How many numbers describe a pair.
    pub fn numbers(&self) -> usize {
        usize::from(self.correlation) * CORRELATION + usize::from(self.labels) * EVIDENCE
    }
}

/// The training pairs, as labels are learned from.
pub struct Known {
    problem: Problem,
    /// Of each gene, among the problem's TFs and among its targets.
    tfs: Vec<Option<usize>>,
    targets: Vec<Option<usize>>,
    /// The fold of each training pair.
    folds: HashMap<(u32, u32), usize>,
}

impl Known {
    /// The training pairs with the labels that are trained on, in folds.
    pub fn new(labels: &Labels, seed: u64) -> Known {
        let name = |gene: u32| labels.names[gene as usize].clone();
        let train = labels.train.pairs.iter().zip(&labels.train.labels);
        let named = train.map(|((tf, target), label)| Pair {
            tf: name(*tf),
            target: name(*target),
            label: *label,
            part: Part::Train,
        });
        let problem = Problem::new(named.collect());
        let mut folds: Vec<usize> = (0..labels.train.pairs.len()).map(|place| place % FOLDS).collect();
        Random::new(seed, FOLDS_STREAM).shuffle(&mut folds);
        let number = |sorted: &[String]| -> Vec<Option<usize>> {
            labels.names.iter().map(|name| sorted.binary_search(name).ok()).collect()
        };
        let (tfs, targets) = (number(&problem.tfs), number(&problem.targets));
        Known { tfs, targets, folds: labels.train.pairs.iter().copied().zip(folds).collect(), problem }
    }

    /// The training pairs that are not in a fold; all of them without one.
    fn outside(&self, labels: &Labels, fold: Option<usize>) -> Vec<Labelled> {
        let train = labels.train.pairs.iter().zip(&labels.train.labels);
        train
            .filter(|(pair, _)| fold.is_none() || Some(self.folds[*pair]) != fold)
            .filter_map(|((tf, target), label)| {
                let (tf, target) = (self.tfs[*tf as usize]?, self.targets[*target as usize]?);
                Some(Labelled { tf, target, label: *label, part: Part::Train })
            })
            .collect()
    }
}

/// Describes pairs.
pub struct Beside<'a> {
    config: &'a Config,
    device: Device,
    genes: &'a Genes,
    /// What all training pairs tell, and what those outside of each fold tell.
    labels: Option<(&'a Known, Evidence<'a>, Vec<Evidence<'a>>)>,
    /// What brings each number to mean 0 and deviation 1 over the training pairs.
    scales: Vec<(f32, f32)>,
}

impl<'a> Beside<'a> {
    /// Nothing, if nothing is wanted.
    pub fn new(
        config: &'a Config,
        device: &Device,
        genes: &'a Genes,
        labels: &Labels,
        known: &'a Known,
    ) -> Option<Beside<'a>> {
        if config.numbers() == 0 {
            return None;
        }
        let told = config.labels.then(|| {
            let evidence = |fold| Evidence::of(&known.problem, &known.outside(labels, fold));
            (known, evidence(None), (0..FOLDS).into_par_iter().map(|fold| evidence(Some(fold))).collect())
        });
        let device = device.clone();
        let mut beside = Beside { config, device, genes, labels: told, scales: Vec::new() };
        let train = beside.numbers(&labels.train.pairs);
        let rows = train.len() / config.numbers();
        let scale = |column: usize| {
            let of_column = || train.iter().skip(column).step_by(config.numbers()).map(|x| f64::from(*x));
            let mean = of_column().sum::<f64>() / rows as f64;
            let variance = of_column().map(|x| (x - mean) * (x - mean)).sum::<f64>() / rows as f64;
            (mean as f32, if variance > 0.0 { (1.0 / variance.sqrt()) as f32 } else { 0.0 })
        };
        beside.scales = (0..config.numbers()).map(scale).collect();
        Some(beside)
    }

    /// A row for each pair.
    pub fn describe(&self, pairs: &[(u32, u32)]) -> Tensor {
        let mut numbers = self.numbers(pairs);
        for row in numbers.chunks_exact_mut(self.config.numbers()) {
            row.iter_mut().zip(&self.scales).for_each(|(x, (mean, scale))| *x = (*x - mean) * scale);
        }
        tensor(&self.device, numbers, pairs.len(), self.config.numbers())
    }

    fn numbers(&self, pairs: &[(u32, u32)]) -> Vec<f32> {
        let cells = shape(&self.genes.features).1;
        let features = values(&self.genes.features);
        let z_scores = |gene: u32| &features[gene as usize * cells..][..cells];
        let mut numbers = vec![0.0; pairs.len() * self.config.numbers()];
        numbers.par_chunks_exact_mut(self.config.numbers()).zip(pairs).for_each(|(row, (tf, target))| {
            let mut rest = row;
            if self.config.correlation {
                let correlation = dot(z_scores(*tf), z_scores(*target)) / cells as f32;
                let (numbers, others) = rest.split_at_mut(CORRELATION);
                numbers.copy_from_slice(&[correlation, correlation.abs()]);
                rest = others;
            }
            if let Some((known, of_all, of_folds)) = &self.labels {
                let evidence = known.folds.get(&(*tf, *target)).map_or(of_all, |fold| &of_folds[*fold]);
                let told = match (known.tfs[*tf as usize], known.targets[*target as usize]) {
                    (Some(tf), Some(target)) => evidence.describe(tf, target),
                    (Some(tf), None) => [logit(evidence.rate(tf)), 0.0, 0.0, 0.0],
                    _ => [0.0; EVIDENCE],
                };
                rest.iter_mut().zip(told).for_each(|(number, told)| *number = told as f32);
            }
        });
        numbers
    }
}
