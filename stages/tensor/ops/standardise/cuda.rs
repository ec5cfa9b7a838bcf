//! Standardised rows on a GPU.

use super::Moments;
use crate::card::kernels::word;
use crate::card::{Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// The standardised rows in this order; `None` counts as a row of zeros.
pub fn standardise<T: Tape>(
    card: &Card,
    x: Tensor,
    tape: T,
    rows: &[Option<u32>],
    moments: &Moments,
) -> Tensor<T> {
    let ((height, columns), count) = (shape(&x), rows.len() * shape(&x).1);
    // An index beyond the last row stands for `None`.
    let taken = card.upload_words(&rows.iter().map(|row| row.unwrap_or(u32::MAX)).collect::<Vec<_>>());
    // The mean as two 32-bit floats: the rounded value and the remainder.
    let numbers = moments.columns.iter().flat_map(|(mean, scale)| {
        let first = *mean as f32;
        [first, (mean - f64::from(first)) as f32, *scale as f32]
    });
    let moments = card.upload(&numbers.collect::<Vec<_>>());
    let y = card.scratch(count);
    let all = arguments![&y, x.memory(), &taken, &moments, count, word(columns), word(height)];
    card.launch_each("standardise", count, all);
    record_on_card(tape, y, (rows.len(), columns), move |flowing, _, gradients| {
        gradients.change(&x, |dx| {
            let all = arguments![dx, flowing, &taken, &moments, count, word(columns), word(height)];
            flowing.card().launch_each("standardise_back", count, all);
        });
    })
}
