//! Adds a row to every row, on a GPU.

use crate::card::kernels::{add, add_column_sums, add_to_rows};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// Adds `row` to each row.
pub fn add_row<T: Tape>(x: Tensor, row: Tensor, tape: T) -> Tensor<T> {
    let mut y = x.memory().copy();
    add_to_rows(&mut y, row.memory());
    record_on_card(tape, y, shape(&x), move |flowing, _, gradients| {
        gradients.change(&x, |dx| add(dx, flowing));
        gradients.change(&row, |db| add_column_sums(db, flowing));
    })
}
