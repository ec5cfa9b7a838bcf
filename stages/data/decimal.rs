//! Parses decimal numbers at the start of a text as `f32`.
//!
//! Most bytes of a text matrix are digits, so they are parsed eight at a time.

/// The powers of ten for digits after the decimal point, all of them exact.
const POWERS: [f64; MOST_DIGITS + 1] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19,
];
/// The number of digits that always fit in 64 bits.
const MOST_DIGITS: usize = 19;

/// The number at the start of a text, rounded to the nearest `f32`, and its length. The text may continue after it.
pub fn parse_start(text: &[u8]) -> Option<(f32, usize)> {
    plain(text).or_else(|| lexical_core::parse_partial(text).ok())
}

/// A fast path for numbers like `-12.345` whose nearest `f32` follows from a quotient of `f64`; `None` for others.
fn plain(text: &[u8]) -> Option<(f32, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut number = 0;
    let point = start + digits(&text[start..], &mut number);
    let before = point - start;
    let (mut end, mut behind) = (point, 0);
    let none_before = number == 0;
    if text.get(point) == Some(&b'.') {
        behind = digits(&text[point + 1..], &mut number);
        end = point + 1 + behind;
        if behind == 0 {
            return None;
        }
    }
    let counted = if none_before { behind } else { before + behind };
    if before == 0
        || before > MOST_DIGITS
        || counted > MOST_DIGITS
        || matches!(text.get(end), Some(b'e' | b'E'))
    {
        return None;
    }
    let quotient = number as f64 / POWERS[behind];
    // Both roundings together err by less than two units in the last place. They can give a wrong result only if the
    // quotient is this close to the middle between two `f32`s.
    const MIDDLE: u64 = 1 << (f64::MANTISSA_DIGITS - f32::MANTISSA_DIGITS - 1);
    let rest = quotient.to_bits() % (2 * MIDDLE);
    let value = quotient as f32;
    (rest.abs_diff(MIDDLE) > 4).then_some((if negative { -value } else { value }, end))
}

/// Appends the leading digits of a text to a number; returns how many there are.
fn digits(text: &[u8], number: &mut u64) -> usize {
    let mut count = 0;
    while let Some(eight) = text[count..].first_chunk() {
        let Some(value) = eight_digits(u64::from_le_bytes(*eight)) else { break };
        *number = number.wrapping_mul(100_000_000).wrapping_add(value);
        count += 8;
    }
    while let Some(digit @ b'0'..=b'9') = text.get(count) {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        count += 1;
    }
    count
}

/// Parses eight digits, the first in the lowest byte, by combining neighbours into pairs, fours and all eight.
fn eight_digits(text: u64) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const SIXES: u64 = 0x0606_0606_0606_0606;
    const UPPER: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A byte is a digit if its upper half equals that of `0` and still does after 6 is added.
    if (text & UPPER) != ZEROS || (text.wrapping_add(SIXES) & UPPER) != ZEROS {
        return None;
    }
    let ones = text - ZEROS;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn check(text: &str) {
        let expected: f32 = text.parse().unwrap();
        let (found, length) = parse_start(text.as_bytes()).unwrap();
        assert_eq!((found.to_bits(), length), (expected.to_bits(), text.len()), "{text}");
        assert_eq!(parse_start(format!("{text},1").as_bytes()), Some((found, length)));
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        let mut random = Random::new(1, 0);
        for _ in 0..200_000 {
            let value = random.normal() * [1e-9, 1e-3, 1.0, 1e3, 1e9, 1e15][random.below(6)];
            check(&value.to_string());
            check(&format!("{value:.*}", random.below(25)));
            check(&format!("{value:e}"));
            check(&(random.bits() >> random.below(64)).to_string());
        }
    }

    #[test]
    fn numbers_between_two_others_are_rounded_as_they_must_be() {
        let mut random = Random::new(2, 0);
        for _ in 0..50_000 {
            let value = f32::from_bits(random.bits() as u32 % 0x0800_0000 + 0x3c00_0000);
            let middle = (f64::from(value) + f64::from(value.next_up())) / 2.0;
            for near in [middle.next_down(), middle, middle.next_up()] {
                check(&near.to_string());
                check(&format!("{near:.17}"));
            }
        }
    }

    #[test]
    fn zeros_and_the_longest_are_read() {
        for text in [
            "0",
            "-0",
            "0.0",
            "007",
            "1e3",
            "-1.5E-3",
            "9999999999999999999",
            "99999999999999999999",
            "0.00000000000000000000000001",
            "12345678",
            "123456789.12345678",
            "3.4028235e38",
            "5.",
            "1e-46",
        ] {
            check(text);
        }
        assert_eq!(parse_start(b"12x"), Some((12.0, 2)));
        assert_eq!(parse_start(b"-12,5"), Some((-12.0, 3)));
        for text in ["", "-", "x", ".", "-.", ","] {
            assert_eq!(parse_start(text.as_bytes()), None, "{text:?}");
        }
    }
}
