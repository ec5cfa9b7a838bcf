//! Activations on a GPU.

use super::Activation;
use crate::card::{Argument, Card, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// Applies the function to each element.
pub fn activate<T: Tape>(card: &Card, x: Tensor, tape: T, activation: Activation) -> Tensor<T> {
    let (which, slope) = match activation {
        Activation::Relu => (0, 0.0),
        Activation::LeakyRelu(slope) => (0, slope),
        Activation::Elu => (1, 0.0),
        Activation::Tanh => (2, 0.0),
    };
    let which = Argument::Word(which);
    let count = x.memory().length();
    let y = card.scratch(count);
    card.launch_each("activate", count, arguments![&y, x.memory(), count, which, slope]);
    record_on_card(tape, y, shape(&x), move |flowing, y, gradients| {
        gradients.change(&x, |dx| {
            let all = arguments![dx, flowing, y, count, which, slope];
            y.card().launch_each("activate_back", count, all);
        });
    })
}
