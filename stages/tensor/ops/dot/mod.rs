//! Row-wise dot products: y_i = a_i · b_i. Backward: da_i = dy_i b_i, db_i = dy_i a_i.

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// One number per row. Prereq: equal shapes; `a` and `b` are different tensors.
pub fn dot<T: Tape>(a: Tensor<T>, b: Tensor<T>) -> Tensor<T> {
    assert_eq!(shape(&a), shape(&b), "the shapes of a product");
    let (rows, columns) = shape(&a);
    let (a, tape_a) = a.split_tape();
    let (b, tape_b) = b.split_tape();
    let device = a.device().clone();
    if let Some(card) = device.card() {
        return cuda::dot(card, a, b, tape_a.merge(tape_b));
    }
    let mut y = buffer::zeros(&device, rows);
    cpu::forward(&mut y, values(&a), values(&b), columns);
    record(&device, tape_a.merge(tape_b), y, (rows, 1), move |flowing, gradients| {
        for (of, other) in [(&a, &b), (&b, &a)] {
            let mut gradient = take(gradients, of);
            cpu::backward(&mut gradient, flowing, values(other), columns);
            put(gradients, of, gradient);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::dot;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn each_row_is_multiplied_with_its_own() {
        let device = device();
        let a = tensor(&device, vec![1.0, 2.0, 3.0, 4.0], 2, 2);
        let b = tensor(&device, vec![5.0, 6.0, 7.0, 8.0], 2, 2);
        assert_eq!(values(&dot(a, b)), [17.0, 53.0]);
        check_gradients(&[(3, 20), (3, 20)], 1e-3, |t| weighted_sum(dot(t[0].retaped(), t[1].retaped())));
    }
}
