//! Loops compiled for the widest vectors of the machine, and functions that vectorise.
//!
//! Nothing here fuses a multiplication with an addition and every sum has sixteen lanes, so that a kernel gives
//! the same bits with 4, 8 or 16 lanes.

use std::ops::{AddAssign, Mul};

/// Compiles a function for AVX-512, for AVX2 and for any processor, and chooses at run time.
///
/// A macro, because only a function's own body is compiled for the features that it names.
macro_rules! vectorised {
    (
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn portable($($argument: $type),*) $(-> $result)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
                fn avx512($($argument: $type),*) $(-> $result)? {
                    portable($($argument),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    portable($($argument),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    #[expect(unsafe_code, reason = "the features are known only at run time")]
                    // SAFETY: the processor has the features.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") {
                    #[expect(unsafe_code, reason = "the feature is known only at run time")]
                    // SAFETY: the processor has the feature.
                    return unsafe { avx2($($argument),*) };
                }
            }
            portable($($argument),*)
        }
    };
}

pub(super) use vectorised;

const LANES: usize = 16;

/// Σ term(a, b) over two slices of one length.
#[inline(always)]
pub fn sum_of<N: Copy + Default + AddAssign>(a: &[N], b: &[N], term: impl Fn(N, N) -> N) -> N {
    let mut lanes = [N::default(); LANES];
    let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (rest_a, rest_b) = (chunks_a.remainder(), chunks_b.remainder());
    for (a, b) in chunks_a.zip(chunks_b) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest_a.iter().zip(rest_b)) {
        *lane += term(*a, *b);
    }
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            let other = lanes[lane + width];
            lanes[lane] += other;
        }
    }
    lanes[0]
}

/// a · b.
#[inline(always)]
pub fn dot<N: Copy + Default + AddAssign + Mul<Output = N>>(a: &[N], b: &[N]) -> N {
    sum_of(a, b, |a, b| a * b)
}

/// The largest value; not a number where one is not.
#[inline(always)]
pub fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, *value);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, larger)
}

/// The place of a value that is among the values; 0 where it is not.
#[inline(always)]
pub fn place_of(value: f32, values: &[f32]) -> usize {
    // A chunk at a time compares with one instruction; a search that may stop anywhere does not vectorise.
    let has = |chunk: &[f32]| chunk.iter().fold(false, |found, other| found | (*other == value));
    let (chunks, rest) = values.as_chunks::<LANES>();
    let start = match chunks.iter().position(|chunk| has(chunk)) {
        Some(chunk) => chunk * LANES,
        None => values.len() - rest.len(),
    };
    values[start..].iter().position(|other| *other == value).map_or(0, |within| start + within)
}

/// Where either is not a number, neither is the result; `f32::max` would hide it.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a >= b || a.is_nan() { a } else { b }
}

/// e^x within 2e-7 of its size, for x below 88 (Cephes, `expf`).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Adding 1.5 · 2^23 rounds to an integer, which the low bits of the sum then hold.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    (p * r * r + r + 1.0) * power
}

/// The error function within 4e-7 (the rational approximation of Eigen and XLA).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let p = -2.726_142_3e-10;
    let p = p * square + 2.770_681_4e-8;
    let p = p * square - 2.101_024e-6;
    let p = p * square - 5.692_506_4e-5;
    let p = p * square - 7.349_906_3e-4;
    let p = p * square - 2.954_6e-3;
    let p = p * square - 1.609_603_3e-2;
    let q = -1.456_607_2e-5;
    let q = q * square - 2.133_740_6e-4;
    let q = q * square - 1.682_827e-3;
    let q = q * square - 7.373_329e-3;
    let q = q * square - 1.426_473_9e-2;
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::{erf, exp, largest, place_of, sum_of};

    #[test]
    fn exp_is_within_two_units_in_the_seventh_digit() {
        for step in -8_700..=8_800 {
            let x = step as f32 / 100.0 + 0.003_7;
            if x < 88.0 {
                let true_value = libm::exp(f64::from(x));
                assert!((f64::from(exp(x)) / true_value - 1.0).abs() < 2e-7, "{x}");
            }
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e30) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn erf_is_within_four_units_in_the_seventh_digit() {
        for step in -6_000..=6_000 {
            let x = step as f32 / 1_000.0;
            assert!((f64::from(erf(x)) - libm::erf(f64::from(x))).abs() < 4e-7, "{x}: {}", erf(x));
        }
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn reductions_reach_every_element() {
        for length in [0, 1, 15, 16, 17, 100] {
            let ones = vec![1.0; length];
            assert_eq!(sum_of(&ones, &ones, |a, b| a + b), 2.0 * length as f32);
            for place in 0..length {
                let mut values = vec![-1.0; length];
                values[place] = 5.0;
                assert_eq!((largest(&values), place_of(5.0, &values)), (5.0, place));
                values[place] = f32::NAN;
                assert!(largest(&values).is_nan());
            }
        }
    }
}
