//! How much of a TF reaches a target's encoding through the attention of all blocks.
//!
//! One pass is one cell, with no gene hidden.

use super::asked::{Asked, Cells};
use super::question::Question;
use learn::model::performer::Performer;
use std::ops::Range;

/// The question.
pub struct Attention<'a> {
    model: &'a Performer,
    cells: &'a Cells,
    asked: &'a Asked,
    tfs: Vec<u32>,
}

impl<'a> Attention<'a> {
    /// The question about these pairs in these cells.
    pub fn new(model: &'a Performer, cells: &'a Cells, asked: &'a Asked) -> Self {
        Attention { model, cells, asked, tfs: asked.by_tf.keys().copied().collect() }
    }
}

impl Question for Attention<'_> {
    fn passes(&self) -> usize {
        self.cells.count()
    }

    fn ask(&self, passes: Range<usize>, sums: &mut [f64]) {
        let tokens: Vec<u32> = passes.clone().flat_map(|cell| self.cells.tokens(cell)).copied().collect();
        let shares = self.model.rollout(&tokens, passes.len(), &self.tfs);
        for shares in shares.chunks(shares.len() / passes.len()) {
            for (column, targets) in self.asked.by_tf.values().enumerate() {
                for (pair, target) in targets {
                    sums[*pair] += f64::from(shares[*target as usize * self.tfs.len() + column]);
                }
            }
        }
    }
}
