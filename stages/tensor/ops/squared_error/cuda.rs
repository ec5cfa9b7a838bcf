//! The squared error on a GPU.

use crate::card::{Card, kernels};
use crate::tape::{Tape, record_scalar};
use crate::{Scalar, Tensor};

/// The mean over all scores.
pub fn squared_error<T: Tape>(card: &Card, scores: Tensor, tape: T, labels: &[bool]) -> Scalar<T> {
    let aims: Vec<f32> = labels.iter().map(|label| f32::from(u8::from(*label))).collect();
    let mut distances = scores.memory().copy();
    kernels::add_scaled(&mut distances, -1.0, &card.upload(&aims));
    let distances = [distances];
    let squares = kernels::squares(card, &distances).download();
    let (sum, count) = (squares.into_iter().map(f64::from).sum::<f64>(), labels.len());
    record_scalar(tape, (sum / count as f64) as f32, move |flowing, gradients| {
        let (slope, [distances]) = (flowing * 2.0 / count as f32, &distances);
        gradients.change(&scores, |dz| kernels::add_scaled(dz, slope, distances));
    })
}
