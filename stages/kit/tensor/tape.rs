//! How an operation of ours enters dfdx's tape.

use super::{Device, Gradients, Scalar, Tensor, buffer, shape, tensor};
use dfdx::shapes::Shape;
use dfdx::tensor::{Storage, TensorFromVec};
use dfdx::tensor_ops::Backward;

/// Take a tensor's tape off, and put one on: a result that is used twice hands its tape to one use.
pub use dfdx::tensor::{PutTape, SplitTape};

/// A tape or none, as a type: operations are written once for training and inference.
pub trait Tape: dfdx::tensor::Tape<f32, Device> + dfdx::tensor::Merge<Self> {}

impl<T: dfdx::tensor::Tape<f32, Device> + dfdx::tensor::Merge<T>> Tape for T {}

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
    values: Vec<f32>,
    (rows, columns): (usize, usize),
    backward: impl FnOnce(&[f32], &[f32], &mut Gradients) + 'static,
) -> Tensor<T> {
    let result = tensor(device, values, rows, columns);
    if T::OWNS_TAPE {
        let kept = result.clone();
        tape.add_backward_op(move |gradients| {
            // Whoever used the result has run before, so its gradient is complete and nobody else's.
            let gradient = take(gradients, &kept);
            // What `take` leaves, a buffer of no bytes, ends in dfdx's cache; one is taken out for each.
            std::mem::forget(Storage::<f32>::try_alloc_len(kept.device(), 0));
            backward(&gradient, super::values(&kept), gradients);
            buffer::recycle(kept.device(), gradient);
            Ok(())
        });
    }
    result.put_tape(tape)
}

/// The same for a result of one number.
pub fn record_scalar<T: Tape>(
    device: &Device,
    mut tape: T,
    value: f32,
    backward: impl FnOnce(f32, &mut Gradients) + 'static,
) -> Scalar<T> {
    let result: Scalar = device.tensor_from_vec(vec![value], ());
    if T::OWNS_TAPE {
        let kept = result.clone();
        tape.add_backward_op(move |gradients| {
            let gradient = gradients.get_or_alloc_mut(&kept)?[0];
            backward(gradient, gradients);
            Ok(())
        });
    }
    result.put_tape(tape)
}

/// Takes a tensor's gradient out, zeros if nothing flowed to it, so that several can be written at once.
pub fn take<S: Shape>(gradients: &mut Gradients, of: &dfdx::tensor::Tensor<S, f32, Device>) -> Vec<f32> {
    std::mem::take(gradients.get_or_alloc_mut(of).expect("dfdx allocates or aborts"))
}

/// Puts a gradient back that was taken out.
pub fn put<S: Shape>(
    gradients: &mut Gradients,
    of: &dfdx::tensor::Tensor<S, f32, Device>,
    gradient: Vec<f32>,
) {
    **gradients.get_or_alloc_mut(of).expect("dfdx allocates or aborts") = gradient;
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
    let (rows, columns) = shape(of);
    let found = gradients.get_or_alloc_mut(of).expect("dfdx allocates or aborts").to_vec();
    assert_eq!(found.len(), rows * columns, "the gradient of a result was used up when it flowed on");
    found
}

/// Runs the tape backwards from its end.
pub fn backward(loss: Scalar<super::Taped>) -> Gradients {
    loss.backward()
}
