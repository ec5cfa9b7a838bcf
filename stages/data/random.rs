//! Random numbers that are the same on every machine and in every version.
//!
//! Seeded artifacts are compared byte by byte, so neither a new version of a crate nor another
//! system's logarithm may change a draw. Uses xoshiro256++ (Blackman and Vigna 2019), seeded by SplitMix64.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
    spare_normal: Option<f64>,
}

impl Random {
    /// One of many streams of a seed. Parallel work uses one stream per item, never one per thread.
    pub fn new(seed: u64, stream: u64) -> Random {
        let mut mixer = split_mix(seed).wrapping_add(split_mix(!stream));
        let state = std::array::from_fn(|_| {
            mixer = mixer.wrapping_add(0x9e37_79b9_7f4a_7c15);
            split_mix(mixer)
        });
        Random { state, spare_normal: None }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform among 0..n without bias (Lemire 2019). Prereq: n > 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let mut product = u128::from(self.bits()) * u128::from(n);
        // A rejection is possible only if the lower half is below n; this check avoids the slow remainder.
        if (product as u64) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u64) < threshold {
                product = u128::from(self.bits()) * u128::from(n);
            }
        }
        (product >> 64) as usize
    }

    /// Standard normal (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let square = x * x + y * y;
            if square < 1.0 && square > 0.0 {
                let scale = libm::sqrt(-2.0 * libm::log(square) / square);
                self.spare_normal = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Poisson with this mean.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean < 30.0 { self.small_poisson(mean) } else { self.large_poisson(mean) }
    }

    /// Multiplies uniforms until the product falls below e^-mean (Knuth).
    fn small_poisson(&mut self, mean: f64) -> u64 {
        let floor = libm::exp(-mean.max(0.0));
        let mut product = self.unit();
        let mut count = 0;
        while product > floor {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// Transformed rejection (Hörmann 1993, PTRS), whose time does not grow with the mean.
    fn large_poisson(&mut self, mean: f64) -> u64 {
        let b = 0.931 + 2.53 * libm::sqrt(mean);
        let a = -0.059 + 0.02483 * b;
        let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
        let v_r = 0.9277 - 3.6224 / (b - 2.0);
        loop {
            let u = self.unit() - 0.5;
            let v = self.unit();
            let us = 0.5 - u.abs();
            let k = libm::floor((2.0 * a / us + b) * u + mean + 0.43);
            if us >= 0.07 && v <= v_r {
                return k as u64;
            }
            if k < 0.0 || (us < 0.013 && v > us) {
                continue;
            }
            let accepted = libm::log(v) + libm::log(inverse_alpha) - libm::log(a / (us * us) + b)
                <= -mean + k * libm::log(mean) - libm::lgamma(k + 1.0);
            if accepted {
                return k as u64;
            }
        }
    }

    /// Shuffles the items (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// At most `most` random indices below `all`, ascending.
pub fn choose(all: usize, most: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..all).collect();
    if all > most {
        Random::new(seed, stream).shuffle(&mut order);
        order.truncate(most);
        order.sort_unstable();
    }
    order
}

fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let draws: Vec<f64> = (0..100_000).map(|_| draw()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
        (mean, variance)
    }

    #[test]
    fn draws_are_the_same_for_ever() {
        let mut random = Random::new(1, 2);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        let mut again = Random::new(1, 2);
        assert_eq!(first, (0..3).map(|_| again.bits()).collect::<Vec<_>>());
        assert_eq!(first, [5_040_497_627_932_987_818, 6_695_958_972_062_738_401, 9_407_137_832_884_157_653]);
    }

    #[test]
    fn streams_differ() {
        let first: std::collections::BTreeSet<u64> =
            (0..100).flat_map(|seed| (0..100).map(move |stream| Random::new(seed, stream).bits())).collect();
        assert_eq!(first.len(), 10_000);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(7, 0);
        // Five standard errors of 100,000 draws.
        let (mean, variance) = moments(|| random.normal());
        assert!(mean.abs() < 0.016 && (variance - 1.0).abs() < 0.023, "{mean} {variance}");
        for rate in [0.3, 5.0, 29.0, 31.0, 400.0] {
            let (mean, variance) = moments(|| random.poisson(rate) as f64);
            assert!((mean / rate - 1.0).abs() < 0.016 / rate.sqrt() + 0.001, "{rate}: {mean}");
            assert!((variance / rate - 1.0).abs() < 0.05, "{rate}: {variance}");
        }
    }

    #[test]
    fn below_is_even_and_shuffle_keeps_all_items() {
        let mut random = Random::new(7, 1);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6)] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        let mut items: Vec<u32> = (0..50).collect();
        random.shuffle(&mut items);
        assert!(items.windows(2).any(|pair| pair[0] > pair[1]));
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
