//! Addition on the processor.

use crate::reduce;
use rayon::prelude::*;

/// The elements of one task.
const PIECE: usize = 1 << 15;

/// a += b.
pub fn add(a: &mut [f32], b: &[f32]) {
    a.par_chunks_mut(PIECE).zip(b.par_chunks(PIECE)).for_each(|(a, b)| reduce::add(a, b));
}
