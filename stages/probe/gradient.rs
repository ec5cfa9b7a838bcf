//! How fast the bin expected of a hidden target changes with the value that a TF has.
//!
//! One pass hides one target in one cell, and gives the derivatives by all TFs at once.

use super::asked::{Asked, Cells};
use super::question::Question;
use data::tokens::About;
use learn::model::performer::Performer;
use std::ops::Range;

/// The question.
pub struct Gradient<'a> {
    model: &'a Performer,
    cells: &'a Cells,
    /// Each target with its pairs and TFs.
    targets: Vec<(u32, &'a [(usize, u32)])>,
    mask: u8,
}

impl<'a> Gradient<'a> {
    /// The question about these pairs in these cells.
    pub fn new(model: &'a Performer, cells: &'a Cells, asked: &'a Asked, about: About) -> Self {
        let targets = asked.by_target.iter().map(|(target, tfs)| (*target, tfs.as_slice())).collect();
        Gradient { model, cells, targets, mask: about.mask }
    }
}

impl Question for Gradient<'_> {
    fn passes(&self) -> usize {
        self.cells.count() * self.targets.len()
    }

    fn ask(&self, passes: Range<usize>, sums: &mut [f64]) {
        let (mut tokens, mut hidden) = (Vec::new(), Vec::new());
        for pass in passes.clone() {
            let start = tokens.len();
            tokens.extend_from_slice(self.cells.tokens(pass / self.targets.len()));
            let (target, _) = self.targets[pass % self.targets.len()];
            tokens[start + target as usize] = u32::from(self.mask);
            hidden.push(target);
        }
        let slopes = self.model.slopes(&tokens, &hidden);
        for (pass, slopes) in passes.clone().zip(slopes.chunks(slopes.len() / passes.len())) {
            for (pair, tf) in self.targets[pass % self.targets.len()].1 {
                sums[*pair] += f64::from(slopes[*tf as usize]);
            }
        }
    }
}
