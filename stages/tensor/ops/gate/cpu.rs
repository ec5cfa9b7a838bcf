//! A gated mixture on the processor.

use crate::simd::{exp, vectorised};
use rayon::prelude::*;

/// The elements of one task.
const PIECE: usize = 1 << 14;

/// y = s a + (1 - s) b; `share` holds z on entry and s on return.
pub fn forward(y: &mut [f32], share: &mut [f32], a: &[f32], b: &[f32]) {
    y.par_chunks_mut(PIECE)
        .zip(share.par_chunks_mut(PIECE))
        .zip(a.par_chunks(PIECE).zip(b.par_chunks(PIECE)))
        .for_each(|((y, share), (a, b))| forward_piece(y, share, a, b));
}

/// Adds to dz, da and db.
pub fn backward([dz, da, db]: [&mut [f32]; 3], dy: &[f32], share: &[f32], a: &[f32], b: &[f32]) {
    let written = dz.par_chunks_mut(PIECE).zip(da.par_chunks_mut(PIECE)).zip(db.par_chunks_mut(PIECE));
    let read =
        dy.par_chunks(PIECE).zip(share.par_chunks(PIECE)).zip(a.par_chunks(PIECE).zip(b.par_chunks(PIECE)));
    written.zip(read).for_each(|(((dz, da), db), ((dy, share), (a, b)))| {
        backward_piece(dz, da, db, dy, share, a, b);
    });
}

vectorised! {
    fn forward_piece(y: &mut [f32], share: &mut [f32], a: &[f32], b: &[f32]) {
        for ((y, share), (a, b)) in y.iter_mut().zip(share).zip(a.iter().zip(b)) {
            *share = 1.0 / (1.0 + exp(-*share));
            *y = *share * a + (1.0 - *share) * b;
        }
    }
}

vectorised! {
    fn backward_piece(
        dz: &mut [f32], da: &mut [f32], db: &mut [f32], dy: &[f32], share: &[f32], a: &[f32], b: &[f32],
    ) {
        let written = dz.iter_mut().zip(da).zip(db);
        for (((dz, da), db), ((dy, s), (a, b))) in written.zip(dy.iter().zip(share).zip(a.iter().zip(b))) {
            *dz += s * (1.0 - s) * (a - b) * dy;
            *da += s * dy;
            *db += (1.0 - s) * dy;
        }
    }
}
