//! The mean squared error of scores against labels: 1 where a label is set, 0 elsewhere.
//!
//! loss = 1/n Σ_i (z_i - y_i)². Backward: dz_i = 2 (z_i - y_i) / n.

mod cuda;

use crate::tape::{Tape, put, record_scalar, take};
use crate::{Scalar, Tensor, shape, values};

/// The mean over all scores. Prereq: `scores` is n x 1, n > 0, with n labels.
pub fn squared_error<T: Tape>(scores: Tensor<T>, labels: &[bool]) -> Scalar<T> {
    let (rows, columns) = shape(&scores);
    assert!(columns == 1 && rows == labels.len() && rows > 0, "one score for each label");
    let (scores, tape) = scores.split_tape();
    if let Some(card) = scores.device().clone().card() {
        return cuda::squared_error(card, scores, tape, labels);
    }
    let distance = |(score, label): (&f32, &bool)| score - f32::from(u8::from(*label));
    let distances: Vec<f32> = values(&scores).iter().zip(labels).map(distance).collect();
    let sum: f64 = distances.iter().map(|distance| f64::from(*distance).powi(2)).sum();
    record_scalar(tape, (sum / rows as f64) as f32, move |flowing, gradients| {
        let slope = flowing * 2.0 / rows as f32;
        let mut dz = take(gradients, &scores);
        dz.iter_mut().zip(&distances).for_each(|(dz, distance)| *dz += slope * distance);
        put(gradients, &scores, dz);
    })
}

#[cfg(test)]
mod tests {
    use super::squared_error;
    use crate::testing::check_gradients;
    use crate::{device, tensor};

    #[test]
    fn the_loss_is_the_mean_of_squares() {
        let scores = tensor(&device(), vec![0.5, 3.0, -1.0, 1.0], 4, 1);
        assert_eq!(squared_error(scores, &[true, true, false, true])[[]], (0.25 + 4.0 + 1.0) / 4.0);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let labels = [true, false, true, false, false];
        check_gradients(&[(5, 1)], 2e-3, |t| squared_error(t[0].retaped(), &labels));
    }
}
