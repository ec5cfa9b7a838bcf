//! A gated mixture of two tensors, element by element; the gate is the sigmoid of a third.
//!
//! y = s a + (1 - s) b, s = σ(z) = 1 / (1 + e⁻ᶻ). Backward: da = s dy, db = (1 - s) dy, dz = s (1 - s) (a - b) dy.

mod cpu;
mod cuda;

use crate::tape::{Tape, add_to, record};
use crate::{Tensor, buffer, shape, values};

/// Mixes `a` and `b`; the larger `z`, the more of `a`. Prereq: three different tensors of equal shapes.
pub fn gate<T: Tape>(z: Tensor<T>, a: Tensor<T>, b: Tensor<T>) -> Tensor<T> {
    assert!(shape(&z) == shape(&a) && shape(&a) == shape(&b), "the shapes of a mixture");
    let shape = shape(&z);
    let (z, tape) = z.split_tape();
    let (a, tape_a) = a.split_tape();
    let (b, tape_b) = b.split_tape();
    let device = z.device().clone();
    if let Some(card) = device.card() {
        return cuda::gate(card, [z, a, b], tape.merge(tape_a).merge(tape_b));
    }
    let mut share = buffer::copy(&device, values(&z));
    let mut y = buffer::zeros(&device, share.len());
    cpu::forward(&mut y, &mut share, values(&a), values(&b));
    record(&device, tape.merge(tape_a).merge(tape_b), y, shape, move |flowing, gradients| {
        add_to(gradients, [&z, &a, &b], |outputs| {
            cpu::backward(outputs, flowing, &share, values(&a), values(&b));
        });
        buffer::recycle(z.device(), share);
    })
}

#[cfg(test)]
mod tests {
    use super::gate;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn the_gate_decides() {
        let device = device();
        let row = |values: [f32; 3]| tensor(&device, values.to_vec(), 1, 3);
        let y = gate(row([-50.0, 0.0, 50.0]), row([1.0, 1.0, 1.0]), row([3.0, 3.0, 3.0]));
        assert_eq!(values(&y), [3.0, 2.0, 1.0]);
        check_gradients(&[(3, 4), (3, 4), (3, 4)], 2e-3, |t| {
            weighted_sum(gate(t[0].retaped(), t[1].retaped(), t[2].retaped()))
        });
    }
}
