//! Dropout on a GPU, with the same draws as on the CPU, bit for bit.

use super::{factor, threshold};
use crate::card::{Argument, Card, Memory, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// Drops a share `rate` of the elements.
pub fn dropout<T: Tape>(card: &Card, x: Tensor, tape: T, rate: f32, key: u64) -> Tensor<T> {
    let y = card.zeros(x.memory().length());
    add_kept(&y, x.memory(), rate, key);
    record_on_card(tape, y, shape(&x), move |flowing, _, gradients| {
        gradients.change(&x, |dx| add_kept(dx, flowing, rate, key));
    })
}

/// y_i += x_i / (1 - rate) for each element i that is kept.
pub fn add_kept(y: &Memory, x: &Memory, rate: f32, key: u64) {
    let (count, threshold) = (y.length(), Argument::Word(threshold(rate)));
    let kept = arguments![y, x, count, factor(rate), threshold, Argument::Count(key)];
    y.card().launch_each("add_kept", count, kept);
}
