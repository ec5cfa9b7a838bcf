//! Launches the kernels of `common.cu`: sums of whole tensors and sums over rows.

use super::{Argument, Card, Memory, arguments};

/// Elements summed by one warp.
const PIECE: usize = 1 << 12;
/// Rows summed by one thread.
const ROWS: usize = 1 << 8;

/// y += x.
pub fn add(y: &mut Memory, x: &Memory) {
    add_scaled(y, 1.0, x);
}

/// y += x, from offset `place` on.
pub fn add_from(y: &mut Memory, x: &Memory, place: usize) {
    let (card, count) = (y.card().clone(), y.length());
    assert!(place + count <= x.length(), "the sizes of a sum");
    card.launch_each("add_scaled", count, arguments![&*y, 1.0, x.at(place), count]);
}

/// y += factor x.
pub fn add_scaled(y: &mut Memory, factor: f32, x: &Memory) {
    assert_eq!(y.length(), x.length(), "the sizes of a sum");
    let (card, count) = (y.card().clone(), y.length());
    card.launch_each("add_scaled", count, arguments![&*y, factor, x, count]);
}

/// y *= factor.
pub fn scale(y: &mut Memory, factor: f32) {
    let count = y.length();
    y.card().launch_each("scale", count, arguments![&*y, factor, count]);
}

/// A buffer of ones.
pub fn ones(card: &Card, count: usize) -> Memory {
    let ones = card.scratch(count);
    card.launch_each("fill", count, arguments![&ones, 1.0, count]);
    ones
}

/// y_ij += b_j.
pub fn add_to_rows(y: &mut Memory, b: &Memory) {
    let count = y.length();
    y.card().launch_each("add_to_rows", count, arguments![&*y, b, count, word(b.length())]);
}

/// Sums of squares, piece by piece, of all buffers. They are put into one buffer, so that a single download fetches
/// them.
pub fn squares(card: &Card, all: &[Memory]) -> Memory {
    let pieces = |x: &Memory| x.length().div_ceil(PIECE);
    let sums = card.scratch(all.iter().map(pieces).sum());
    let mut first = 0;
    for x in all {
        sum_each_piece("sum_squares", x, &sums, first);
        first += pieces(x);
    }
    sums
}

/// The sum of each piece.
pub fn pieces(x: &Memory) -> Memory {
    let sums = x.card().scratch(x.length().div_ceil(PIECE));
    sum_each_piece("sum_pieces", x, &sums, 0);
    sums
}

fn sum_each_piece(kernel: &'static str, x: &Memory, sums: &Memory, first: usize) {
    let (count, pieces) = (x.length(), x.length().div_ceil(PIECE));
    x.card().launch_rows(kernel, pieces, arguments![sums.at(first), x, count, pieces, word(PIECE)]);
}

/// How rows are cut into pieces for sums over them: the number of pieces, and the rows of each.
pub fn cut_rows(rows: usize) -> (usize, usize) {
    (rows.div_ceil(ROWS), ROWS)
}

/// sums_j += Σ_i x_ij. Prereq: x has as many columns as there are sums.
pub fn add_column_sums(sums: &mut Memory, x: &Memory) {
    let columns = sums.length();
    if columns == 0 {
        return;
    }
    let rows = x.length() / columns;
    let (pieces, piece) = cut_rows(rows);
    let of_pieces = x.card().scratch(pieces * columns);
    let cut = arguments![&of_pieces, x, rows, word(columns), pieces, word(piece), word(0)];
    x.card().launch_each("sum_columns", pieces * columns, cut);
    add_pieces(sums, &of_pieces, pieces);
}

/// sums_j += Σ_p x_pj, in piece order.
pub fn add_pieces(sums: &mut Memory, of_pieces: &Memory, pieces: usize) {
    let columns = sums.length();
    let all = arguments![&*sums, of_pieces, pieces, word(columns), 1usize, word(pieces), word(1)];
    of_pieces.card().launch_each("sum_columns", columns, all);
}

/// Converts a count, such as a number of columns, to a 32-bit argument.
pub fn word(count: usize) -> Argument {
    Argument::Word(u32::try_from(count).expect("columns, heads and pieces are counted in 32 bits"))
}
