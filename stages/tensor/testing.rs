//! Helpers for the tests of operations.

use super::tape::{backward, gradient, record_scalar};
use super::{Scalar, Taped, Tensor, device, shape, tape, tensor, values};
use data::random::Random;

/// Standard normal values.
pub fn normal(length: usize, stream: u64) -> Vec<f32> {
    let mut random = Random::new(3, stream);
    (0..length).map(|_| random.normal() as f32).collect()
}

/// The largest absolute difference between two slices of equal length.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Σ weight · value, so that each value has a different gradient.
pub fn weighted_sum<T: tape::Tape>(x: Tensor<T>) -> Scalar<T> {
    let (x, tape) = x.split_tape();
    let weights = normal(values(&x).len(), 999);
    let sum: f64 = values(&x).iter().zip(&weights).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
    record_scalar(tape, sum as f32, move |flowing, gradients| {
        let mut gradient = tape::take(gradients, &x);
        gradient.iter_mut().zip(&weights).for_each(|(gradient, weight)| *gradient += flowing * weight);
        tape::put(gradients, &x, gradient);
    })
}

/// Compares the gradients of a function's inputs with central differences.
///
/// `inputs` are the shapes of inputs with standard normal values. The step is a hundredth, where the errors of rounding
/// (1e-7 of the result over the step) and of curvature (the square of the step) are about equal. `limit` is relative to
/// the largest difference of each input.
pub fn check_gradients(inputs: &[(usize, usize)], limit: f32, function: impl Fn(&[Tensor]) -> Scalar<Taped>) {
    let device = device();
    let start: Vec<Vec<f32>> =
        inputs.iter().enumerate().map(|(i, (rows, columns))| normal(rows * columns, i as u64)).collect();
    let tensors = |values: &[Vec<f32>]| -> Vec<Tensor> {
        values
            .iter()
            .zip(inputs)
            .map(|(v, (rows, columns))| tensor(&device, v.clone(), *rows, *columns))
            .collect()
    };
    let given = tensors(&start);
    let mut gradients = backward(function(&given));
    for (input, of) in given.iter().enumerate() {
        let found = gradient(&mut gradients, of);
        let at = |element: usize, moved: f32| -> f64 {
            let mut values = start.clone();
            values[input][element] += moved;
            f64::from(function(&tensors(&values))[[]])
        };
        const STEP: f32 = 1e-2;
        let expected: Vec<f32> = (0..found.len())
            .map(|i| ((at(i, STEP) - at(i, -STEP)) / (2.0 * f64::from(STEP))) as f32)
            .collect();
        let size = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let error = difference(&found, &expected);
        let (rows, columns) = shape(of);
        assert!(error <= limit * size, "input {input} ({rows} x {columns}): {error} of {size}");
    }
}
