//! Binary cross-entropy of logits, with a weight for positives.
//!
//! loss = 1/n Σ_i w_i (max(z_i, 0) - y_i z_i + log(1 + e^-|z_i|)), w_i the weight of positives where y_i = 1, else 1.
//! Backward: dz_i = w_i (σ(z_i) - y_i) / n.

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record_scalar, take};
use crate::{Scalar, Tensor, buffer, shape, values};

/// The mean loss over all pairs. Prereq: `logits` is n x 1, n > 0, with n labels.
pub fn binary_cross_entropy<T: Tape>(logits: Tensor<T>, labels: &[bool], positive_weight: f32) -> Scalar<T> {
    let (rows, columns) = shape(&logits);
    assert!(columns == 1 && rows == labels.len() && rows > 0, "one logit for each label");
    let (logits, tape) = logits.split_tape();
    if let Some(card) = logits.device().clone().card() {
        return cuda::binary_cross_entropy(card, logits, tape, labels, positive_weight);
    }
    let mut gradient = buffer::copy(logits.device(), values(&logits));
    let loss = cpu::binary_cross_entropy(&mut gradient, labels, positive_weight);
    record_scalar(tape, loss, move |flowing, gradients| {
        let mut dz = take(gradients, &logits);
        dz.iter_mut().zip(&gradient).for_each(|(dz, gradient)| *dz += flowing * gradient);
        put(gradients, &logits, dz);
        buffer::recycle(logits.device(), gradient);
    })
}

#[cfg(test)]
mod tests {
    use super::binary_cross_entropy;
    use crate::testing::{check_gradients, normal};
    use crate::{device, tensor};

    #[test]
    fn the_loss_is_the_weighted_mean() {
        let device = device();
        let z = normal(5_000, 0);
        let labels: Vec<bool> = (0..5_000).map(|i| i % 3 == 0).collect();
        let each = z.iter().zip(&labels).map(|(z, label)| {
            let p = 1.0 / (1.0 + libm::exp(-f64::from(*z)));
            if *label { -2.5 * libm::log(p) } else { -libm::log(1.0 - p) }
        });
        let expected = each.sum::<f64>() / 5_000.0;
        let loss = binary_cross_entropy(tensor(&device, z, 5_000, 1), &labels, 2.5);
        assert!((f64::from(loss[[]]) - expected).abs() < 1e-6);
    }

    #[test]
    fn large_logits_stay_finite() {
        let device = device();
        let loss = binary_cross_entropy(tensor(&device, vec![1e4, -1e4], 2, 1), &[false, false], 1.0);
        assert_eq!(loss[[]], 5e3);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let labels = [true, false, true, false, false];
        check_gradients(&[(5, 1)], 2e-3, |t| binary_cross_entropy(t[0].retaped(), &labels, 3.0));
    }
}
