//! A logistic regression of the tokens, fitted to the same training cells: the yardstick of the model, and what its
//! head starts from.

use anyhow::Result;
use contract::stage::Io;
use data::random::Random;
use data::tokens::Corpus;
use learn::masked::learner::Parts;
use learn::multinomial::{Multinomial, Sparse};

/// The penalties to choose from, by the cross-entropy of the validation cells.
const PENALTIES: [f64; 3] = [1.0, 10.0, 100.0];
/// The penalty if there are no validation cells.
const USUAL: f64 = 10.0;
/// Training cells get the logits of a regression that was fitted to the other folds.
const FOLDS: usize = 5;
/// The random stream that draws the folds.
const FOLDS_STREAM: u64 = (1 << 54) + 1;

/// The tokens of cells as features.
pub fn features(corpus: &Corpus) -> Vec<Sparse> {
    let of_cell = |cell| corpus.expressed(cell).map(|(gene, token)| (gene, f32::from(token))).collect();
    (0..corpus.cells()).map(of_cell).collect()
}

/// Cells that have a type: what a regression is fitted to.
pub struct Typed<'a> {
    /// The features of every cell of the corpus.
    pub rows: &'a [Sparse],
    /// The number of positions of a cell.
    pub positions: usize,
    /// The cells that have a type, with its index.
    pub cells: &'a [(usize, u32)],
    /// The number of types.
    pub classes: usize,
    /// The parts, as indices of `cells`.
    pub parts: &'a Parts,
}

impl Typed<'_> {
    fn part(&self, part: &[usize]) -> (Vec<&Sparse>, Vec<u32>) {
        part.iter().map(|index| (&self.rows[self.cells[*index].0], self.cells[*index].1)).unzip()
    }

    fn fit_to(&self, part: &[usize], penalty: f64) -> Multinomial {
        let (rows, labels) = self.part(part);
        Multinomial::fit(&rows, &labels, self.positions, self.classes, penalty)
    }

    /// Fits to the training cells; also returns the penalty that served best.
    pub fn fit(&self, io: &Io) -> Result<(Multinomial, f64)> {
        let Parts { training, validation, .. } = self.parts;
        if validation.is_empty() {
            return Ok((self.fit_to(training, USUAL), USUAL));
        }
        let (rows, labels) = self.part(validation);
        let mut best: Option<(f64, Multinomial, f64)> = None;
        for penalty in PENALTIES {
            io.check_stop()?;
            let model = self.fit_to(training, penalty);
            let loss = model.cross_entropy(&rows, &labels);
            if best.as_ref().is_none_or(|(least, ..)| loss < *least) {
                best = Some((loss, model, penalty));
            }
        }
        let (_, model, penalty) = best.expect("there are penalties to choose from");
        Ok((model, penalty))
    }

    /// The logits of each cell that has a type. Those of training cells come from regressions that were not fitted to
    /// them: its own would leave the head nothing to learn.
    pub fn logits(&self, model: &Multinomial, penalty: f64, seed: u64, io: &Io) -> Result<Vec<Vec<f32>>> {
        let of = |model: &Multinomial, index: usize| -> Vec<f32> {
            model.logits(&self.rows[self.cells[index].0]).into_iter().map(|logit| logit as f32).collect()
        };
        let mut logits: Vec<Vec<f32>> = (0..self.cells.len()).map(|index| of(model, index)).collect();
        let mut order = self.parts.training.clone();
        Random::new(seed, FOLDS_STREAM).shuffle(&mut order);
        for fold in 0..FOLDS.min(order.len()) {
            io.check_stop()?;
            let is_in = |place: usize| place % FOLDS == fold;
            let others: Vec<usize> =
                order.iter().enumerate().filter(|(place, _)| !is_in(*place)).map(|(_, cell)| *cell).collect();
            let model = self.fit_to(&others, penalty);
            let inside = order.iter().enumerate().filter(|(place, _)| is_in(*place));
            inside.for_each(|(_, cell)| logits[*cell] = of(&model, *cell));
        }
        Ok(logits)
    }
}
