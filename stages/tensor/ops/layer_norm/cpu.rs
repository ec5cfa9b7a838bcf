//! Layer normalisation on the processor.

use crate::reduce::add;
use crate::simd::{dot, sum_of, vectorised};
use rayon::prelude::*;

/// The rows of one task; the sums of tasks are added in order.
const ROWS: usize = 128;

/// Fills in `y` and, for each row, its mean and reciprocal deviation.
pub fn forward(y: &mut [f32], moments: &mut [f32], x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let piece = ROWS * gain.len();
    y.par_chunks_mut(piece)
        .zip(moments.par_chunks_mut(ROWS * 2))
        .zip(x.par_chunks(piece))
        .for_each(|((y, moments), x)| forward_piece(y, moments, x, gain, bias, epsilon));
}

/// Adds to the three gradients.
pub fn backward(
    dx: &mut [f32],
    dg: &mut [f32],
    db: &mut [f32],
    x: &[f32],
    moments: &[f32],
    gain: &[f32],
    dy: &[f32],
) {
    let columns = gain.len();
    let piece = ROWS * columns;
    let partial: Vec<Vec<f32>> = dx
        .par_chunks_mut(piece)
        .zip(x.par_chunks(piece))
        .zip(moments.par_chunks(ROWS * 2))
        .zip(dy.par_chunks(piece))
        .map(|(((dx, x), moments), dy)| {
            let mut sums = vec![0.0; 2 * columns];
            backward_piece(dx, &mut sums, x, moments, gain, dy);
            sums
        })
        .collect();
    for sums in partial {
        add(dg, &sums[..columns]);
        add(db, &sums[columns..]);
    }
}

vectorised! {
    fn forward_piece(y: &mut [f32], moments: &mut [f32], x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32) {
        let columns = gain.len();
        let rows = y.chunks_exact_mut(columns).zip(moments.chunks_exact_mut(2)).zip(x.chunks_exact(columns));
        for ((y, moments), x) in rows {
            let mean = sum_of(x, x, |x, _| x) / columns as f32;
            let variance = sum_of(x, x, |x, _| (x - mean) * (x - mean)) / columns as f32;
            let scale = 1.0 / (variance + epsilon).sqrt();
            moments[0] = mean;
            moments[1] = scale;
            for (((y, x), gain), bias) in y.iter_mut().zip(x).zip(gain).zip(bias) {
                *y = (x - mean) * scale * gain + bias;
            }
        }
    }
}

vectorised! {
    fn backward_piece(dx: &mut [f32], sums: &mut [f32], x: &[f32], moments: &[f32], gain: &[f32], dy: &[f32]) {
        let columns = gain.len();
        let (dg, db) = sums.split_at_mut(columns);
        let mut normal = vec![0.0f32; columns];
        let rows = dx.chunks_exact_mut(columns).zip(x.chunks_exact(columns)).zip(moments.chunks_exact(2));
        for (((dx, x), moments), dy) in rows.zip(dy.chunks_exact(columns)) {
            let (mean, scale) = (moments[0], moments[1]);
            for ((normal, x), dy) in normal.iter_mut().zip(x).zip(dy) {
                *normal = dy * ((x - mean) * scale);
            }
            for (dg, normal) in dg.iter_mut().zip(&normal) {
                *dg += normal;
            }
            for (db, dy) in db.iter_mut().zip(dy) {
                *db += dy;
            }
            let mean_h = dot(gain, dy) / columns as f32;
            let mean_h_normal = dot(gain, &normal) / columns as f32;
            for (((dx, x), gain), dy) in dx.iter_mut().zip(x).zip(gain).zip(dy) {
                *dx += scale * (gain * dy - mean_h - (x - mean) * scale * mean_h_normal);
            }
        }
    }
}
