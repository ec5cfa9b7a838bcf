//! Addition on a GPU.

use crate::card::kernels;
use crate::tape::{Tape, record_on_card};
use crate::{Tensor, shape};

/// y = a + b; `a` and `b` may be the same tensor.
pub fn add<T: Tape>(a: Tensor, b: Tensor, tape: T) -> Tensor<T> {
    let mut sum = a.memory().copy();
    kernels::add(&mut sum, b.memory());
    record_on_card(tape, sum, shape(&a), move |flowing, _, gradients| {
        for end in [&a, &b] {
            gradients.change(end, |gradient| kernels::add(gradient, flowing));
        }
    })
}
