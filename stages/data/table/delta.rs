//! DELTA_BINARY_PACKED, Parquet's encoding of integers by their differences.

use super::bits::{self, varint};

/// Differences that share a stored minimum.
const BLOCK: usize = 128;
/// Differences that share a bit width.
const MINI_BLOCK: usize = 32;

/// Packs the numbers, which readers interpret as signed 32-bit integers.
pub fn pack(numbers: &[u32]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(numbers.len() * 2);
    let first = numbers.first().copied().unwrap_or(0);
    for of_all in [BLOCK as u64, (BLOCK / MINI_BLOCK) as u64, numbers.len() as u64, zigzag(first as i32)] {
        varint(of_all, &mut packed);
    }
    let later = numbers.get(1..).unwrap_or(&[]);
    for (before, after) in numbers.chunks(BLOCK).zip(later.chunks(BLOCK)) {
        let mut differences = [0; BLOCK];
        for ((difference, before), after) in differences.iter_mut().zip(before).zip(after) {
            *difference = after.wrapping_sub(*before) as i32;
        }
        let differences = &differences[..after.len()];
        let least = differences.iter().copied().min().unwrap_or(0);
        // Padding after the last difference, which readers skip.
        let mut above = [0; BLOCK];
        for (above, difference) in above.iter_mut().zip(differences) {
            *above = difference.wrapping_sub(least) as u32;
        }
        varint(zigzag(least), &mut packed);
        let (mini_blocks, _) = above.as_chunks::<MINI_BLOCK>();
        packed.extend(mini_blocks.iter().map(|mini_block| bits::width(mini_block) as u8));
        for mini_block in &mini_blocks[..after.len().div_ceil(MINI_BLOCK)] {
            bits::pack(mini_block, bits::width(mini_block), &mut packed);
        }
    }
    packed
}

/// Maps small numbers of either sign to small unsigned numbers.
fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_packed_as_the_format_has_it() {
        let packed = pack(&[7, 5, 3, 1, 2, 3, 4, 5]);
        // The example of Parquet's specification: the minimum difference is -2, the others are 0 or 3 above it.
        let head = [0x80, 1, 4, 8, 14, 3, 2, 0, 0, 0];
        assert_eq!(packed[..10], head);
        assert_eq!(packed[10..], [0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0]);
        assert_eq!(pack(&[]), [0x80, 1, 4, 0, 0]);
    }
}
