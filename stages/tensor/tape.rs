//! Records our operations on dfdx's tape.

use super::card::Memory;
use super::gradients::Gradients;
use super::panels::Start;
use super::reduce::add;
use super::{Device, Scalar, Tensor, buffer, tensor, values};
pub use dfdx::tensor::Merge;
use dfdx::tensor::{PutTape, TensorFromVec};
use dfdx::tensor_ops::Backward;
use rayon::prelude::*;
use std::cell::RefCell;

/// The elements of one task.
const PIECE: usize = 1 << 15;

/// Either a tape or none, as a type: each operation is written once for training and inference.
pub trait Tape: dfdx::tensor::Tape<f32, dfdx::tensor::Cpu> + Merge<Self> {}

impl<T: dfdx::tensor::Tape<f32, dfdx::tensor::Cpu> + Merge<T>> Tape for T {}

thread_local! {
    /// The gradients of the backward pass that is running on this thread. dfdx passes along its own gradients, which
    /// can only hold CPU vectors, so ours are kept here for the duration of the pass.
    static FLOWING: RefCell<Gradients> = RefCell::default();
}

fn on_the_way_back<T: Tape>(tape: &mut T, backward: impl FnOnce(&mut Gradients) + 'static) {
    tape.add_backward_op(move |_| {
        FLOWING.with_borrow_mut(backward);
        Ok(())
    });
}

/// Records an operation and returns its result. `backward` gets the result's gradient and adds to those of the inputs.
pub fn record<T: Tape>(
    device: &Device,
    tape: T,
    values: Vec<f32>,
    shape: (usize, usize),
    backward: impl FnOnce(&[f32], &mut Gradients) + 'static,
) -> Tensor<T> {
    record_with_result(device, tape, values, shape, |flowing, _, gradients| backward(flowing, gradients))
}

/// The same, if `backward` also needs the result's values.
pub fn record_with_result<T: Tape>(
    device: &Device,
    mut tape: T,
    of_result: Vec<f32>,
    (rows, columns): (usize, usize),
    backward: impl FnOnce(&[f32], &[f32], &mut Gradients) + 'static,
) -> Tensor<T> {
    let result = tensor(device, of_result, rows, columns);
    if T::OWNS_TAPE {
        let kept = result.clone();
        on_the_way_back(&mut tape, move |gradients| {
            // Everything that used the result has already run backwards, so its gradient is complete and can be taken.
            let gradient = take(gradients, &kept);
            backward(&gradient, values(&kept), gradients);
            buffer::recycle(kept.device(), gradient);
        });
    }
    result.put_tape(tape)
}

/// The same for a result on a card.
pub fn record_on_card<T: Tape>(
    mut tape: T,
    of_result: Memory,
    shape: (usize, usize),
    backward: impl FnOnce(&Memory, &Memory, &mut Gradients) + 'static,
) -> Tensor<T> {
    let result = Tensor::on_card(of_result, shape);
    if T::OWNS_TAPE {
        let kept = result.clone();
        on_the_way_back(&mut tape, move |gradients| {
            let gradient = gradients.take_memory(&kept);
            backward(&gradient, kept.memory(), gradients);
        });
    }
    result.put_tape(tape)
}

/// The same for a scalar result.
pub fn record_scalar<T: Tape>(
    mut tape: T,
    value: f32,
    backward: impl FnOnce(f32, &mut Gradients) + 'static,
) -> Scalar<T> {
    let result: Scalar = dfdx::tensor::Cpu::default().tensor_from_vec(vec![value], ());
    if T::OWNS_TAPE {
        let kept = result.clone();
        tape.add_backward_op(move |of_numbers| {
            let gradient = of_numbers.get_or_alloc_mut(&kept)?[0];
            FLOWING.with_borrow_mut(|gradients| backward(gradient, gradients));
            Ok(())
        });
    }
    PutTape::put_tape(result, tape)
}

/// Takes a tensor's gradient out, zeros if none was added, so that several gradients can be written at once.
pub fn take(gradients: &mut Gradients, of: &Tensor) -> Vec<f32> {
    gradients.take(of)
}

/// The same for a gradient that a product adds to: also returns what the product starts from, so that a first gradient
/// need not be zeroed.
pub fn take_for_product(gradients: &mut Gradients, of: &Tensor) -> (Vec<f32>, Start<'static>) {
    let (slope, flowed) = gradients.take_or_scratch(of);
    (slope, if flowed { Start::Out } else { Start::Zero })
}

/// Adds a contribution to a tensor's gradient.
pub fn flow_on(gradients: &mut Gradients, of: &Tensor, flowing: &[f32]) {
    let (mut slope, flowed) = gradients.take_or_scratch(of);
    if flowed {
        slope.par_chunks_mut(PIECE).zip(flowing.par_chunks(PIECE)).for_each(|(slope, more)| add(slope, more));
    } else {
        slope
            .par_chunks_mut(PIECE)
            .zip(flowing.par_chunks(PIECE))
            .for_each(|(slope, first)| slope.copy_from_slice(first));
    }
    put(gradients, of, slope);
}

/// Puts back a gradient that was taken out.
pub fn put(gradients: &mut Gradients, of: &Tensor, gradient: Vec<f32>) {
    gradients.put(of, gradient);
}

/// Adds to several gradients at once. Prereq: the tensors are different.
pub fn add_to<const N: usize>(
    gradients: &mut Gradients,
    of: [&Tensor; N],
    add: impl FnOnce([&mut [f32]; N]),
) {
    let mut taken = of.map(|tensor| take(gradients, tensor));
    add(taken.each_mut().map(Vec::as_mut_slice));
    of.into_iter().zip(taken).for_each(|(tensor, gradient)| put(gradients, tensor, gradient));
}

/// A copy of a tensor's gradient; zeros if none was added.
pub fn gradient(gradients: &mut Gradients, of: &Tensor) -> Vec<f32> {
    assert!(!gradients.is_used_up(of), "the gradient of a result was used up when it flowed on");
    let found = take(gradients, of);
    put(gradients, of, found.clone());
    found
}

/// Runs the backward pass from the loss.
pub fn backward(loss: Scalar<super::Taped>) -> Gradients {
    let before = FLOWING.take();
    loss.backward();
    FLOWING.replace(before)
}
