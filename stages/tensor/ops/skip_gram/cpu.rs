//! A skip-gram step on the CPU.

use crate::simd::{dot, exp, vectorised};

vectorised! {
    /// Updates a word's vector and those of its contexts; the first of `chosen` is the true context.
    ///
    /// Prereq: `chosen` are rows of `contexts`, which have the length of `v`.
    pub fn step(v: &mut [f32], contexts: &mut [f32], chosen: &[u32], rate: f32) {
        let width = v.len();
        let mut moved = v.to_vec();
        for (number, context) in chosen.iter().enumerate() {
            let u = &mut contexts[*context as usize * width..][..width];
            let label = if number == 0 { 1.0 } else { 0.0 };
            let g = rate * (label - 1.0 / (1.0 + exp(-dot(v, u))));
            for ((moved, u), v) in moved.iter_mut().zip(u).zip(&*v) {
                *moved += g * *u;
                *u += g * v;
            }
        }
        v.copy_from_slice(&moved);
    }
}
