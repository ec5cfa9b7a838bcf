//! Adds a row to every row, on the CPU.

use crate::reduce;
use rayon::prelude::*;

/// The approximate number of elements of one task.
const PIECE: usize = 1 << 14;

/// y_i += row.
pub fn add_row(y: &mut [f32], row: &[f32]) {
    let columns = row.len().max(1);
    let rows = (PIECE / columns).max(1);
    y.par_chunks_mut(rows * columns).for_each(|y| y.chunks_mut(columns).for_each(|y| reduce::add(y, row)));
}

/// a += b.
pub fn add(a: &mut [f32], b: &[f32]) {
    a.par_chunks_mut(PIECE).zip(b.par_chunks(PIECE)).for_each(|(a, b)| reduce::add(a, b));
}
