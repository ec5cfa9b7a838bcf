//! Matrix products whose right factor is laid out once and used for many products.
//!
//! The right factor is stored in panels of 32 columns, row by row; the left factor is read in place, with any strides.
//! A tile of the result, up to 14 rows of a panel, stays in AVX-512 registers during the loop over the inner dimension.
//! Each element is a single chain of fused multiply-adds, so its bits do not depend on what else is computed. Without
//! AVX-512 the library does the work (`gemm`).

#[cfg(target_arch = "x86_64")]
mod tiles;

use super::gemm;
use super::matrix::{View, ViewMut};
use super::{Device, buffer};
use rayon::prelude::*;
use std::ops::Range;

/// Columns per panel; the last panel has 16 if those are enough.
const PANEL: usize = 32;

/// Rows per task: nine tiles, few enough to stay in the L2 cache.
const BAND: usize = 126;

/// Rows per task if the inner dimension is long: four tiles.
const SHORT_BAND: usize = 56;

/// The slice of a long inner dimension that is processed at once; this much of a panel stays in the L1 cache.
const DEPTH: usize = 256;

/// Lanes per register.
const LANES: usize = 16;

/// The minimum number of rows that the library is given.
///
/// Up to 64 rows it sums in another order, so the result of a row would depend on the number of rows, and a cell's
/// encoding on the other cells of its batch.
const LEAST_ROWS: usize = 65;

/// The right factor of matrix products, laid out once.
#[derive(Debug)]
pub struct Panels {
    buffer: Vec<f32>,
    /// The offset of the factor in the buffer. It is aligned to a cache line, because a register load across two lines
    /// costs twice as much.
    first: usize,
    length: usize,
    inner: usize,
    columns: usize,
    /// Whether it is stored in panels; otherwise it is row-major, for the library.
    cut: bool,
}

/// The initial value of the result, to which the product is added.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// Zero.
    Zero,
    /// The current contents of the result.
    Out,
    /// This row, repeated for every row.
    Row(&'a [f32]),
}

impl<'a> Start<'a> {
    /// The start values of some columns.
    fn of(self, columns: Range<usize>) -> Start<'a> {
        match self {
            Start::Row(row) => Start::Row(&row[columns]),
            Start::Zero | Start::Out => self,
        }
    }
}

impl Panels {
    /// Lays out a matrix.
    pub fn new(device: &Device, right: View) -> Panels {
        let mut panels = Panels::empty(device, (right.rows(), right.columns()), has_tiles());
        panels.fill(right);
        panels
    }

    /// The same on all threads.
    pub fn new_parallel(device: &Device, right: View) -> Panels {
        let mut panels = Panels::empty(device, (right.rows(), right.columns()), has_tiles());
        let piece = panels.piece();
        panels
            .values_mut()
            .par_chunks_mut(piece)
            .enumerate()
            .for_each(|(index, panel)| fill(panel, right, index));
        panels
    }

    /// A factor with unspecified contents, to be filled through `views`.
    pub fn scratch(device: &Device, inner: usize, columns: usize) -> Panels {
        Panels::empty(device, (inner, columns), has_tiles())
    }

