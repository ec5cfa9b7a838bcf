//! Random features for FAVOR+: rows that are orthogonal within blocks, with the lengths of Gaussian vectors.
//!
//! Orthogonal rows estimate the softmax kernel with less variance (Choromanski et al. 2021, theorem 2).

use data::random::Random;

/// Draws `count` rows of this width.
pub fn features(random: &mut Random, count: usize, width: usize) -> Vec<f32> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(count);
    while rows.len() < count {
        let block = orthonormal(random, width);
        rows.extend(block.into_iter().take(count - rows.len()));
    }
    for row in &mut rows {
        let length = gaussian(random, width).iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x *= length);
    }
    rows.into_iter().flatten().map(|x| x as f32).collect()
}

/// A uniformly distributed orthonormal matrix: Gaussian rows, orthonormalised by Gram and Schmidt.
fn orthonormal(random: &mut Random, width: usize) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(width);
    while rows.len() < width {
        let mut row = gaussian(random, width);
        // Twice, because the error of a single pass grows with each row.
        for _ in 0..2 {
            for earlier in &rows {
                let along: f64 = row.iter().zip(earlier).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(earlier).for_each(|(a, b)| *a -= along * b);
            }
        }
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
        rows.push(row);
    }
    rows
}

fn gaussian(random: &mut Random, width: usize) -> Vec<f64> {
    (0..width).map(|_| random.normal()).collect()
}

#[cfg(test)]
mod tests {
    use super::features;
    use data::random::Random;

    #[test]
    fn rows_of_a_block_are_orthogonal_and_as_long_as_gaussian_ones() {
        let rows = features(&mut Random::new(1, 0), 266, 64);
        let row = |i: usize| &rows[i * 64..][..64];
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for (a, b) in [(0, 1), (0, 63), (64, 127), (256, 265)] {
            assert!(dot(row(a), row(b)).abs() < 1e-4, "{a} {b}");
        }
        assert!(dot(row(0), row(64)).abs() > 1e-4);
        let mean = (0..266).map(|i| dot(row(i), row(i))).sum::<f32>() / 266.0;
        // Five standard errors of a mean of 266 chi-squared draws with 64 degrees of freedom.
        assert!((mean - 64.0).abs() < 3.5, "{mean}");
    }
}
