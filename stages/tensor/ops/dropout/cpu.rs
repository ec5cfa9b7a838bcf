//! Dropout on the processor.

use super::{factor, threshold};
use crate::simd::vectorised;
use rayon::prelude::*;

/// The elements of one task.
const PIECE: usize = 1 << 14;

/// y_i += x_i / (1 - rate) for each element i that is kept.
pub fn add_kept(y: &mut [f32], x: &[f32], rate: f32, key: u64) {
    y.par_chunks_mut(PIECE)
        .zip(x.par_chunks(PIECE))
        .enumerate()
        .for_each(|(piece, (y, x))| add_kept_piece(y, x, (piece * PIECE) as u64, rate, key));
}

vectorised! {
    fn add_kept_piece(y: &mut [f32], x: &[f32], first: u64, rate: f32, key: u64) {
        let (scale, threshold) = (factor(rate), threshold(rate));
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            let kept = philox(first + i as u64, key) >= threshold;
            *y += if kept { x * scale } else { 0.0 };
        }
    }
}

/// 32 random bits from a counter and a key. The lower half of `key` is Philox's key; the upper half is mixed into the
/// counter.
#[inline(always)]
fn philox(counter: u64, key: u64) -> u32 {
    let (mut left, mut right) = (counter as u32, (counter >> 32) as u32 ^ (key >> 32) as u32);
    let mut round_key = key as u32;
    for _ in 0..10 {
        let product = u64::from(left) * 0xd256_d193;
        left = (product >> 32) as u32 ^ round_key ^ right;
        right = product as u32;
        round_key = round_key.wrapping_add(0x9e37_79b9);
    }
    left
}

#[cfg(test)]
mod tests {
    use super::philox;

    #[test]
    fn draws_are_those_of_random123() {
        // Known answers for philox2x32-10 from Random123's kat_vectors.
        assert_eq!(philox(0, 0), 0xff1d_ae59);
        assert_eq!(philox(0xffff_ffff_ffff_ffff, 0x0000_0000_ffff_ffff), 0x2c3f_628b);
        assert_eq!(philox(0x85a3_08d3_243f_6a88, 0x0000_0000_1319_8a2e), 0xdd7c_e038);
    }
}
