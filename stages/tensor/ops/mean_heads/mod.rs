//! The mean over heads that lie side by side: y_ij = 1/H Σ_h x_i,(h w + j). Backward: dx_i,(h w + j) = dy_ij / H.

mod cuda;

use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// The mean over `heads`. Prereq: the number of columns is a multiple of `heads`.
pub fn mean_heads<T: Tape>(x: Tensor<T>, heads: usize) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    assert!(heads > 0 && columns.is_multiple_of(heads), "{columns} columns of {heads} heads");
    let width = columns / heads;
    let factor = 1.0 / heads as f32;
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::mean_heads(card, x, tape, heads);
    }
    let mut y = buffer::zeros(&device, rows * width);
    for (y, x) in y.chunks_exact_mut(width.max(1)).zip(values(&x).chunks_exact(columns.max(1))) {
        for head in x.chunks_exact(width) {
            y.iter_mut().zip(head).for_each(|(y, x)| *y += factor * x);
        }
    }
    record(&device, tape, y, (rows, width), move |flowing, gradients| {
        let mut dx = take(gradients, &x);
        for (dx, dy) in dx.chunks_exact_mut(columns.max(1)).zip(flowing.chunks_exact(width.max(1))) {
            for head in dx.chunks_exact_mut(width) {
                head.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += factor * dy);
            }
        }
        put(gradients, &x, dx);
    })
}

#[cfg(test)]
mod tests {
    use super::mean_heads;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn heads_are_averaged_column_by_column() {
        let x = tensor(&device(), vec![1.0, 2.0, 5.0, 8.0, 0.0, 0.0, 1.0, 1.0], 2, 4);
        assert_eq!(values(&mean_heads(x, 2)), [3.0, 5.0, 0.5, 0.5]);
        check_gradients(&[(3, 6)], 1e-3, |t| weighted_sum(mean_heads(t[0].retaped(), 3)));
    }
}
