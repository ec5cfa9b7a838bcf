//! Addition, as in a residual connection: y = a + b.

mod cpu;
mod cuda;

pub use cpu::add as add_to;

use crate::tape::{Tape, flow_on, record};
use crate::{Tensor, buffer, shape, values};

/// y = a + b. Prereq: equal shapes; `a` and `b` may be the same tensor.
pub fn add<T: Tape>(a: Tensor<T>, b: Tensor<T>) -> Tensor<T> {
    assert_eq!(shape(&a), shape(&b), "the shapes of a sum");
    let (a, tape_a) = a.split_tape();
    let (b, tape_b) = b.split_tape();
    let device = a.device().clone();
    if device.card().is_some() {
        return cuda::add(a, b, tape_a.merge(tape_b));
    }
    let mut sum = buffer::copy(&device, values(&a));
    cpu::add(&mut sum, values(&b));
    let shape = shape(&a);
    record(&device, tape_a.merge(tape_b), sum, shape, move |flowing, gradients| {
        [&a, &b].into_iter().for_each(|end| flow_on(gradients, end, flowing));
    })
}

#[cfg(test)]
mod tests {
    use super::add;
    use crate::testing::{check_gradients, normal, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn both_ends_are_added_and_receive_the_gradient() {
        let device = device();
        let (a, b) = (normal(6, 0), normal(6, 1));
        let sum = add(tensor(&device, a.clone(), 2, 3), tensor(&device, b.clone(), 2, 3));
        assert_eq!(values(&sum), a.iter().zip(&b).map(|(a, b)| a + b).collect::<Vec<_>>());
        check_gradients(&[(2, 3), (2, 3)], 1e-3, |x| weighted_sum(add(x[0].retaped(), x[1].retaped())));
        check_gradients(&[(2, 3)], 1e-3, |x| weighted_sum(add(x[0].retaped(), x[0].retaped())));
    }
}
