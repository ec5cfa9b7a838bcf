//! Normalisation to unit length on the CPU.

use super::EPSILON;
use crate::simd::{dot, vectorised};
use rayon::prelude::*;

/// The runs of one task.
const RUNS: usize = 256;

/// y holds x on entry and x / |x| on return; `lengths` are set to |x|.
pub fn forward(y: &mut [f32], lengths: &mut [f32], width: usize) {
    y.par_chunks_mut(RUNS * width)
        .zip(lengths.par_chunks_mut(RUNS))
        .for_each(|(y, lengths)| forward_piece(y, lengths, width));
}

/// dx += (dy - y (y · dy)) / |x|.
pub fn backward(dx: &mut [f32], dy: &[f32], y: &[f32], lengths: &[f32], width: usize) {
    dx.par_chunks_mut(RUNS * width)
        .zip(dy.par_chunks(RUNS * width))
        .zip(y.par_chunks(RUNS * width).zip(lengths.par_chunks(RUNS)))
        .for_each(|((dx, dy), (y, lengths))| backward_piece(dx, dy, y, lengths, width));
}

vectorised! {
    fn forward_piece(y: &mut [f32], lengths: &mut [f32], width: usize) {
        for (y, length) in y.chunks_exact_mut(width).zip(lengths) {
            *length = dot(y, y).sqrt();
            let factor = 1.0 / length.max(EPSILON);
            y.iter_mut().for_each(|y| *y *= factor);
        }
    }
}

vectorised! {
    fn backward_piece(dx: &mut [f32], dy: &[f32], y: &[f32], lengths: &[f32], width: usize) {
        let runs = dx.chunks_exact_mut(width).zip(dy.chunks_exact(width)).zip(y.chunks_exact(width));
        for (((dx, dy), y), length) in runs.zip(lengths) {
            // Below ε the divisor is constant.
            let along = if *length > EPSILON { dot(y, dy) } else { 0.0 };
            let factor = 1.0 / length.max(EPSILON);
            for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
                *dx += factor * (dy - y * along);
            }
        }
    }
}
