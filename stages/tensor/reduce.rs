//! Sums over rows, with the same result on any number of threads.

use super::matrix::View;
use super::simd::vectorised;
use rayon::prelude::*;

/// Rows summed per task; the tasks' sums are added in order.
const ROWS: usize = 256;

/// sums_j += Σ_i data_ij.
pub fn add_column_sums(sums: &mut [f32], data: &[f32]) {
    let columns = sums.len();
    if columns == 0 {
        return;
    }
    let partial: Vec<Vec<f32>> =
        data.par_chunks(ROWS * columns).map(|rows| sum_rows(rows, columns)).collect();
    for partial in partial {
        add(sums, &partial);
    }
}

fn sum_rows(rows: &[f32], columns: usize) -> Vec<f32> {
    let mut sums = vec![0.0; columns];
    let view = View::new(rows, rows.len() / columns, columns);
    for row in 0..view.rows() {
        add(&mut sums, view.row(row));
    }
    sums
}

vectorised! {
    /// a_j += b_j.
    pub fn add(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::add_column_sums;

    #[test]
    fn every_row_is_counted_once() {
        for rows in [0, 1, 255, 256, 257, 1000] {
            let data: Vec<f32> = (0..rows * 3).map(|i| (i % 3) as f32).collect();
            let mut sums = vec![1.0; 3];
            add_column_sums(&mut sums, &data);
            assert_eq!(sums, [1.0, 1.0 + rows as f32, 1.0 + 2.0 * rows as f32]);
        }
    }
}
