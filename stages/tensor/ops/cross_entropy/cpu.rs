//! Softmax and cross-entropy on the processor.

use crate::simd::{exp, largest, sum_of, vectorised};
use rayon::prelude::*;

/// The rows of one task; the sums of tasks are added in order.
const ROWS: usize = 256;

/// Returns the loss and replaces the logits by their gradients.
pub fn cross_entropy(logits: &mut [f32], columns: usize, targets: &[u32]) -> f32 {
    let counted = targets.iter().filter(|target| (**target as usize) < columns).count();
    if counted == 0 {
        logits.fill(0.0);
        return 0.0;
    }
    let sums: Vec<f64> = logits
        .par_chunks_mut(ROWS * columns)
        .zip(targets.par_chunks(ROWS))
        .map(|(logits, targets)| piece(logits, columns, targets, 1.0 / counted as f32))
        .collect();
    (sums.iter().sum::<f64>() / counted as f64) as f32
}

/// a += factor · b.
pub fn add_scaled(a: &mut [f32], factor: f32, b: &[f32]) {
    a.par_chunks_mut(1 << 15).zip(b.par_chunks(1 << 15)).for_each(|(a, b)| add_scaled_piece(a, factor, b));
}

vectorised! {
    fn piece(logits: &mut [f32], columns: usize, targets: &[u32], weight: f32) -> f64 {
        let mut loss = 0.0;
        for (row, target) in logits.chunks_exact_mut(columns).zip(targets) {
            let Some(aimed_at) = row.get(*target as usize).copied() else {
                row.fill(0.0);
                continue;
            };
            let most = largest(row);
            row.iter_mut().for_each(|z| *z = exp(*z - most));
            let total = sum_of(row, row, |z, _| z);
            loss += f64::from(most - aimed_at) + libm::log(f64::from(total));
            row.iter_mut().for_each(|z| *z *= weight / total);
            row[*target as usize] -= weight;
        }
        loss
    }
}

vectorised! {
    fn add_scaled_piece(a: &mut [f32], factor: f32, b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += factor * b;
        }
    }
}
