//! A step of Adam on the processor.

use super::{Config, Decay};
use crate::kit::tensor::simd::vectorised;
use rayon::prelude::*;

/// The elements of one task.
const PIECE: usize = 1 << 14;

/// What is the same for every element in one step.
#[derive(Clone, Copy)]
pub struct Factors {
    betas: (f32, f32),
    epsilon: f32,
    /// rate / (1 - β₁ᵗ).
    rate: f32,
    /// 1 / √(1 - β₂ᵗ).
    spread: f32,
    /// Added to the gradient, times the parameter.
    decay: f32,
    /// What remains of the parameter before it moves.
    keep: f32,
}

impl Factors {
    /// The factors of step `steps`, counted from 1.
    pub fn new(config: &Config, rate: f32, steps: u32) -> Factors {
        let Config { betas, epsilon, decay } = *config;
        let left = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(steps));
        let (decay, keep) = match decay {
            Decay::None => (0.0, 1.0),
            Decay::Loss(decay) => (decay, 1.0),
            Decay::Decoupled(decay) => (0.0, 1.0 - rate * decay),
        };
        let rate = (f64::from(rate) / left(betas.0)) as f32;
        Factors { betas, epsilon, rate, spread: (1.0 / left(betas.1).sqrt()) as f32, decay, keep }
    }
}

/// Moves every (parameter, gradient) pair.
pub fn step(factors: &Factors, parameters: &mut [(Vec<f32>, Vec<f32>)], moments: &mut [[Vec<f32>; 2]]) {
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
