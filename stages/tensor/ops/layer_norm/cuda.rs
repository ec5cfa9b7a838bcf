//! Layer normalisation on a GPU: one warp per row.

use super::EPSILON;
use crate::card::kernels::{add_from, add_pieces, cut_rows, word};
use crate::card::{Card, Memory, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Gradients, Tensor, shape};

/// Normalises each row.
pub fn layer_norm<T: Tape>(card: &Card, x: Tensor, tape: T, gain: Tensor, bias: Tensor) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    let (y, moments) = (card.scratch(rows * columns), card.scratch(rows * 2));
    let of = [x.memory(), gain.memory(), bias.memory()];
    let forward = arguments![&y, &moments, of[0], of[1], of[2], rows, word(columns), EPSILON];
    card.launch_rows("layer_norm", rows, forward);
    record_on_card(tape, y, (rows, columns), move |flowing, _, gradients| {
        backward([&x, &gain, &bias], &moments, flowing, gradients);
    })
}

fn backward([x, gain, bias]: [&Tensor; 3], moments: &Memory, dy: &Memory, gradients: &mut Gradients) {
    let ((rows, columns), card) = (shape(x), dy.card());
    gradients.change(x, |dx| {
        let of_rows = arguments![dx, x.memory(), moments, gain.memory(), dy, rows, word(columns)];
        card.launch_rows("layer_norm_back", rows, of_rows);
    });
    // The sums for gain and bias lie side by side.
    let (pieces, piece) = cut_rows(rows);
    let of_pieces = card.scratch(pieces * 2 * columns);
    let cut = arguments![&of_pieces, x.memory(), moments, dy, rows, word(columns), pieces, word(piece)];
    card.launch_each("layer_norm_pieces", pieces * columns, cut);
    let mut both = card.zeros(2 * columns);
    add_pieces(&mut both, &of_pieces, pieces);
    for (of, start) in [(gain, 0), (bias, columns)] {
        gradients.change(of, |slope| add_from(slope, &both, start));
    }
}
