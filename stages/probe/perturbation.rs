//! What the model expects of hidden targets if a TF has one value or another.
//!
//! For each cell, TF, group of genes and value v: the group is hidden, the TF is set to v, and the bin E(v) expected of each
//! target in the group is read. A pair gains the slope of E over v, by least squares: Σ_v w_v E(v) with
//! w_v = (v - mean) / Σ (v - mean)². The TF itself stays visible where its own group is hidden.

use super::asked::{Asked, Cells};
use super::question::Question;
use data::random::Random;
use data::tokens::About;
use learn::masked::{expected_bin, weights};
use learn::model::performer::Performer;
use std::ops::Range;
use tensor::{Untaped, values};

/// The streams after this one draw the groups of each cell.
const GROUPS_STREAM: u64 = 1 << 54;

/// What is set and hidden.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The number of values of a TF, at least 2.
    pub values: usize,
    /// The number of groups of genes.
    pub groups: usize,
    /// Draws the groups.
    pub seed: u64,
}

/// The question.
pub struct Perturbation<'a> {
    model: &'a Performer,
    cells: &'a Cells,
    /// Each TF with its pairs and targets.
    tfs: Vec<(u32, &'a [(usize, u32)])>,
    /// Each value of a TF and its weight in the slope.
    values: Vec<(u32, f64)>,
    plan: Plan,
    about: About,
}

impl<'a> Perturbation<'a> {
    /// The question about these pairs in these cells.
    pub fn new(model: &'a Performer, cells: &'a Cells, asked: &'a Asked, plan: Plan, about: About) -> Self {
        let tfs = asked.by_tf.iter().map(|(tf, targets)| (*tf, targets.as_slice())).collect();
        Perturbation { model, cells, tfs, values: spread(plan.values, about.bins), plan, about }
    }

    /// The group of each gene in a cell.
    fn groups(&self, cell: usize) -> Vec<usize> {
        let mut genes: Vec<usize> = (0..self.about.genes).collect();
        Random::new(self.plan.seed, GROUPS_STREAM + cell as u64).shuffle(&mut genes);
        let mut groups = vec![0; genes.len()];
        genes.iter().enumerate().for_each(|(place, gene)| groups[*gene] = place % self.plan.groups);
        groups
    }
}

/// One pass.
struct Pass {
    cell: usize,
    tf: usize,
    group: usize,
    value: usize,
}

impl Perturbation<'_> {
    fn pass(&self, pass: usize) -> Pass {
        let (rest, value) = (pass / self.values.len(), pass % self.values.len());
        let (rest, group) = (rest / self.plan.groups, rest % self.plan.groups);
        Pass { cell: rest / self.tfs.len(), tf: rest % self.tfs.len(), group, value }
    }
}

impl Question for Perturbation<'_> {
    fn passes(&self) -> usize {
        self.cells.count() * self.tfs.len() * self.plan.groups * self.values.len()
    }

    fn ask(&self, passes: Range<usize>, sums: &mut [f64]) {
        let passes: Vec<Pass> = passes.map(|pass| self.pass(pass)).collect();
        let first = passes.first().map_or(0, |pass| pass.cell);
        let last = passes.last().map_or(0, |pass| pass.cell);
        let groups: Vec<Vec<usize>> = (first..=last).map(|cell| self.groups(cell)).collect();
        let mut tokens = Vec::new();
        for Pass { cell, tf, group, value } in &passes {
            let start = tokens.len();
            tokens.extend_from_slice(self.cells.tokens(*cell));
            for (token, of_gene) in tokens[start..].iter_mut().zip(&groups[cell - first]) {
                if of_gene == group {
                    *token = u32::from(self.about.mask);
                }
            }
            tokens[start + self.tfs[*tf].0 as usize] = self.values[*value].0;
        }
        let encodings = self.model.encode(&tokens, passes.len(), Untaped);
        let logits = self.model.logits(encodings, &tokens, passes.len());
        let classes = self.about.classes;
        let of_passes = values(&logits).chunks(values(&logits).len() / passes.len());
        for (Pass { cell, tf, group, value }, logits) in passes.iter().zip(of_passes) {
            let (groups, (tf, targets)) = (&groups[cell - first], self.tfs[*tf]);
            for (pair, target) in targets {
                if groups[*target as usize] == *group && *target != tf {
                    let logits = &logits[*target as usize * classes..][..classes];
                    sums[*pair] += self.values[*value].1 * expected_bin(&weights(logits));
                }
            }
        }
    }
}

/// This many values from 0 to the highest bin, or all bins if they are fewer, and the weight of each in a slope.
fn spread(count: usize, bins: u8) -> Vec<(u32, f64)> {
    let last = count.min(usize::from(bins) + 1) - 1;
    let values: Vec<u32> =
        (0..=last).map(|place| ((place * usize::from(bins)) as f64 / last as f64).round() as u32).collect();
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    values.into_iter().map(|value| (value, (f64::from(value) - mean) / squares)).collect()
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn values_are_spread_over_the_bins_and_their_weights_give_the_slope_of_a_line() {
        for (count, bins, expected) in [(2, 5, vec![0, 5]), (4, 5, vec![0, 2, 3, 5]), (9, 2, vec![0, 1, 2])] {
            let found = spread(count, bins);
            assert_eq!(found.iter().map(|(value, _)| *value).collect::<Vec<_>>(), expected);
            let line: f64 =
                found.iter().map(|(value, weight)| weight * (7.0 - 3.0 * f64::from(*value))).sum();
            assert!((line + 3.0).abs() < 1e-12, "{line}");
        }
    }
}
