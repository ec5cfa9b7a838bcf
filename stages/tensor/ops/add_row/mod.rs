//! A row added to every row: y_i = x_i + b. Backward: dx = dy, db = Σ dy over rows.

mod cpu;
mod cuda;

use crate::reduce::add_column_sums;
use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// Adds `row` to each row. Prereq: `row` is 1 x columns.
pub fn add_row<T: Tape>(x: Tensor<T>, row: &Tensor) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    assert_eq!(shape(row), (1, columns), "the row of a sum");
    let (x, tape) = x.split_tape();
    let (device, row) = (x.device().clone(), row.clone());
    if device.card().is_some() {
        return cuda::add_row(x, row, tape);
    }
    let mut y = buffer::copy(&device, values(&x));
    cpu::add_row(&mut y, values(&row));
    record(&device, tape, y, (rows, columns), move |flowing, gradients| {
        let (mut dx, mut db) = (take(gradients, &x), take(gradients, &row));
        cpu::add(&mut dx, flowing);
        add_column_sums(&mut db, flowing);
        put(gradients, &x, dx);
        put(gradients, &row, db);
    })
}

#[cfg(test)]
mod tests {
    use super::add_row;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn each_row_receives_it_and_gives_its_gradient() {
        let device = device();
        let x = tensor(&device, vec![1.0, 2.0, 3.0, 4.0], 2, 2);
        let row = tensor(&device, vec![10.0, 20.0], 1, 2);
        assert_eq!(values(&add_row(x, &row)), [11.0, 22.0, 13.0, 24.0]);
        check_gradients(&[(4, 3), (1, 3)], 1e-3, |t| weighted_sum(add_row(t[0].retaped(), &t[1])));
    }
}
