//! Concatenates columns: y_i = [a_i, b_i].

mod cuda;

use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// Appends the columns of `b` to those of `a`. Prereq: equal numbers of rows.
pub fn concatenate<T: Tape>(a: Tensor<T>, b: Tensor<T>) -> Tensor<T> {
    let ((rows, left), (rows_b, right)) = (shape(&a), shape(&b));
    assert_eq!(rows, rows_b, "the rows of what lies side by side");
    let (a, tape_a) = a.split_tape();
    let (b, tape_b) = b.split_tape();
    let device = a.device().clone();
    if let Some(card) = device.card() {
        return cuda::concatenate(card, a, b, tape_a.merge(tape_b));
    }
    let columns = left + right;
    let mut y = buffer::zeros(&device, rows * columns);
    for (x, start, width) in [(&a, 0, left), (&b, left, right)] {
        for (y, x) in y.chunks_exact_mut(columns).zip(values(x).chunks_exact(width.max(1))) {
            y[start..start + width].copy_from_slice(x);
        }
    }
    record(&device, tape_a.merge(tape_b), y, (rows, columns), move |flowing, gradients| {
        for (x, start, width) in [(&a, 0, left), (&b, left, right)] {
            let mut dx = take(gradients, x);
            for (dx, dy) in dx.chunks_exact_mut(width.max(1)).zip(flowing.chunks_exact(columns)) {
                dx.iter_mut().zip(&dy[start..]).for_each(|(dx, dy)| *dx += dy);
            }
            put(gradients, x, dx);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::concatenate;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn columns_lie_side_by_side() {
        let device = device();
        let (a, b) = (tensor(&device, vec![1.0, 2.0, 3.0, 4.0], 2, 2), tensor(&device, vec![5.0, 6.0], 2, 1));
        assert_eq!(values(&concatenate(a, b)), [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
        check_gradients(&[(3, 2), (3, 4)], 1e-3, |t| {
            weighted_sum(concatenate(t[0].retaped(), t[1].retaped()))
        });
    }
}
