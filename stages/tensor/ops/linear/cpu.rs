//! The linear layer and GELU on the processor.

use crate::matrix::{View, ViewMut};
use crate::panels::{Panels, Start};
use crate::reduce::add;
use crate::simd::{erf, exp, vectorised};
use rayon::prelude::*;
use std::f32::consts::FRAC_1_SQRT_2;

/// Rows per task: nine tiles of a product, few enough to stay in the L2 cache.
const ROWS: usize = 126;

/// The elements of one task of an element-wise function.
const PIECE: usize = 1 << 14;

/// y = x Wᵀ + b, given Wᵀ.
pub fn linear(y: ViewMut, x: View, weight: &Panels, bias: Option<&[f32]>) {
    weight.multiply_parallel(y, x, start(bias));
}

/// y = r + x Wᵀ + b, given Wᵀ.
pub fn linear_add(y: ViewMut, x: View, weight: &Panels, bias: Option<&[f32]>, residual: View) {
    y.bands(ROWS).into_par_iter().enumerate().for_each(|(band, mut y)| {
        let rows = band * ROWS..band * ROWS + y.rows();
        weight.multiply(&mut y, x.part(rows.clone(), 0..x.columns()), start(bias));
        (0..y.rows()).for_each(|row| add(y.row(row), residual.row(rows.start + row)));
    });
}

/// y = GELU(x Wᵀ + b), given Wᵀ; `before` receives the input of GELU.
pub fn linear_gelu(y: ViewMut, before: Option<ViewMut>, x: View, weight: &Panels, bias: Option<&[f32]>) {
    let mut before = before.map(|before| before.bands(ROWS).into_iter());
    let bands: Vec<_> =
        y.bands(ROWS).into_iter().map(|y| (y, before.as_mut().and_then(Iterator::next))).collect();
    bands.into_par_iter().enumerate().for_each(|(band, (mut y, mut before))| {
        let rows = band * ROWS..band * ROWS + y.rows();
        weight.multiply(&mut y, x.part(rows, 0..x.columns()), start(bias));
        for row in 0..y.rows() {
            if let Some(before) = &mut before {
                before.row(row).copy_from_slice(y.row(row));
            }
            gelu(y.row(row));
        }
    });
}

fn start(bias: Option<&[f32]>) -> Start<'_> {
    bias.map_or(Start::Zero, Start::Row)
}

/// z = dy · GELU'(z), in place.
pub fn gelu_backward(z: &mut [f32], dy: &[f32]) {
    z.par_chunks_mut(PIECE).zip(dy.par_chunks(PIECE)).for_each(|(z, dy)| gelu_backward_piece(z, dy));
}

vectorised! {
    /// z = GELU(z), in place.
    fn gelu(z: &mut [f32]) {
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