    /// The columns of each panel, from left to right, to write.
    pub fn views(&mut self) -> impl Iterator<Item = ViewMut<'_>> {
        let (piece, inner, columns) = (self.piece(), self.inner, self.columns);
        self.values_mut().chunks_mut(piece).enumerate().map(move |(index, panel)| {
            let width = panel.len() / inner;
            ViewMut::new(panel, inner, width).narrow(width.min(columns - index * PANEL))
        })
    }

    /// The columns of each panel, to read.
    pub fn parts(&self) -> impl Iterator<Item = View<'_>> {
        let (inner, columns) = (self.inner, self.columns);
        self.values().chunks(self.piece()).enumerate().map(move |(index, panel)| {
            let width = panel.len() / inner;
            View::new(panel, inner, width).part(0..inner, 0..width.min(columns - index * PANEL))
        })
    }

    fn empty(device: &Device, (inner, columns): (usize, usize), cut: bool) -> Panels {
        let filled = if cut { columns.next_multiple_of(LANES) } else { columns };
        let buffer = buffer::scratch(device, inner * filled + LANES);
        let first = buffer.as_ptr().align_offset(LANES * size_of::<f32>()).min(LANES);
        Panels { buffer, first, length: inner * filled, inner, columns, cut }
    }

    /// Replaces the contents by another matrix of the same size.
    pub fn fill(&mut self, right: View) {
        assert_eq!((right.rows(), right.columns()), (self.inner, self.columns), "the size of a right factor");
        let piece = self.piece();
        self.values_mut().chunks_mut(piece).enumerate().for_each(|(index, panel)| fill(panel, right, index));
    }

    /// The number of values per panel.
    fn piece(&self) -> usize {
        self.inner.max(1) * if self.cut { PANEL } else { self.columns.max(1) }
    }

    fn values(&self) -> &[f32] {
        &self.buffer[self.first..][..self.length]
    }

    fn values_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.first..][..self.length]
    }

    /// Returns its buffer to the pool.
    pub fn recycle(self, device: &Device) {
        buffer::recycle(device, self.buffer);
    }

    /// out = start + left · right, on the calling thread. A row has the same bits regardless of the other rows.
    pub fn multiply(&self, out: &mut ViewMut, left: View, start: Start) {
        if self.cut || out.rows() >= LEAST_ROWS {
            return self.multiply_part(0..self.inner, out, left, start);
        }
        let (inner, columns) = (self.inner, self.columns);
        let (mut of_left, mut of_out) = (vec![0.0; LEAST_ROWS * inner], vec![0.0; LEAST_ROWS * columns]);
        for row in 0..out.rows() {
            (0..inner).for_each(|column| of_left[row * inner + column] = left.at(row, column));
            of_out[row * columns..][..columns].copy_from_slice(out.row(row));
        }
        let mut padded = ViewMut::new(&mut of_out, LEAST_ROWS, columns);
        self.multiply_part(0..inner, &mut padded, View::new(&of_left, LEAST_ROWS, inner), start);
        (0..out.rows()).for_each(|row| out.row(row).copy_from_slice(padded.row(row)));
    }

    /// The same on all threads.
    pub fn multiply_parallel(&self, out: ViewMut, left: View, start: Start) {
        out.bands(BAND).into_par_iter().enumerate().for_each(|(band, mut out)| {
            let rows = band * BAND..band * BAND + out.rows();
            self.multiply(&mut out, left.part(rows, 0..self.inner), start);
        });
    }

    /// out = start + left · right on all threads, for few rows and a long inner dimension, as in gradients of weights.
    /// Prereq: `left` is transposed.
    pub fn multiply_long(&self, device: &Device, out: ViewMut, left: View, start: Start) {
        let columns = out.columns();
        out.tiles(SHORT_BAND, columns).into_par_iter().enumerate().for_each(|(band, mut out)| {
            let (first, rows) = (band * SHORT_BAND, out.rows());
            // The values of a column of `left` are contiguous but columns are a page apart, so tiles would read them
            // slowly.
            let mut near = buffer::scratch(device, DEPTH * rows);
            begin(&mut out, start);
            for depth in (0..self.inner).step_by(DEPTH) {
                let part = depth..self.inner.min(depth + DEPTH);
                let columns = left.part(first..first + rows, part.clone()).transposed();
                let near = &mut near[..part.len() * rows];
                near.chunks_exact_mut(rows)
                    .enumerate()
                    .for_each(|(column, near)| near.copy_from_slice(columns.row(column)));
                let near = View::new(near, part.len(), rows).transposed();
                self.multiply_part(part, &mut out, near, Start::Out);
            }
            buffer::recycle(device, near);
        });
    }

    /// The product over a slice of the inner dimension, which is as long as `left` has columns.
    pub fn multiply_part(&self, part: Range<usize>, out: &mut ViewMut, left: View, start: Start) {
        let sizes = (out.rows(), out.columns(), left.columns());
        assert_eq!(sizes, (left.rows(), self.columns, part.len()), "sizes of a product");
        assert!(part.end <= self.inner, "a part of the inner dimension");
        if part.is_empty() {
            return begin(out, start);
        }
        if !self.cut {
            return self.multiply_by_library(part, out, left, start);
        }
        let rows = out.rows();
        for (index, panel) in self.values().chunks(self.piece()).enumerate() {
            let columns = index * PANEL..self.columns.min((index + 1) * PANEL);
            let width = panel.len() / self.inner;
            let panel = &panel[part.start * width..part.end * width];
            tiles::multiply(&mut out.part(0..rows, columns.clone()), left, panel, start.of(columns));
        }
    }

    /// Whether the result can be computed in slices of this many columns.
    pub fn can_part(columns: usize) -> bool {
        columns.is_multiple_of(PANEL)
    }

    /// The product for a slice of columns that starts at `first` and is as wide as `out`. Prereq: `can_part` holds for
    /// its width.
    pub fn multiply_columns(&self, first: usize, out: &mut ViewMut, left: View, start: Start) {
        let (rows, columns) = (out.rows(), out.columns());
        assert!(Panels::can_part(first) && Panels::can_part(columns), "whole panels");
        assert!(first + columns <= self.columns && left.columns() == self.inner, "sizes of a product");
        if !self.cut {
            let right = View::new(self.values(), self.inner, self.columns)
                .part(0..self.inner, first..first + columns);
            return by_library(out, left, right, start);
        }
        let panels = self.values()[first * self.inner..].chunks(self.piece());
        for (index, panel) in (0..columns / PANEL).zip(panels) {
            let part = index * PANEL..(index + 1) * PANEL;
            tiles::multiply(&mut out.part(0..rows, part.clone()), left, panel, start.of(part));
        }
    }

    /// Computes the product directly into the layout of a right factor.
    pub fn multiply_into(&self, out: &mut Panels, left: View, start: Start) {
        let sizes = (out.inner, out.columns, left.columns());
        assert_eq!(sizes, (left.rows(), self.columns, self.inner), "sizes of a product");
        for (index, (mut out, panel)) in out.views().zip(self.values().chunks(self.piece())).enumerate() {
            match self.cut {
                true => {
                    let columns = index * PANEL..index * PANEL + out.columns();
                    tiles::multiply(&mut out, left, panel, start.of(columns));
                }
                false => self.multiply_by_library(0..self.inner, &mut out, left, start),
            }
        }
    }

    fn multiply_by_library(&self, part: Range<usize>, out: &mut ViewMut, left: View, start: Start) {
        let right = View::new(self.values(), self.inner, self.columns).part(part, 0..self.columns);
        by_library(out, left, right, start);
    }
}

