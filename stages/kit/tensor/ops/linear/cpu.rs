//! The linear layer and GELU on the processor.

use crate::kit::tensor::gemm::multiply;
use crate::kit::tensor::matrix::{View, ViewMut};
use crate::kit::tensor::reduce::add;
use crate::kit::tensor::simd::{erf, exp, vectorised};
use rayon::prelude::*;
use std::f32::consts::FRAC_1_SQRT_2;

/// The rows of one task: enough to pay for packing the weights, few enough to stay in the second-level cache.
const ROWS: usize = 128;

/// The least rows of a product.
///
/// Up to 64 rows the library sums in another order, so that a row would depend on how many come with it; and a
/// cell's encoding on its batch mates.
const LEAST_ROWS: usize = 65;

/// The elements of one task of an element-wise function.
const PIECE: usize = 1 << 14;

/// The columns of W that one task of turning it takes.
const TURNED: usize = 16;

/// Wᵀ, row after row.
pub fn turn(turned: &mut [f32], weight: View) {
    let outputs = weight.rows();
    turned.par_chunks_mut(TURNED * outputs.max(1)).enumerate().for_each(|(band, turned)| {
        let columns = band * TURNED..band * TURNED + turned.len() / outputs;
        weight.part(0..outputs, columns).transposed_into(turned);
    });
}

/// y = x Wᵀ + b, given Wᵀ; a row of y is the same bits whatever the other rows are.
pub fn linear(mut y: ViewMut, x: View, weight: View, bias: Option<&[f32]>) {
    let (rows, inputs, outputs) = (x.rows(), x.columns(), weight.columns());
    if rows < LEAST_ROWS {
        let (mut padded_x, mut padded_y) = (vec![0.0; LEAST_ROWS * inputs], vec![0.0; LEAST_ROWS * outputs]);
        for row in 0..rows {
            padded_x[row * inputs..][..inputs].copy_from_slice(x.row(row));
        }
        let padded_x = View::new(&padded_x, LEAST_ROWS, inputs);
        linear(ViewMut::new(&mut padded_y, LEAST_ROWS, outputs), padded_x, weight, bias);
        for row in 0..rows {
            y.row(row).copy_from_slice(&padded_y[row * outputs..][..outputs]);
        }
        return;
    }
    y.bands(ROWS).into_par_iter().enumerate().for_each(|(band, mut y)| {
        let rows = band * ROWS..band * ROWS + y.rows();
        multiply(&mut y, 0.0, 1.0, x.part(rows, 0..inputs), weight);
        if let Some(bias) = bias {
            (0..y.rows()).for_each(|row| add(y.row(row), bias));
        }
    });
}

/// z becomes GELU(z).
pub fn gelu(z: &mut [f32]) {
    z.par_chunks_mut(PIECE).for_each(gelu_piece);
}

/// z becomes dy · GELU'(z).
pub fn gelu_backward(z: &mut [f32], dy: &[f32]) {
    z.par_chunks_mut(PIECE).zip(dy.par_chunks(PIECE)).for_each(|(z, dy)| gelu_backward_piece(z, dy));
}

vectorised! {
    fn gelu_piece(z: &mut [f32]) {
        for z in z {
            *z *= 0.5 + 0.5 * erf(*z * FRAC_1_SQRT_2);
        }
    }
}

vectorised! {
    fn gelu_backward_piece(z: &mut [f32], dy: &[f32]) {
        // 1 / √(2π).
        const DENSITY: f32 = 0.398_942_3;
        for (z, dy) in z.iter_mut().zip(dy) {
            let below = 0.5 + 0.5 * erf(*z * FRAC_1_SQRT_2);
            *z = dy * (below + *z * DENSITY * exp(-0.5 * *z * *z));
        }
    }
}
