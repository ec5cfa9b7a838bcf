//! The same values in another shape.

mod cuda;

use crate::ops::add::add_to;
use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// The same values, in row-major order, as a matrix of another shape. Prereq: as many values as rows times columns.
pub fn reshape<T: Tape>(x: Tensor<T>, (rows, columns): (usize, usize)) -> Tensor<T> {
    let size = shape(&x);
    assert_eq!(size.0 * size.1, rows * columns, "the values of a reshaped {} x {} tensor", size.0, size.1);
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if device.card().is_some() {
        return cuda::reshape(x, tape, (rows, columns));
    }
    let y = buffer::copy(&device, values(&x));
    record(&device, tape, y, (rows, columns), move |flowing, gradients| {
        let mut dx = take(gradients, &x);
        add_to(&mut dx, flowing);
        put(gradients, &x, dx);
    })
}

#[cfg(test)]
mod tests {
    use super::reshape;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, shape, tensor, values};

    #[test]
    fn values_stay_and_receive_their_gradients() {
        let turned = reshape(tensor(&device(), vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), (3, 2));
        assert_eq!((shape(&turned), values(&turned)), ((3, 2), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]));
        check_gradients(&[(4, 3)], 1e-3, |t| weighted_sum(reshape(t[0].retaped(), (2, 6))));
    }
}
