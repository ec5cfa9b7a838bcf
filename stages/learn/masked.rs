//! Masked training (Devlin et al. 2019, in scBERT's form): a model learns expression by predicting hidden genes.
//!
//! A share of each cell's non-zero genes are targets. Most of them are hidden behind the mask token and the others are
//! left visible, so that the model cannot know which genes it is judged by.

pub mod judge;
pub mod learner;
pub mod train;
pub mod yardsticks;

use anyhow::Result;
use contract::bounds::{above_zero, share_below, within};
use contract::stage::Mistake;
use data::random::Random;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Marks a gene that is not a target; it is no valid token.
pub const NO_TARGET: u32 = u32::MAX;

/// The probabilities of a gene's tokens, times a factor, from its logits.
pub fn weights(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().map(|logit| libm::exp(f64::from(logit - most))).collect()
}

/// The bin expected of a hidden gene, from the [`weights`] of its tokens. It is never zero and never the mask.
pub fn expected_bin(weights: &[f64]) -> f64 {
    let bins = &weights[1..weights.len() - 1];
    yardsticks::expected(bins) / bins.iter().sum::<f64>()
}

/// Which genes are targets, and which of those are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Masking {
    /// The share of the non-zero genes that are targets.
    pub share: f64,
    /// The share of targets that are hidden.
    pub hidden: f64,
}

impl Default for Masking {
    fn default() -> Masking {
        Masking { share: 0.15, hidden: 0.9 }
    }
}

impl Masking {
    /// Rejects shares out of range.
    pub fn check(&self) -> Result<(), Mistake> {
        above_zero("masking.share", self.share, 1.0)?;
        share_below("masking.share", self.share, 1.0)?;
        within("masking.hidden", self.hidden, 0.0..=1.0)
    }

    /// The number of targets in a cell.
    ///
    /// In 32 bits, because the original computes it so: of 100 genes it takes 16, not 15.
    pub fn count(&self, expressed: usize, positions: usize) -> usize {
        let share = self.share as f32;
        let most = (f64::from(share) * positions as f64).ceil();
        f64::from((expressed as f32 * share).ceil()).min(most) as usize
    }

    /// Hides tokens of a cell; returns the target of each token, or [`NO_TARGET`].
    pub fn mask(&self, tokens: &mut [u32], mask: u32, random: &mut Random) -> Vec<u32> {
        let mut expressed: Vec<usize> = (0..tokens.len()).filter(|at| tokens[*at] > 0).collect();
        let count = self.count(expressed.len(), tokens.len()).min(expressed.len());
        let mut targets = vec![NO_TARGET; tokens.len()];
        for chosen in 0..count {
            // A partial shuffle, with as many steps as targets are drawn.
            let other = chosen + random.below(expressed.len() - chosen);
            expressed.swap(chosen, other);
            let at = expressed[chosen];
            targets[at] = tokens[at];
            if random.unit() < self.hidden {
                tokens[at] = mask;
            }
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::{Masking, NO_TARGET};
    use data::random::Random;

    #[test]
    fn only_genes_that_are_not_zero_are_targets_and_most_are_hidden() {
        let (mut random, masking) = (Random::new(1, 0), Masking::default());
        let (mut targets, mut hidden) = (0, 0);
        for _ in 0..200 {
            let before: Vec<u32> = (0..100).map(|gene| gene % 6).collect();
            let mut tokens = before.clone();
            let found = masking.mask(&mut tokens, 6, &mut random);
            for ((before, after), target) in before.iter().zip(&tokens).zip(&found) {
                let is_target = *target != NO_TARGET;
                assert!(!is_target || (*target == *before && *before > 0));
                assert!(before == after || (is_target && *after == 6));
                targets += usize::from(is_target);
                hidden += usize::from(before != after);
            }
        }
        // 83 of 100 genes are not zero, so each of 200 cells has 13 targets. Of 2,600 about 2,340 are hidden, give or
        // take 5 · 15.3.
        assert_eq!(targets, 2_600);
        assert!((2_263..2_417).contains(&hidden), "{hidden}");
    }

    #[test]
    fn every_gene_is_chosen_as_often() {
        let mut counts = [0u32; 20];
        let mut random = Random::new(2, 0);
        for _ in 0..10_000 {
            let found = Masking::default().mask(&mut [1; 20], 6, &mut random);
            found
                .iter()
                .zip(&mut counts)
                .filter(|(target, _)| **target == 1)
                .for_each(|(_, count)| *count += 1);
        }
        // 3 of 20: 1,500 of 10,000, give or take five standard deviations of 36.
        assert!(counts.iter().all(|count| (1_320..1_680).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_cell_without_genes_has_no_targets() {
        assert_eq!(Masking::default().mask(&mut [0; 5], 6, &mut Random::new(0, 0)), [NO_TARGET; 5]);
    }
}
