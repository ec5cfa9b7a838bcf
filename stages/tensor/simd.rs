//! Loops compiled for the widest vectors of the machine, and functions that vectorise.
//!
//! Multiply-adds are fused only where `mul_add` is written, and every sum has 64 lanes, so a kernel gives the same bits
//! with 4, 8 or 16 numbers per register.

use std::ops::{Add, AddAssign, Mul};

/// Compiles a function for AVX-512, for AVX2 and for any CPU, and chooses one at run time.
///
/// A macro, because target features apply only to a function's own body.
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
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $result)? {
                    portable($($argument),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    #[expect(unsafe_code, reason = "the features are known only at run time")]
                    // SAFETY: the CPU has these features.
                    return unsafe { avx512($($argument),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    #[expect(unsafe_code, reason = "the features are known only at run time")]
                    // SAFETY: the CPU has these features.
                    return unsafe { avx2($($argument),*) };
                }
            }
            portable($($argument),*)
        }
    };
}

pub(super) use vectorised;

/// The lanes of a sum or a maximum: four registers whose dependency chains are independent of each other.
const LANES: usize = 64;

/// Σ term(a, b) over two slices of equal length.
#[inline(always)]
pub fn sum_of<N: Copy + Default + AddAssign + Add<Output = N>>(
    a: &[N],
    b: &[N],
    term: impl Fn(N, N) -> N,
) -> N {
    let mut lanes = [N::default(); LANES];
    let (chunks_a, rest_a) = a.as_chunks::<LANES>();
    let (chunks_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in chunks_a.iter().zip(chunks_b) {
        for lane in 0..LANES {
            lanes[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest_a.iter().zip(rest_b)) {
        *lane += term(*a, *b);
    }
    reduce(&lanes, |a, b| a + b)
}

/// Combines all lanes into one.
#[inline(always)]
fn reduce<N: Copy>(lanes: &[N; LANES], join: impl Fn(N, N) -> N) -> N {
    // Each step needs an array of its own: updating in place would not vectorise.
    let mut sixteen = [lanes[0]; 16];
    for lane in 0..16 {
        let (first, second) = (join(lanes[lane], lanes[lane + 32]), join(lanes[lane + 16], lanes[lane + 48]));
        sixteen[lane] = join(first, second);
    }
    let mut four = [lanes[0]; 4];
    for lane in 0..4 {
        let (first, second) =
            (join(sixteen[lane], sixteen[lane + 8]), join(sixteen[lane + 4], sixteen[lane + 12]));
        four[lane] = join(first, second);
    }
    join(join(four[0], four[2]), join(four[1], four[3]))
}

/// a · b.
#[inline(always)]
pub fn dot<N: Copy + Default + AddAssign + Add<Output = N> + Mul<Output = N>>(a: &[N], b: &[N]) -> N {
    sum_of(a, b, |a, b| a * b)
}

/// The largest value, ignoring NaN.
#[inline(always)]
pub fn largest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(chunk[lane], lanes[lane]);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*value, *lane);
    }
    reduce(&lanes, larger)
}

/// The index of a value in the slice; 0 if it is not there.
#[inline(always)]
pub fn place_of(value: f32, values: &[f32]) -> usize {
    // Compares a whole chunk at once; a search with an early exit would not vectorise.
    let has = |chunk: &[f32]| chunk.iter().fold(false, |found, other| found | (*other == value));
    let (chunks, rest) = values.as_chunks::<LANES>();
    let start = match chunks.iter().position(|chunk| has(chunk)) {
        Some(chunk) => chunk * LANES,
        None => values.len() - rest.len(),
    };
    values[start..].iter().position(|other| *other == value).map_or(0, |within| start + within)
}

/// The larger one, or b if either is NaN: a single instruction, unlike `f32::max`.
#[inline(always)]
pub fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// e^x with a relative error of at most 2e-7, for x below 88.
///
/// x = n ln 2 + r. Of the polynomials of degree 5 that start with 1 + r, this one has the least relative error over |r|
/// <= ln 2 / 2.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Adding 1.5 · 2^23 rounds to an integer, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 8.312_501e-3f32;
    let p = p.mul_add(r, 4.189_033e-2);
    let p = p.mul_add(r, 1.666_711_6e-1);
    let p = p.mul_add(r, 4.999_923e-1);
    let p = p.mul_add(r, 1.0);
    let p = p.mul_add(r, 1.0);
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    p * power
}

/// Numbers per register, at the widest.
const REGISTER: usize = 16;

/// Applies f to each value in place.
#[inline(always)]
pub fn map(values: &mut [f32], f: impl Fn(f32) -> f32) {
    let whole = values.len() / REGISTER * REGISTER;
    let rest = &values[whole..];
    // The remainder is computed in a full register, padded with zeros.
    let mut last = [0.0; REGISTER];
    last.iter_mut().zip(rest).for_each(|(last, value)| *last = *value);
    for value in &mut values[..whole] {
        *value = f(*value);
    }
    for value in &mut last {
        *value = f(*value);
    }
    values[whole..].iter_mut().zip(last).for_each(|(value, last)| *value = last);
}

/// The error function within 4e-7 (the rational approximation of Eigen and XLA).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let p = -2.726_142_3e-10f32;
    let p = p.mul_add(square, 2.770_681_4e-8);
    let p = p.mul_add(square, -2.101_024e-6);
    let p = p.mul_add(square, -5.692_506_4e-5);
    let p = p.mul_add(square, -7.349_906_3e-4);
    let p = p.mul_add(square, -2.954_6e-3);
    let p = p.mul_add(square, -1.609_603_3e-2);
    let q = -1.456_607_2e-5f32;
    let q = q.mul_add(square, -2.133_740_6e-4);
    let q = q.mul_add(square, -1.682_827e-3);
    let q = q.mul_add(square, -7.373_329e-3);
    let q = q.mul_add(square, -1.426_473_9e-2);
    x * p / q
}

#[cfg(test)]
mod tests {
    use super::{erf, exp, largest, map, place_of, sum_of};

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
        for length in [0, 1, 15, 16, 17, 63, 64, 65, 100, 170] {
            let ones = vec![1.0; length];
            assert_eq!(sum_of(&ones, &ones, |a, b| a + b), 2.0 * length as f32);
            for place in 0..length {
                let mut values = vec![-1.0; length];
                values[place] = 5.0;
                assert_eq!((largest(&values), place_of(5.0, &values)), (5.0, place));
                values[place] = f32::NAN;
                assert!(length == 1 || largest(&values) == -1.0);
            }
        }
    }
    #[test]
    fn a_map_reaches_every_element_once() {
        for length in [0, 1, 15, 16, 17, 100] {
            let mut values: Vec<f32> = (0..length).map(|i| i as f32).collect();
            map(&mut values, |x| x + 1.0);
            assert!(values.iter().enumerate().all(|(i, value)| *value == i as f32 + 1.0));
        }
    }
}
