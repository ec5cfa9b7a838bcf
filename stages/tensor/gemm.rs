//! Matrix products.

use super::matrix::{View, ViewMut};
use rayon::prelude::*;

/// The part of a product that one task computes.
///
/// The size is fixed because the order of a sum may depend on the size of the product, but must not depend on the
/// number of threads.
const TILE: (usize, usize) = (64, 256);

/// out = keep · out + factor · left · right, on the calling thread.
#[expect(unsafe_code, reason = "the library takes pointers")]
pub fn multiply(out: &mut ViewMut, keep: f32, factor: f32, left: View, right: View) {
    let (rows, columns, inner) = (out.rows(), out.columns(), left.columns());
    assert_eq!((left.rows(), right.rows(), right.columns()), (rows, inner, columns), "sizes of a product");
    let (left, left_rows, left_columns) = left.raw();
    let (right, right_rows, right_columns) = right.raw();
    let (out, out_rows) = out.raw();
    // SAFETY: `raw` hands out pointers and strides whose elements are inside their buffers for the sizes asserted
    // above; `out` is borrowed exclusively, so neither factor overlaps it.
    unsafe {
        // The library writes column-major: it is given the transposed product, right by left.
        gemm_f32::gemm::f32::get_gemm_fn()(
            columns,
            rows,
            inner,
            out,
            out_rows,
            1,
            keep != 0.0,
            right,
            right_rows,
            right_columns,
            left,
            left_rows,
            left_columns,
            keep,
            factor,
            false,
            false,
            false,
            gemm_common::Parallelism::None,
        );
    }
}

/// The same on all threads.
pub fn multiply_parallel(out: ViewMut, keep: f32, factor: f32, left: View, right: View) {
    let tiles_in_row = out.columns().div_ceil(TILE.1);
    out.tiles(TILE.0, TILE.1).into_par_iter().enumerate().for_each(|(tile, mut out)| {
        let (row, column) = (tile / tiles_in_row * TILE.0, tile % tiles_in_row * TILE.1);
        let left = left.part(row..row + out.rows(), 0..left.columns());
        let right = right.part(0..right.rows(), column..column + out.columns());
        multiply(&mut out, keep, factor, left, right);
    });
}

#[cfg(test)]
mod tests {
    use super::{multiply, multiply_parallel};
    use crate::matrix::{View, ViewMut};
    use crate::testing::normal;

    fn expected(rows: usize, columns: usize, left: View, right: View, start: &[f32]) -> Vec<f32> {
        let mut out = start.to_vec();
        for row in 0..rows {
            for column in 0..columns {
                let right = right.part(0..right.rows(), column..column + 1);
                let sum: f64 = (0..left.columns())
                    .map(|inner| f64::from(left.row(row)[inner]) * f64::from(right.row(inner)[0]))
                    .sum();
                out[row * columns + column] =
                    (0.5 * f64::from(start[row * columns + column]) + 2.0 * sum) as f32;
            }
        }
        out
    }

    #[test]
    fn products_are_those_of_the_definition_for_any_size_and_stride() {
        for (rows, inner, columns) in [(1, 1, 1), (3, 5, 2), (129, 17, 33), (300, 64, 1), (64, 300, 300)] {
            let (left, right) = (normal(rows * inner, 1), normal(inner * columns, 2));
            let start = normal(rows * columns, 3);
            let (left, right) = (View::new(&left, rows, inner), View::new(&right, inner, columns));
            let expected = expected(rows, columns, left, right, &start);
            let mut transposed = vec![0.0; inner * columns];
            for row in 0..inner {
                for column in 0..columns {
                    transposed[column * inner + row] = right.row(row)[column];
                }
            }
            let turned = View::new(&transposed, columns, inner).transposed();
            for right in [right, turned] {
                let (mut one, mut all) = (start.clone(), start.clone());
                multiply(&mut ViewMut::new(&mut one, rows, columns), 0.5, 2.0, left, right);
                multiply_parallel(ViewMut::new(&mut all, rows, columns), 0.5, 2.0, left, right);
                for result in [one, all] {
                    let error = result.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    // Sums of up to 300 products of standard normals.
                    assert!(error < 1e-4, "{rows} x {inner} x {columns}: {error}");
                }
            }
        }
    }
}
