//! Binary cross-entropy on the processor.

use rayon::prelude::*;

/// The pairs of one task; the sums of tasks are added in order.
const PIECE: usize = 1 << 12;

/// Returns the loss and replaces the logits by their gradients.
pub fn binary_cross_entropy(logits: &mut [f32], labels: &[bool], positive_weight: f32) -> f32 {
    let count = logits.len() as f64;
    let piece = |(logits, labels): (&mut [f32], &[bool])| -> f64 {
        let mut sum = 0.0;
        for (z, label) in logits.iter_mut().zip(labels) {
            let (x, y) = (f64::from(*z), f64::from(u8::from(*label)));
            let weight = if *label { f64::from(positive_weight) } else { 1.0 };
            let small = libm::exp(-x.abs());
            sum += weight * (x.max(0.0) - y * x + libm::log1p(small));
            let probability = if x > 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
            *z = (weight * (probability - y) / count) as f32;
        }
        sum
    };
    let sums: Vec<f64> = logits.par_chunks_mut(PIECE).zip(labels.par_chunks(PIECE)).map(piece).collect();
    (sums.iter().sum::<f64>() / count) as f32
}
