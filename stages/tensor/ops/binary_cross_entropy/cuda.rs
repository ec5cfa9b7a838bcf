//! Binary cross-entropy on a GPU.

use crate::card::{Card, arguments, kernels};
use crate::tape::{Tape, record_scalar};
use crate::{Scalar, Tensor};

/// The mean over all pairs.
pub fn binary_cross_entropy<T: Tape>(
    card: &Card,
    logits: Tensor,
    tape: T,
    labels: &[bool],
    positive_weight: f32,
) -> Scalar<T> {
    let count = labels.len();
    let (slopes, losses) = (logits.memory().copy(), card.scratch(count));
    let on_card = card.upload_words(&labels.iter().map(|label| u32::from(*label)).collect::<Vec<_>>());
    let each = arguments![&slopes, &losses, &on_card, count, positive_weight];
    card.launch_each("binary_cross_entropy", count, each);
    let sum: f64 = kernels::pieces(&losses).download().into_iter().map(f64::from).sum();
    record_scalar(tape, (sum / count as f64) as f32, move |flowing, gradients| {
        gradients.change(&logits, |dz| kernels::add_scaled(dz, flowing, &slopes));
    })
}
