//! Layer normalisation (Ba, Kiros and Hinton 2016).
//!
//! Over each row: x̂ = (x - mean) / √(variance + ε), y = g x̂ + b, the variance without Bessel's correction.
//! Backward: db = Σ dy, dg = Σ dy x̂ over rows; with h = g dy, dx = (h - mean(h) - x̂ mean(h x̂)) / √(variance + ε).

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// PyTorch's ε.
const EPSILON: f32 = 1e-5;

/// Normalises each row. Prereq: `gain` and `bias` are 1 x columns.
pub fn layer_norm<T: Tape>(x: Tensor<T>, gain: &Tensor, bias: &Tensor) -> Tensor<T> {
    let (rows, columns) = shape(&x);
    assert!([gain, bias].iter().all(|t| shape(t) == (1, columns)), "the gain and bias of a layer norm");
    let (x, tape) = x.split_tape();
    let (gain, bias) = (gain.clone(), bias.clone());
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::layer_norm(card, x, tape, gain, bias);
    }
    let mut y = buffer::scratch(&device, rows * columns);
    // Mean and reciprocal deviation of each row.
    let mut moments = buffer::scratch(&device, rows * 2);
    cpu::forward(&mut y, &mut moments, values(&x), values(&gain), values(&bias), EPSILON);
    record(&device, tape, y, (rows, columns), move |flowing, gradients| {
        let mut dx = take(gradients, &x);
        let (mut dg, mut db) = (take(gradients, &gain), take(gradients, &bias));
        cpu::backward(&mut dx, &mut dg, &mut db, values(&x), &moments, values(&gain), flowing);
        put(gradients, &x, dx);
        put(gradients, &gain, dg);
        put(gradients, &bias, db);
        buffer::recycle(x.device(), moments);
    })
}

#[cfg(test)]
mod tests {
    use super::layer_norm;
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{device, tensor, values};

    #[test]
    fn rows_have_mean_zero_and_deviation_one() {
        let device = device();
        let x: Vec<f32> = normal(70 * 37, 0).iter().map(|x| 3.0 * x + 100.0).collect();
        let (one, zero) = (tensor(&device, vec![1.0; 37], 1, 37), tensor(&device, vec![0.0; 37], 1, 37));
        let y = layer_norm(tensor(&device, x, 70, 37), &one, &zero);
        for row in values(&y).chunks_exact(37) {
            let mean = row.iter().sum::<f32>() / 37.0;
            let variance = row.iter().map(|y| (y - mean) * (y - mean)).sum::<f32>() / 37.0;
            // Values of size 100 have a rounding error of 8e-6; a deviation of 3 reduces it to 3e-6. ε is 1e-5 of a
            // variance of 9.
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        }
    }

    #[test]
    fn gain_and_bias_are_applied_by_column() {
        let device = device();
        let of = |gain: Vec<f32>, bias: Vec<f32>| {
            let (gain, bias) = (tensor(&device, gain, 1, 5), tensor(&device, bias, 1, 5));
            values(&layer_norm(tensor(&device, normal(10, 0), 2, 5), &gain, &bias)).to_vec()
        };
        let plain = of(vec![1.0; 5], vec![0.0; 5]);
        let expected: Vec<f32> = plain.iter().enumerate().map(|(i, y)| y * (i % 5) as f32 + 2.0).collect();
        assert!(difference(&of(vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![2.0; 5]), &expected) < 1e-6);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        check_gradients(&[(4, 20), (1, 20), (1, 20)], 2e-3, |t| {
            weighted_sum(layer_norm(t[0].retaped(), &t[1], &t[2]))
        });
    }
}
