//! Masked training of the Performer.

use super::Masking;
use super::judge::Judged;
use crate::model::parameters::Named;
use crate::model::performer::Performer;
use crate::training::{Learner, Moment};
use anyhow::{Result, bail};
use contract::bounds::share_below;
use contract::stage::{Io, Mistake};
use data::random::Random;
use data::tokens::Corpus;
use std::ops::Range;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::{Scalar, Taped, Untaped, values};

/// The random stream that draws the held-out cells.
const PARTS_STREAM: u64 = 1 << 49;
/// The streams after this one draw which genes are hidden in held-out cells. They are the same at every evaluation.
const JUDGE_STREAM: u64 = 1 << 50;
/// The streams after this one draw which genes are hidden in training.
const MASK_STREAM: u64 = 1 << 51;

/// The cells, divided into three parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// For training.
    pub training: Vec<usize>,
    /// For early stopping.
    pub validation: Vec<usize>,
    /// For the final evaluation; no decision depends on them.
    pub test: Vec<usize>,
}

/// Rejects a share that would leave no training cells: it is taken twice.
pub fn check_held_out(share: f64) -> Result<(), Mistake> {
    share_below("held_out", share, 0.5)
}

impl Parts {
    /// Holds out the share `held_out` of the cells twice: once for validation and once for the test.
    ///
    /// Prereq: [`check_held_out`] has passed.
    pub fn new(cells: usize, held_out: f64, seed: u64) -> Result<Parts> {
        let count = (cells as f64 * held_out).ceil() as usize;
        if 2 * count >= cells {
            bail!("{cells} cells are too few to hold out {count} for validation and as many for the test");
        }
        let mut order: Vec<usize> = (0..cells).collect();
        Random::new(seed, PARTS_STREAM).shuffle(&mut order);
        let part = |range: Range<usize>| {
            let mut part = order[range].to_vec();
            part.sort_unstable();
            part
        };
        Ok(Parts {
            validation: part(0..count),
            test: part(count..2 * count),
            training: part(2 * count..cells),
        })
    }
}

/// A model, trained on some cells and evaluated on others.
pub struct MaskedLearner<'a> {
    /// The model.
    pub model: &'a mut Performer,
    /// The cells.
    pub corpus: &'a Corpus,
    /// The parts that the cells are divided into.
    pub parts: &'a Parts,
    /// What is hidden, and how much.
    pub masking: Masking,
    /// The token that hides another.
    pub mask: u8,
    /// Redraws the random features every this many steps.
    pub redraw_every: Option<u64>,
    /// Cells per batch when evaluating.
    pub batch: usize,
    /// The seed of what is hidden.
    pub seed: u64,
    /// The next batch, prepared ahead of time.
    pub ready: Option<(Moment, Hidden)>,
}

/// The tokens of cells, some of them hidden, and the target of each token.
pub type Hidden = (Vec<u32>, Vec<u32>);

impl MaskedLearner<'_> {
    fn hide(&self, masking: Masking, cells: &[usize], stream: impl Fn(usize) -> u64) -> Hidden {
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        for cell in cells {
            let start = tokens.len();
            self.corpus.append(*cell, &mut tokens);
            let mut random = Random::new(self.seed, stream(*cell));
            targets.extend(masking.mask(&mut tokens[start..], u32::from(self.mask), &mut random));
        }
        (tokens, targets)
    }

    /// A training batch.
    fn batch(&self, examples: &[usize], moment: Moment) -> Hidden {
        let cells: Vec<usize> = examples.iter().map(|example| self.parts.training[*example]).collect();
        let first = MASK_STREAM + moment.epoch * self.corpus.cells() as u64;
        self.hide(self.masking, &cells, |cell| first + cell as u64)
    }

    /// Cells that the model is evaluated on, with their targets hidden: a visible one would need no prediction.
    ///
    /// The same genes are hidden every time, and as many whatever is hidden in training, so that models trained in
    /// different ways can be compared.
    pub fn hidden(&self, cells: &[usize]) -> Hidden {
        let masking = Masking { hidden: 1.0, ..Masking::default() };
        self.hide(masking, cells, |cell| JUDGE_STREAM + cell as u64)
    }

    /// Evaluates the model on some cells.
    pub fn judge(&self, cells: &[usize], io: &Io) -> Result<Vec<Judged>> {
        let mut judged = Vec::with_capacity(cells.len());
        for batch in cells.chunks(self.batch) {
            io.check_stop()?;
            let (tokens, targets) = self.hidden(batch);
            let logits =
                self.model.logits(self.model.encode(&tokens, batch.len(), Untaped), &tokens, batch.len());
            let positions = tokens.len() / batch.len();
            let classes = self.model.tables().tokens;
            let cells = targets.chunks(positions).zip(values(&logits).chunks(positions * classes));
            judged.extend(cells.map(|(targets, logits)| Judged::new(targets, logits)));
        }
        Ok(judged)
    }
}

impl Learner for MaskedLearner<'_> {
    fn unit(&self) -> &'static str {
        "cells"
    }

    fn examples(&self) -> usize {
        self.parts.training.len()
    }

    fn tensors(&mut self) -> Vec<Named<'_>> {
        self.model.tensors()
    }

    fn before_step(&mut self, step: u64) {
        if let Some(every) = self.redraw_every
            && step.is_multiple_of(every)
            && step > 0
        {
            self.model.redraw_features(self.seed, step / every);
        }
    }

    fn prepare(&mut self, examples: &[usize], moment: Moment) {
        self.ready = Some((moment, self.batch(examples, moment)));
    }

    fn loss(&mut self, examples: &[usize], moment: Moment) -> Result<Scalar<Taped>> {
        let ready = self.ready.take().filter(|(of, _)| *of == moment);
        let (tokens, targets) = ready.map_or_else(|| self.batch(examples, moment), |(_, batch)| batch);
        // Logits are computed for every gene, though few are targets, so that shapes stay the same and buffers can be
        // reused.
        let encodings = self.model.encode(&tokens, examples.len(), Taped::default());
        Ok(cross_entropy(self.model.logits(encodings, &tokens, examples.len()), &targets))
    }

    fn validate(&mut self, io: &Io) -> Result<Option<f64>> {
        let judged = self.judge(&self.parts.validation, io)?;
        Ok(Judged::cross_entropy(&judged))
    }
}

#[cfg(test)]
mod tests {
    use super::Parts;

    #[test]
    fn parts_are_disjoint_and_a_share_of_the_cells() {
        let parts = Parts::new(25, 0.1, 1).unwrap();
        assert_eq!((parts.training.len(), parts.validation.len(), parts.test.len()), (19, 3, 3));
        let mut all = [&parts.training[..], &parts.validation, &parts.test].concat();
        all.sort_unstable();
        assert_eq!(all, (0..25).collect::<Vec<_>>());
        assert_ne!(parts, Parts::new(25, 0.1, 2).unwrap());
        assert_eq!(Parts::new(25, 0.0, 1).unwrap().training.len(), 25);
        let error = Parts::new(2, 0.1, 1).unwrap_err().to_string();
        assert_eq!(error, "2 cells are too few to hold out 1 for validation and as many for the test");
    }
}
