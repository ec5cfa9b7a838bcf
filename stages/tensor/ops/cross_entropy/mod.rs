//! Softmax and cross-entropy, fused.
//!
//! loss = 1/n Σ_i (log Σ_c e^{z_ic} - z_it), the sum over the n rows that have a target t.
//! Backward: dz_ic = (softmax(z_i)_c - [c = t]) / n.

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record_scalar, take};
use crate::{Scalar, Tensor, buffer, shape, values};

/// The mean loss over the rows whose target is a column; rows with a target beyond the columns are ignored.
///
/// Prereq: one target per row. If no row has a target, the loss is 0 and no gradient flows back.
pub fn cross_entropy<T: Tape>(logits: Tensor<T>, targets: &[u32]) -> Scalar<T> {
    let (rows, columns) = shape(&logits);
    assert_eq!(targets.len(), rows, "the targets of a cross-entropy");
    let (logits, tape) = logits.split_tape();
    let device = logits.device().clone();
    if let Some(card) = device.card() {
        return cuda::cross_entropy(card, logits, tape, targets);
    }
    let mut gradient = buffer::copy(&device, values(&logits));
    let loss = cpu::cross_entropy(&mut gradient, columns, targets);
    record_scalar(tape, loss, move |flowing, gradients| {
        let mut dz = take(gradients, &logits);
        cpu::add_scaled(&mut dz, flowing, &gradient);
        put(gradients, &logits, dz);
        buffer::recycle(logits.device(), gradient);
    })
}

#[cfg(test)]
mod tests {
    use super::cross_entropy;
    use crate::tape::{backward, gradient};
    use crate::testing::{check_gradients, normal};
    use crate::{Taped, device, tensor};

    #[test]
    fn the_loss_is_the_mean_over_rows_that_have_a_target() {
        let device = device();
        let z = normal(300 * 7, 0);
        let targets: Vec<u32> = (0..300).map(|i| i % 9).collect();
        let mut sum = 0.0;
        for (z, target) in z.chunks(7).zip(&targets).filter(|(_, target)| **target < 7) {
            let total: f64 = z.iter().map(|z| libm::exp(f64::from(*z))).sum();
            sum += libm::log(total) - f64::from(z[*target as usize]);
        }
        let counted = targets.iter().filter(|target| **target < 7).count() as f64;
        let loss = cross_entropy(tensor(&device, z, 300, 7), &targets);
        assert!((f64::from(loss[[]]) - sum / counted).abs() < 1e-6);
    }

    #[test]
    fn large_logits_stay_finite() {
        let device = device();
        let loss = cross_entropy(tensor(&device, vec![1e4, 0.0, -1e4], 1, 3), &[1]);
        assert_eq!(loss[[]], 1e4);
    }

    #[test]
    fn without_targets_nothing_flows() {
        let device = device();
        let z = tensor(&device, normal(6, 0), 2, 3);
        let loss = cross_entropy(z.retaped::<Taped>(), &[3, 3]);
        assert_eq!(loss[[]], 0.0);
        assert_eq!(gradient(&mut backward(loss), &z), [0.0; 6]);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        check_gradients(&[(5, 7)], 2e-3, |t| cross_entropy(t[0].retaped(), &[0, 6, 7, 3, 3]));
    }
}
