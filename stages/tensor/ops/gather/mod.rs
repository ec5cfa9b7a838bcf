//! Looks up rows of a table, as an embedding layer does.
//!
//! y_i = table_{r_i}. Backward: dtable_r = Σ dy_i over the i with r_i = r.

mod cpu;
mod cuda;

use crate::matrix::{View, ViewMut};
use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// The table's rows at these indices. Prereq: each index is a row of the table.
pub fn gather<T: Tape>(table: Tensor<T>, rows: &[u32]) -> Tensor<T> {
    let (height, columns) = shape(&table);
    if let Some(beyond) = rows.iter().find(|row| **row as usize >= height) {
        panic!("row {beyond} of a table of {height} rows");
    }
    let (table, tape) = table.split_tape();
    let device = table.device().clone();
    if let Some(card) = device.card() {
        return cuda::gather(card, table, tape, rows);
    }
    let mut y = buffer::scratch(&device, rows.len() * columns);
    cpu::gather(&mut y, View::new(values(&table), height, columns), rows);
    let rows = rows.to_vec();
    record(&device, tape, y, (rows.len(), columns), move |flowing, gradients| {
        let mut gradient = take(gradients, &table);
        let flowing = View::new(flowing, rows.len(), columns);
        cpu::scatter(ViewMut::new(&mut gradient, height, columns), flowing, &rows);
        put(gradients, &table, gradient);
    })
}

#[cfg(test)]
mod tests {
    use super::gather;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let table = tensor(&device(), vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 3, 2);
        assert_eq!(values(&gather(table, &[2, 0, 2])), [4.0, 5.0, 0.0, 1.0, 4.0, 5.0]);
    }

    #[test]
    fn a_row_taken_twice_receives_both_gradients() {
        check_gradients(&[(4, 130)], 1e-3, |t| weighted_sum(gather(t[0].retaped(), &[3, 1, 3, 0])));
    }

    #[test]
    #[should_panic(expected = "row 3 of a table of 3 rows")]
    fn a_row_beyond_the_table_is_refused() {
        gather(tensor(&device(), vec![0.0; 6], 3, 2), &[3]);
    }
}
