//! How an operation of ours enters dfdx's tape.

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

/// A tape or none, as a type: operations are written once for training and inference.
pub trait Tape: dfdx::tensor::Tape<f32, dfdx::tensor::Cpu> + Merge<Self> {}

impl<T: dfdx::tensor::Tape<f32, dfdx::tensor::Cpu> + Merge<T>> Tape for T {}

thread_local! {
    /// The gradients of the tape that runs backwards on this thread. dfdx hands on its own, which hold vectors of
    /// the processor and nothing else; ours lie beside them for as long as the tape runs.
    static FLOWING: RefCell<Gradients> = RefCell::default();
}

fn on_the_way_back<T: Tape>(tape: &mut T, backward: impl FnOnce(&mut Gradients) + 'static) {
    tape.add_backward_op(move |_| {
        FLOWING.with_borrow_mut(backward);
        Ok(())
    });
}

/// The result of an operation; `backward` hears its gradient and adds to those of what it was made from.
pub fn record<T: Tape>(
    device: &Device,
    tape: T,
    values: Vec<f32>,
    shape: (usize, usize),
    backward: impl FnOnce(&[f32], &mut Gradients) + 'static,
) -> Tensor<T> {
    record_with_result(device, tape, values, shape, |flowing, _, gradients| backward(flowing, gradients))
}

/// The same where `backward` needs the result's values too.
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
            // Whoever used the result has run before, so its gradient is complete and nobody else's.
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

/// The same for a result of one number.
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

/// Takes a tensor's gradient out, zeros if nothing flowed to it, so that several can be written at once.
pub fn take(gradients: &mut Gradients, of: &Tensor) -> Vec<f32> {
    gradients.take(of)
}

/// The same where a product can be the first that flows: also says from what it then starts.
pub fn take_for_product(gradients: &mut Gradients, of: &Tensor) -> (Vec<f32>, Start<'static>) {
    let (slope, flowed) = gradients.take_or_scratch(of);
    (slope, if flowed { Start::Out } else { Start::Zero })
}

/// Adds one gradient to that of a tensor.
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

/// Puts a gradient back that was taken out.
pub fn put(gradients: &mut Gradients, of: &Tensor, gradient: Vec<f32>) {
    gradients.put(of, gradient);
}

/// Lets several gradients be added to at once. Prereq: different tensors.
pub fn add_to<const N: usize>(
    gradients: &mut Gradients,
    of: [&Tensor; N],
    add: impl FnOnce([&mut [f32]; N]),
) {
    let mut taken = of.map(|tensor| take(gradients, tensor));
    add(taken.each_mut().map(Vec::as_mut_slice));
    of.into_iter().zip(taken).for_each(|(tensor, gradient)| put(gradients, tensor, gradient));
}

/// The gradient of a tensor, a copy; zeros if nothing flowed to it.
pub fn gradient(gradients: &mut Gradients, of: &Tensor) -> Vec<f32> {
    assert!(!gradients.is_used_up(of), "the gradient of a result was used up when it flowed on");
    let found = take(gradients, of);
    put(gradients, of, found.clone());
    found
}

/// Runs the tape backwards from its end.
pub fn backward(loss: Scalar<super::Taped>) -> Gradients {
    let before = FLOWING.take();
    loss.backward();
    FLOWING.replace(before)
}
