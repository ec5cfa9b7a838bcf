//! Gather and scatter on the processor.

use crate::matrix::{View, ViewMut};
use crate::reduce::add;
use rayon::prelude::*;

/// Rows per task of gather.
const ROWS: usize = 256;

/// Columns per task of scatter. Tasks split columns and never rows, so that sums keep their order.
const COLUMNS: usize = 64;

/// y_i = table_{r_i}.
pub fn gather(y: &mut [f32], table: View, rows: &[u32]) {
    let columns = table.columns().max(1);
    y.par_chunks_mut(ROWS * columns).zip(rows.par_chunks(ROWS)).for_each(|(y, rows)| {
        for (y, row) in y.chunks_exact_mut(columns).zip(rows) {
            y.copy_from_slice(table.row(*row as usize));
        }
    });
}

/// table_{r_i} += dy_i.
pub fn scatter(table: ViewMut, dy: View, rows: &[u32]) {
    let height = table.rows().max(1);
    table.tiles(height, COLUMNS).into_par_iter().enumerate().for_each(|(band, mut table)| {
        let dy = dy.part(0..dy.rows(), band * COLUMNS..band * COLUMNS + table.columns());
        for (i, row) in rows.iter().enumerate() {
            add(table.row(*row as usize), dy.row(i));
        }
    });
}
