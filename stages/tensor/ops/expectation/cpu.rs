//! Expected columns on the processor.

use std::ops::Range;

/// Returns the sum of the rows' expected columns, and writes its derivative by each logit. Prereq: `slopes` are zeros.
pub fn expectation(logits: &[f32], width: usize, columns: Range<usize>, slopes: &mut [f32]) -> f64 {
    let mut sum = 0.0;
    for (row, slopes) in logits.chunks_exact(width).zip(slopes.chunks_exact_mut(width)) {
        let row = &row[columns.clone()];
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = row.iter().map(|z| libm::exp(f64::from(z - most))).collect();
        let total: f64 = weights.iter().sum();
        let weighed = columns.clone().zip(&weights).map(|(column, weight)| column as f64 * weight);
        let expected = weighed.sum::<f64>() / total;
        for (column, weight) in columns.clone().zip(&weights) {
            slopes[column] = (weight / total * (column as f64 - expected)) as f32;
        }
        sum += expected;
    }
    sum
}
