//! Packs integers with as many bits each as the largest of them needs, as Parquet does.

/// How many numbers are packed at a time.
const BLOCK: usize = 32;

/// How many bits the largest number needs.
pub fn width(numbers: &[u32]) -> usize {
    (u32::BITS - numbers.iter().fold(0, |all, number| all | number).leading_zeros()) as usize
}

/// Appends the numbers, each in `width` bits, least significant bit first, padded to a whole byte.
/// Prereq: none needs more bits.
pub fn pack(numbers: &[u32], width: usize, packed: &mut Vec<u8>) {
    let (blocks, rest) = numbers.as_chunks::<BLOCK>();
    blocks.iter().for_each(|block| pack_block(block, width, packed));
    if !rest.is_empty() {
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        let bytes = packed.len() + (rest.len() * width).div_ceil(8);
        pack_block(&block, width, packed);
        packed.truncate(bytes);
    }
}

fn pack_block(numbers: &[u32; BLOCK], width: usize, packed: &mut Vec<u8>) {
    // Four numbers fit in 64 bits, and eight end at a byte boundary.
    if width <= 16 {
        let join = |four: &[u32]| {
            four.iter().rev().fold(0_u64, |joined, number| (joined << width) | u64::from(*number))
        };
        let mut bytes = [0; BLOCK / 8 * 16];
        for (index, eight) in numbers.as_chunks::<8>().0.iter().enumerate() {
            let (low, high) = eight.split_at(4);
            let joined = u128::from(join(low)) | (u128::from(join(high)) << (4 * width));
            bytes[index * width..][..16].copy_from_slice(&joined.to_le_bytes());
        }
        packed.extend_from_slice(&bytes[..BLOCK / 8 * width]);
        return;
    }
    let (mut held, mut bits) = (0_u64, 0);
    for number in numbers {
        held |= u64::from(*number) << bits;
        bits += width;
        if bits >= 32 {
            packed.extend_from_slice(&(held as u32).to_le_bytes());
            held >>= 32;
            bits -= 32;
        }
    }
}

/// Appends a number as a varint: seven bits per byte, in as few bytes as it needs.
pub fn varint(mut number: u64, packed: &mut Vec<u8>) {
    while number >= 0x80 {
        packed.push(number as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn numbers_of_every_width_follow_each_other_without_gaps() {
        let mut random = Random::new(1, 0);
        for bits in 0..=32 {
            let largest = u32::MAX.checked_shr(32 - bits as u32).unwrap_or(0);
            let mut numbers: Vec<u32> =
                (0..1 + random.below(100)).map(|_| random.bits() as u32 & largest).collect();
            numbers[0] = largest;
            assert_eq!(width(&numbers), bits);
            let mut packed = Vec::new();
            pack(&numbers, bits, &mut packed);
            assert_eq!(packed.len(), (numbers.len() * bits).div_ceil(8));
            let bit = |at: usize| u32::from((packed[at / 8] >> (at % 8)) & 1);
            for (index, number) in numbers.iter().enumerate() {
                let found = (0..bits).fold(0, |found, at| found | (bit(index * bits + at) << at));
                assert_eq!(found, *number, "number {index} of {bits} bits");
            }
        }
    }
}
