//! Dot products of rows on the processor.

use crate::simd::{dot, vectorised};
use rayon::prelude::*;

/// The rows of one task.
const ROWS: usize = 256;

/// y_i = a_i · b_i.
pub fn forward(y: &mut [f32], a: &[f32], b: &[f32], columns: usize) {
    let columns = columns.max(1);
    y.par_chunks_mut(ROWS)
        .zip(a.par_chunks(ROWS * columns).zip(b.par_chunks(ROWS * columns)))
        .for_each(|(y, (a, b))| forward_piece(y, a, b, columns));
}

/// da_i += dy_i b_i.
pub fn backward(da: &mut [f32], dy: &[f32], b: &[f32], columns: usize) {
    let columns = columns.max(1);
    da.par_chunks_mut(ROWS * columns)
        .zip(dy.par_chunks(ROWS).zip(b.par_chunks(ROWS * columns)))
        .for_each(|(da, (dy, b))| backward_piece(da, dy, b, columns));
}

vectorised! {
    fn forward_piece(y: &mut [f32], a: &[f32], b: &[f32], columns: usize) {
        for (y, (a, b)) in y.iter_mut().zip(a.chunks_exact(columns).zip(b.chunks_exact(columns))) {
            *y = dot(a, b);
        }
    }
}

vectorised! {
    fn backward_piece(da: &mut [f32], dy: &[f32], b: &[f32], columns: usize) {
        for (da, (dy, b)) in da.chunks_exact_mut(columns).zip(dy.iter().zip(b.chunks_exact(columns))) {
            da.iter_mut().zip(b).for_each(|(da, b)| *da += dy * b);
        }
    }
}
