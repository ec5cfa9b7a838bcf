//! Softmax and cross-entropy on a GPU: one warp per row.

use crate::card::kernels::{self, word};
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_scalar};
use crate::{Scalar, Tensor, shape};

/// The mean loss over the rows whose target is a column.
pub fn cross_entropy<T: Tape>(card: &Card, logits: Tensor, tape: T, targets: &[u32]) -> Scalar<T> {
    let (rows, columns) = shape(&logits);
    let counted = targets.iter().filter(|target| (**target as usize) < columns).count().max(1);
    let (slopes, losses) = (logits.memory().copy(), card.scratch(rows));
    let on_card = card.upload_words(targets);
    let weight = 1.0 / counted as f32;
    let each = arguments![&slopes, &losses, &on_card, rows, word(columns), weight];
    card.launch_rows("cross_entropy", rows, each);
    let sum: f64 = kernels::pieces(&losses).download().into_iter().map(f64::from).sum();
    record_scalar(tape, (sum / counted as f64) as f32, move |flowing, gradients| {
        gradients.change(&logits, |dz| kernels::add_scaled(dz, flowing, &slopes));
    })
}
