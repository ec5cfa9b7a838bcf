//! Normalises runs of columns to unit length, as PyTorch's `normalize` does.
//!
//! y = x / max(|x|, ε) over each run. Backward: dx = (dy - y (y · dy)) / |x|, and dy / ε below ε.

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record_with_result, take};
use crate::{Tensor, buffer, shape, values};

/// PyTorch's lower limit for the divisor.
const EPSILON: f32 = 1e-12;

/// Normalises each run of `width` columns to length 1. Prereq: the number of columns is a multiple of `width`.
pub fn unit<T: Tape>(x: Tensor<T>, width: usize) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    assert!(width > 0 && columns.is_multiple_of(width), "{columns} columns in runs of {width}");
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::unit(card, x, tape, width);
    }
    let mut y = buffer::copy(&device, values(&x));
    let mut lengths = buffer::zeros(&device, rows * columns / width);
    cpu::forward(&mut y, &mut lengths, width);
    record_with_result(&device, tape, y, (rows, columns), move |flowing, y, gradients| {
        let mut dx = take(gradients, &x);
        cpu::backward(&mut dx, flowing, y, &lengths, width);
        put(gradients, &x, dx);
        buffer::recycle(x.device(), lengths);
    })
}

#[cfg(test)]
mod tests {
    use super::unit;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn each_run_has_length_one_and_nothing_stays_nothing() {
        let x = tensor(&device(), vec![3.0, 4.0, 0.0, 0.0], 1, 4);
        assert_eq!(values(&unit(x, 2)), [0.6, 0.8, 0.0, 0.0]);
        check_gradients(&[(3, 40)], 2e-3, |t| weighted_sum(unit(t[0].retaped(), 20)));
    }
}
