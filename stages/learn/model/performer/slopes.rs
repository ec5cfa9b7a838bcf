//! How what the model expects of a hidden gene changes with the tokens of the visible ones.
//!
//! A token is a number that the model sees as a vector. Its derivative is taken along the line through the vectors of the
//! tokens next to it: dE/dt ≈ ∇_x E · (e_{t+1} - e_{t-1}) / 2, with x the gene's input, and one of the two steps at
//! either end of the bins. A readout sees the number itself, and adds the derivative by that.

use super::Performer;
use tensor::ops::expectation::expectation;
use tensor::ops::gather::gather;
use tensor::tape::{backward, gradient};
use tensor::{Taped, Tensor, shape, values};

impl Performer {
    /// The derivative of the bin expected of one hidden gene of each cell by each token of the same cell: cells x
    /// positions, 0 where the token is the mask.
    ///
    /// Prereq: `tokens` has every position of each cell, `targets` one position for each cell, and nothing is frozen.
    pub fn slopes(&self, tokens: &[u32], targets: &[u32]) -> Vec<f32> {
        assert!(self.frozen.is_none(), "the slopes of a model with frozen parts");
        let (cells, positions) = (targets.len(), self.tables().positions);
        let input = self.trunk(tokens, cells);
        let logits = self.head.forward(self.finish(input.clone().put_tape(Taped::default()), cells));
        let seen = self.readout.as_ref().map(|readout| (readout, readout.visible(tokens, cells)));
        let logits = match &seen {
            Some((readout, visible)) => readout.add_seen(logits, visible.retaped()),
            None => logits,
        };
        let mask = shape(&self.token).0 - 1;
        let rows: Vec<u32> =
            targets.iter().zip(0..).map(|(target, cell)| cell * positions as u32 + target).collect();
        let mut gradients = backward(expectation(gather(logits, &rows), 1..mask));
        let mut slopes = self.along_tokens(tokens, &gradient(&mut gradients, &input));
        if let Some((readout, visible)) = &seen {
            let of_numbers = gradient(&mut gradients, visible);
            for (slopes, of_cell) in slopes.chunks_mut(positions).zip(of_numbers.chunks(positions)) {
                for ((slope, number), step) in slopes.iter_mut().zip(of_cell).zip(readout.steps()) {
                    *slope += number * step;
                }
            }
        }
        slopes.iter_mut().zip(tokens).filter(|(_, token)| **token == mask as u32).for_each(|(s, _)| *s = 0.0);
        slopes
    }

    /// Each gradient of an input along the tokens next to its own.
    fn along_tokens(&self, tokens: &[u32], gradients: &[f32]) -> Vec<f32> {
        let table: &Tensor = &self.token;
        let (classes, width) = shape(table);
        let vector = |token: usize| &values(table)[token * width..][..width];
        let step = |token: usize| -> Vec<f32> {
            let (below, above) = (token.saturating_sub(1), (token + 1).min(classes - 2));
            let apart = above.saturating_sub(below).max(1) as f32;
            vector(above).iter().zip(vector(below)).map(|(above, below)| (above - below) / apart).collect()
        };
        let steps: Vec<Vec<f32>> = (0..classes).map(step).collect();
        let along = |(token, gradient): (&u32, &[f32])| {
            gradient.iter().zip(&steps[*token as usize]).map(|(gradient, step)| gradient * step).sum()
        };
        tokens.iter().zip(gradients.chunks(width)).map(along).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Performer;
    use crate::masked::{expected_bin, weights};
    use crate::model::performer::{Config, Tables};
    use crate::model::readout::Priors;
    use tensor::testing::normal;
    use tensor::{Untaped, device, shape, tensor, values};

    const POSITIONS: usize = 12;
    const CLASSES: usize = 7;
    const MASK: u32 = 6;

    /// With layers that are not zero after the blocks, and numbers of genes that are like those of cells.
    fn small(cell_width: Option<usize>, means: &[f32]) -> Performer {
        let config = Config { width: 16, depth: 2, heads: 2, head_width: 8, cell_width, ..Config::default() };
        let tables = Tables { tokens: CLASSES, positions: POSITIONS };
        let mut model = Performer::new(&device(), config, tables, 1);
        for named in model.tensors() {
            if named.name.starts_with("to_out") && named.name.ends_with("weight") {
                let (rows, columns) = shape(named.tensor);
                *named.tensor = tensor(&device(), normal(rows * columns, 5), rows, columns);
            }
        }
        let priors = Priors {
            means: means.to_vec(),
            deviations: (0..POSITIONS).map(|gene| 0.5 + 0.1 * gene as f32).collect(),
            shares: vec![vec![0.2; CLASSES - 2]; POSITIONS],
        };
        model.know(&priors, &[]);
        model
    }

    /// Token 3 is at one position alone, and so is the mask.
    fn cell() -> Vec<u32> {
        vec![1, 0, 3, 5, 2, MASK, 0, 1, 4, 2, 5, 0]
    }

    #[test]
    fn slopes_are_those_of_differences() {
        let (target, gene) = (5, 2);
        for cell_width in [None, Some(4)] {
            let means = vec![1.0; POSITIONS];
            let found = small(cell_width, &means).slopes(&cell(), &[target as u32]);
            // Another value of the token: another vector for the encoder, and another number for the readout.
            let expected = |moved: f32| {
                let mut means = means.clone();
                means[gene] -= moved;
                let mut model = small(cell_width, &means);
                let mut table = values(&model.token).to_vec();
                for column in 0..16 {
                    table[3 * 16 + column] += moved * (table[4 * 16 + column] - table[2 * 16 + column]) / 2.0;
                }
                model.token = tensor(&device(), table, CLASSES, 16);
                let logits = model.logits(model.encode(&cell(), 1, Untaped), &cell(), 1);
                expected_bin(&weights(&values(&logits)[target * CLASSES..][..CLASSES]))
            };
            let difference = (expected(0.01) - expected(-0.01)) / 0.02;
            assert!(difference.abs() > 1e-3, "{cell_width:?}: {difference}");
            // Rounding errors of 1e-7, divided by the step.
            assert!((f64::from(found[gene]) - difference).abs() < 1e-4, "{} and {difference}", found[gene]);
            assert_eq!(found[target], 0.0, "what is hidden has no value");
        }
    }

    #[test]
    fn a_cells_slopes_do_not_depend_on_batch_mates() {
        let model = small(Some(4), &[1.0; POSITIONS]);
        let other: Vec<u32> = (0..POSITIONS as u32).map(|gene| gene * gene % MASK).collect();
        let together = model.slopes(&[cell(), other.clone(), cell()].concat(), &[5, 0, 3]);
        for (place, (cell, target)) in [(cell(), 5), (other, 0), (cell(), 3)].into_iter().enumerate() {
            assert_eq!(together[place * POSITIONS..][..POSITIONS], model.slopes(&cell, &[target]), "{place}");
        }
    }
}
