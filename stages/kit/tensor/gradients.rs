//! The gradients of all parameters as one long vector.

use super::simd::{sum_of, vectorised};
use super::tape::{put, take};
use super::{Gradients, Tensor, buffer};
use rayon::prelude::*;

/// The elements of one task; the sums of tasks are added in order.
const PIECE: usize = 1 << 14;

/// Its Euclidean length; not finite where an element is not.
pub fn norm(gradients: &mut Gradients, parameters: &[&mut Tensor]) -> f64 {
    let mut sum = 0.0;
    for parameter in parameters {
        let gradient = take(gradients, parameter);
        let squares: Vec<f32> = gradient.par_chunks(PIECE).map(sum_of_squares).collect();
        sum += squares.into_iter().map(f64::from).sum::<f64>();
        put(gradients, parameter, gradient);
    }
    sum.sqrt()
}

/// Multiplies it by a factor.
pub fn scale(gradients: &mut Gradients, parameters: &[&mut Tensor], factor: f32) {
    for parameter in parameters {
        let mut gradient = take(gradients, parameter);
        gradient.par_chunks_mut(PIECE).for_each(|piece| scale_piece(piece, factor));
        put(gradients, parameter, gradient);
    }
}

/// Adds another one, and frees that.
pub fn add(gradients: &mut Gradients, mut other: Gradients, parameters: &[&mut Tensor]) {
    for parameter in parameters {
        let (mut sum, more) = (take(gradients, parameter), take(&mut other, parameter));
        sum.par_chunks_mut(PIECE)
            .zip(more.par_chunks(PIECE))
            .for_each(|(sum, more)| super::reduce::add(sum, more));
        put(gradients, parameter, sum);
        buffer::recycle(parameter.device(), more);
    }
}

vectorised! {
    fn sum_of_squares(values: &[f32]) -> f32 {
        sum_of(values, values, |a, b| a * b)
    }
}

vectorised! {
    fn scale_piece(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{add, norm, scale};
    use crate::kit::tensor::tape::{backward, gradient};
    use crate::kit::tensor::testing::{normal, weighted_sum};
    use crate::kit::tensor::{Taped, device, tensor};

    #[test]
    fn two_batches_add_up_and_are_cut_to_a_length() {
        let device = device();
        let mut a = tensor(&device, normal(40_000, 0), 200, 200);
        let gradients = || backward(weighted_sum(a.retaped::<Taped>()));
        let (mut sum, more) = (gradients(), gradients());
        let parameters = [&mut a];
        let one = norm(&mut sum, &parameters);
        add(&mut sum, more, &parameters);
        let two = norm(&mut sum, &parameters);
        let expected = normal(40_000, 999).iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
        assert!((one / expected - 1.0).abs() < 1e-6 && (two / expected - 2.0).abs() < 1e-6, "{one} {two}");
        scale(&mut sum, &parameters, (1.0 / two) as f32);
        assert!((norm(&mut sum, &parameters) - 1.0).abs() < 1e-6);
        assert_eq!(gradient(&mut sum, &a).len(), 40_000);
    }
}
