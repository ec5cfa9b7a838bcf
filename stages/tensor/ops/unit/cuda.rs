//! Normalisation to unit length on a GPU: one warp per run.

use super::EPSILON;
use crate::card::kernels::word;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// Normalises each run of `width` columns to length 1.
pub fn unit<T: Tape>(card: &Card, x: Tensor, tape: T, width: usize) -> Tensor<T> {
    let runs = x.memory().length() / width;
    let (y, lengths) = (card.scratch(runs * width), card.scratch(runs));
    card.launch_rows("unit", runs, arguments![&y, &lengths, x.memory(), runs, word(width), EPSILON]);
    record_on_card(tape, y, shape(&x), move |flowing, y, gradients| {
        gradients.change(&x, |dx| {
            let all = arguments![dx, flowing, y, &lengths, runs, word(width), EPSILON];
            flowing.card().launch_rows("unit_back", runs, all);
        });
    })
}
