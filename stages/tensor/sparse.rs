//! Sums over the neighbours of nodes: the inner loop of every graph operation.

use super::simd::vectorised;
use crate::graph::Lists;
use rayon::prelude::*;

/// y_i += Σ w x_j over the neighbours j of node i; each head, a run of columns, has its own weights.
///
/// `weights` has `heads` numbers for each entry of `lists`. One thread computes each sum in the order of the
/// neighbours, so the bits are the same on any number of threads.
pub fn sum_neighbours(y: &mut [f32], lists: &Lists, weights: &[f32], heads: usize, x: &[f32]) {
    let nodes = lists.nodes();
    if nodes == 0 {
        return;
    }
    let columns = y.len() / nodes;
    let pieces = lists.cut_nodes(y, columns).into_par_iter().zip(lists.pieces());
    pieces.for_each(|(y, piece)| sum_piece(y, piece.start, lists, weights, heads, x, columns));
}

/// Columns summed in registers at a time.
const WIDE: usize = 64;
const NARROW: usize = 16;

vectorised! {
    fn sum_piece(
        y: &mut [f32], first: usize, lists: &Lists, weights: &[f32], heads: usize, x: &[f32], columns: usize,
    ) {
        let width = columns / heads;
        for (node, y) in (first..).zip(y.chunks_exact_mut(columns)) {
            let range = lists.range(node);
            let neighbours = &lists.neighbours()[range.clone()];
            let weights = &weights[range.start * heads..range.end * heads];
            for head in 0..heads {
                let weights = weights.iter().skip(head).step_by(heads);
                let (mut column, end) = (head * width, (head + 1) * width);
                while column + WIDE <= end {
                    let rows = neighbours.iter().zip(weights.clone());
                    sum_block::<WIDE>(&mut y[column..], rows, x, columns, column);
                    column += WIDE;
                }
                while column + NARROW <= end {
                    let rows = neighbours.iter().zip(weights.clone());
                    sum_block::<NARROW>(&mut y[column..], rows, x, columns, column);
                    column += NARROW;
                }
                while column < end {
                    let rows = neighbours.iter().zip(weights.clone());
                    sum_block::<1>(&mut y[column..], rows, x, columns, column);
                    column += 1;
                }
            }
        }
    }
}

#[inline(always)]
fn sum_block<'a, const WIDTH: usize>(
    y: &mut [f32],
    rows: impl Iterator<Item = (&'a u32, &'a f32)>,
    x: &[f32],
    columns: usize,
    column: usize,
) {
    let mut sums = [0.0f32; WIDTH];
    for (row, weight) in rows {
        let x = &x[*row as usize * columns + column..][..WIDTH];
        for (sum, x) in sums.iter_mut().zip(x) {
            *sum += weight * x;
        }
    }
    for (y, sum) in y.iter_mut().zip(sums) {
        *y += sum;
    }
}
