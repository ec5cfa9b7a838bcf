//! Concatenates columns on a GPU.

use crate::card::kernels::word;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// Appends the columns of `b` to those of `a`.
pub fn concatenate<T: Tape>(card: &Card, a: Tensor, b: Tensor, tape: T) -> Tensor<T> {
    let ((rows, left), (_, right)) = (shape(&a), shape(&b));
    let columns = left + right;
    let parts = [(a, 0, left), (b, left, right)];
    let y = card.scratch(rows * columns);
    for (x, start, width) in &parts {
        let (count, sizes) = (rows * width, [*width, *start, columns].map(word));
        let all = arguments![&y, x.memory(), count, sizes[0], sizes[1], sizes[2]];
        card.launch_each("place_columns", count, all);
    }
    record_on_card(tape, y, (rows, columns), move |flowing, _, gradients| {
        for (x, start, width) in &parts {
            let (count, sizes) = (rows * width, [*width, *start, columns].map(word));
            gradients.change(x, |dx| {
                let all = arguments![dx, flowing, count, sizes[0], sizes[1], sizes[2]];
                flowing.card().launch_each("add_columns", count, all);
            });
        }
    })
}
