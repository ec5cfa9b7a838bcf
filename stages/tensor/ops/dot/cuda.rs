//! Dot products of rows on a GPU: one warp each.

use crate::card::kernels::word;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// One number for each row.
pub fn dot<T: Tape>(card: &Card, a: Tensor, b: Tensor, tape: T) -> Tensor<T> {
    let (rows, columns) = shape(&a);
    let y = card.scratch(rows);
    card.launch_rows("dots", rows, arguments![&y, a.memory(), b.memory(), rows, word(columns)]);
    record_on_card(tape, y, (rows, 1), move |flowing, _, gradients| {
        for (of, other) in [(&a, &b), (&b, &a)] {
            gradients.change(of, |slope| {
                let count = rows * columns;
                let all = arguments![slope, flowing, other.memory(), count, word(columns)];
                flowing.card().launch_each("dots_back", count, all);
            });
        }
    })
}
