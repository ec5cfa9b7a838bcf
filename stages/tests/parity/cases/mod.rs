//! What a device is held against: every operation with its gradients, and steps of training, at sizes that leave no block
//! and no warp full. The program of `examples/gpu_check.rs` runs the same cases as the test.

mod graphs;
mod operations;
mod steps;

use data::random::Random;
use tensor::tape::{backward, gradient, put, record_scalar, take};
use tensor::{Device, Scalar, Taped, Tensor, tensor, values};

/// Numbers by what they are.
pub type Found = Vec<(String, Vec<f32>)>;

/// One thing to compare.
pub struct Case {
    /// What it is called in the table.
    pub name: &'static str,
    /// What it computes on a device.
    pub run: fn(&Device) -> Found,
}

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    [operations::CASES, graphs::CASES, steps::CASES].into_iter().flatten()
}

/// Standard normal numbers of a stream.
pub fn normal(length: usize, stream: u64) -> Vec<f32> {
    let mut random = Random::new(11, stream);
    (0..length).map(|_| random.normal() as f32).collect()
}

/// The largest difference relative to the largest value.
pub fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "as many numbers on every device");
    let size = expected.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let each = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
    // Where one is not a number, the error is none either.
    each.fold(0.0, |most: f64, one| if one.is_nan() || one > most { one } else { most }) / f64::from(size)
}

fn tokens(count: usize, of: u32) -> Vec<u32> {
    let mut random = Random::new(12, 0);
    // Zeros are most of a cell.
    (0..count).map(|_| if random.unit() < 0.7 { 0 } else { random.below(of as usize) as u32 }).collect()
}

fn leaf(tensor: &Tensor) -> Tensor<Taped> {
    tensor.retaped()
}

/// The values of a function, and the gradients of its inputs where each value weighs differently.
fn of(device: &Device, inputs: &[(usize, usize)], function: impl Fn(&[Tensor]) -> Tensor<Taped>) -> Found {
    let each = inputs.iter().zip(0..);
    let inputs: Vec<Tensor> = each
        .map(|((rows, columns), stream)| tensor(device, normal(rows * columns, stream), *rows, *columns))
        .collect();
    let (y, tape) = function(&inputs).split_tape();
    let weights = normal(values(&y).len(), 999);
    let sum: f32 = values(&y).iter().zip(&weights).map(|(y, weight)| y * weight).sum();
    let mut found = vec![("values".to_owned(), values(&y).to_vec())];
    let loss = record_scalar(tape, sum, move |flowing, gradients| {
        let mut dy = take(gradients, &y);
        dy.iter_mut().zip(&weights).for_each(|(dy, weight)| *dy += flowing * weight);
        put(gradients, &y, dy);
    });
    let mut gradients = backward(loss);
    found.extend(
        inputs.iter().zip(0..).map(|(x, number)| (format!("gradient {number}"), gradient(&mut gradients, x))),
    );
    found
}

fn of_scalar(loss: Scalar<Taped>, inputs: &[&Tensor]) -> Found {
    let mut found = vec![("loss".to_owned(), vec![loss[[]]])];
    let mut gradients = backward(loss);
    found.extend(inputs.iter().map(|x| ("gradient".to_owned(), gradient(&mut gradients, x))));
    found
}