fn by_library(out: &mut ViewMut, left: View, right: View, start: Start) {
    begin(out, start);
    gemm::multiply(out, 1.0, 1.0, left, right);
}

/// out = start.
fn begin(out: &mut ViewMut, start: Start) {
    for row in 0..out.rows() {
        match start {
            Start::Zero => out.row(row).fill(0.0),
            Start::Out => {}
            Start::Row(values) => out.row(row).copy_from_slice(values),
        }
    }
}

/// Fills a panel with its columns of a matrix, padded with zeros.
fn fill(panel: &mut [f32], right: View, index: usize) {
    let inner = right.rows();
    let width = panel.len() / inner;
    let first = index * PANEL;
    let columns = first..right.columns().min(first + width);
    if columns.len() < width {
        panel.fill(0.0);
    }
    let part = right.part(0..inner, columns);
    if part.has_whole_rows() {
        for (row, values) in panel.chunks_exact_mut(width).enumerate() {
            values[..part.columns()].copy_from_slice(part.row(row));
        }
    } else {
        part.transposed().transposed_into(panel, width);
    }
}

/// Whether the CPU has AVX-512, which tiles need.
fn has_tiles() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(not(target_arch = "x86_64"))]
mod tiles {
    use super::{Start, View, ViewMut};

    pub fn multiply(_: &mut ViewMut, _: View, _: &[f32], _: Start) {
        unreachable!("nothing is cut where there is no AVX-512");
    }
}

#[cfg(test)]
mod tests {
    use super::{Panels, Start};
    use crate::device;
    use crate::matrix::{View, ViewMut};
    use crate::testing::{difference, normal};

    /// start + left · right in 64 bits.
    fn expected(left: View, right: View, start: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let sizes = (0..left.rows()).flat_map(|row| (0..right.columns()).map(move |column| (row, column)));
        let sum = |(row, column): (usize, usize)| {
            let term = |inner| f64::from(left.at(row, inner)) * f64::from(right.at(inner, column));
            (f64::from(start(row, column)) + (0..left.columns()).map(term).sum::<f64>()) as f32
        };
        sizes.map(sum).collect()
    }

