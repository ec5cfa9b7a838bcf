//! A step of Adam on the processor.

use super::Factors;
use crate::simd::vectorised;
use rayon::prelude::*;

/// The elements of one task.
const PIECE: usize = 1 << 14;

/// Updates every (parameter, gradient) pair.
pub fn step(factors: &Factors, parameters: &mut [(Vec<f32>, Vec<f32>)], moments: &mut [&mut [Vec<f32>; 2]]) {
    let mut pieces = Vec::new();
    for ((parameter, gradient), [m, v]) in parameters.iter_mut().zip(moments) {
        let state = m.chunks_mut(PIECE).zip(v.chunks_mut(PIECE));
        pieces.extend(parameter.chunks_mut(PIECE).zip(gradient.chunks(PIECE)).zip(state));
    }
    pieces
        .into_par_iter()
        .for_each(|((parameter, gradient), (m, v))| piece(factors, parameter, gradient, m, v));
}

vectorised! {
    fn piece(factors: &Factors, parameter: &mut [f32], gradient: &[f32], m: &mut [f32], v: &mut [f32]) {
        let Factors { betas, epsilon, rate, spread, decay, keep } = *factors;
        for (((p, g), m), v) in parameter.iter_mut().zip(gradient).zip(m).zip(v) {
            let g = g + decay * *p;
            *m = betas.0 * *m + (1.0 - betas.0) * g;
            *v = betas.1 * *v + (1.0 - betas.1) * g * g;
            *p = keep * *p - rate * *m / (v.sqrt() * spread + epsilon);
        }
    }
}
