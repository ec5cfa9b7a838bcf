//! The mean over heads on a GPU.

use crate::card::kernels::word;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// The mean over `heads`.
pub fn mean_heads<T: Tape>(card: &Card, x: Tensor, tape: T, heads: usize) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    let width = columns / heads;
    let y = card.scratch(rows * width);
    let all = arguments![&y, x.memory(), rows * width, word(width), word(heads)];
    card.launch_each("mean_heads", rows * width, all);
    record_on_card(tape, y, (rows, width), move |flowing, _, gradients| {
        gradients.change(&x, |dx| {
            let all = arguments![dx, flowing, rows * columns, word(width), word(heads)];
            flowing.card().launch_each("mean_heads_back", rows * columns, all);
        });
    })
}