    #[test]
    fn products_are_those_of_the_definition_for_any_size_stride_and_start() {
        for (rows, inner, columns) in
            [(2, 0, 3), (1, 1, 1), (3, 5, 2), (129, 17, 33), (27, 64, 16), (14, 20, 32), (300, 64, 266)]
        {
            let (a, b) = (normal(rows * inner, 1), normal(inner * columns, 2));
            let (there, row) = (normal(rows * columns, 3), normal(columns, 4));
            for turned in [false, true] {
                let view = |data, rows, columns| match turned {
                    false => View::new(data, rows, columns),
                    true => View::new(data, columns, rows).transposed(),
                };
                let (left, right) = (view(&a, rows, inner), view(&b, inner, columns));
                for cut in [super::has_tiles(), false] {
                    let mut panels = Panels::empty(&device(), (inner, columns), cut);
                    panels.fill(right);
                    let product = |start| {
                        let mut out = there.clone();
                        panels.multiply(&mut ViewMut::new(&mut out, rows, columns), left, start);
                        out
                    };
                    let pairs = [
                        (product(Start::Zero), expected(left, right, |_, _| 0.0)),
                        (product(Start::Out), expected(left, right, |i, j| there[i * columns + j])),
                        (product(Start::Row(&row)), expected(left, right, |_, j| row[j])),
                    ];
                    for (found, expected) in pairs {
                        let error = difference(&found, &expected);
                        // Sums of up to 64 products of standard normals.
                        assert!(error < 3e-5, "{rows} x {inner} x {columns}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_inner_dimension_is_taken_in_parts() {
        let (inner, rows, columns) = (600, 60, 40);
        let (a, b) = (normal(inner * rows, 1), normal(inner * columns, 2));
        let (left, right) = (View::new(&a, inner, rows).transposed(), View::new(&b, inner, columns));
        let there = normal(rows * columns, 3);
        for cut in [super::has_tiles(), false] {
            let mut panels = Panels::empty(&device(), (inner, columns), cut);
            panels.fill(right);
            for (start, scale) in [(Start::Out, 1.0), (Start::Zero, 0.0)] {
                let mut found = there.clone();
                panels.multiply_long(&device(), ViewMut::new(&mut found, rows, columns), left, start);
                let expected = expected(left, right, |i, j| scale * there[i * columns + j]);
                // Sums of 600 products of standard normals.
                assert!(difference(&found, &expected) < 1e-4);
            }
        }
    }

    #[test]
    fn columns_can_be_computed_apart() {
        let (a, b) = (normal(30 * 20, 1), normal(20 * 96, 2));
        let (left, right) = (View::new(&a, 30, 20), View::new(&b, 20, 96));
        for cut in [super::has_tiles(), false] {
            let mut panels = Panels::empty(&device(), (20, 96), cut);
            panels.fill(right);
            let mut found = vec![0.0; 30 * 64];
            panels.multiply_columns(32, &mut ViewMut::new(&mut found, 30, 64), left, Start::Zero);
            assert!(difference(&found, &expected(left, right.part(0..20, 32..96), |_, _| 0.0)) < 1e-5);
        }
    }

    #[test]
    fn an_element_is_the_same_bits_whatever_is_computed_beside_it() {
        let (a, b) = (normal(200 * 70, 1), normal(70 * 50, 2));
        let (left, right) = (View::new(&a, 200, 70), View::new(&b, 70, 50));
        for cut in [super::has_tiles(), false] {
            let mut panels = Panels::empty(&device(), (70, 50), cut);
            panels.fill(right);
            let product = |rows: std::ops::Range<usize>| {
                let mut out = vec![0.0; rows.len() * 50];
                let mut view = ViewMut::new(&mut out, rows.len(), 50);
                panels.multiply(&mut view, left.part(rows, 0..70), Start::Zero);
                out
            };
            let all = product(0..200);
            for rows in [0..1, 3..5, 100..164, 60..199] {
                assert!(product(rows.clone()) == all[rows.start * 50..rows.end * 50]);
            }
        }
    }
}
