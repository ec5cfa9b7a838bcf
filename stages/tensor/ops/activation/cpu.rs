//! Activations on the processor.

use super::Activation;
use crate::simd::{exp, vectorised};
use rayon::prelude::*;

/// The elements of one task.
const PIECE: usize = 1 << 14;

/// x = f(x), in place.
pub fn forward(x: &mut [f32], activation: Activation) {
    x.par_chunks_mut(PIECE).for_each(|x| match activation {
        Activation::Relu => leaky(x, 0.0),
        Activation::LeakyRelu(slope) => leaky(x, slope),
        Activation::Elu => elu(x),
        Activation::Tanh => tanh(x),
    });
}

/// dx += dy · f'(x), given y = f(x).
pub fn backward(dx: &mut [f32], dy: &[f32], y: &[f32], activation: Activation) {
    let pieces = dx.par_chunks_mut(PIECE).zip(dy.par_chunks(PIECE)).zip(y.par_chunks(PIECE));
    pieces.for_each(|((dx, dy), y)| match activation {
        Activation::Relu => leaky_backward(dx, dy, y, 0.0),
        Activation::LeakyRelu(slope) => leaky_backward(dx, dy, y, slope),
        Activation::Elu => elu_backward(dx, dy, y),
        Activation::Tanh => tanh_backward(dx, dy, y),
    });
}

vectorised! {
    fn leaky(x: &mut [f32], slope: f32) {
        x.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { slope * *x });
    }
}

vectorised! {
    fn elu(x: &mut [f32]) {
        x.iter_mut().for_each(|x| *x = if *x > 0.0 { *x } else { exp(*x) - 1.0 });
    }
}

vectorised! {
    fn tanh(x: &mut [f32]) {
        // 1 - 2 / (e^2x + 1). Beyond 20 the result rounds to 1, and e^2x would overflow.
        x.iter_mut().for_each(|x| *x = 1.0 - 2.0 / (exp(2.0 * x.clamp(-20.0, 20.0)) + 1.0));
    }
}

vectorised! {
    fn leaky_backward(dx: &mut [f32], dy: &[f32], y: &[f32], slope: f32) {
        for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
            *dx += if *y > 0.0 { *dy } else { slope * dy };
        }
    }
}

vectorised! {
    fn elu_backward(dx: &mut [f32], dy: &[f32], y: &[f32]) {
        for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
            *dx += if *y > 0.0 { *dy } else { dy * (y + 1.0) };
        }
    }
}

vectorised! {
    fn tanh_backward(dx: &mut [f32], dy: &[f32], y: &[f32]) {
        for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
            *dx += dy * (1.0 - y * y);
        }
    }
}
