//! Moments and significance tests.

/// Mean and variance of a stream of values whose zeros are accounted for at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moments {
    sum: f64,
    squares: f64,
}

impl Moments {
    /// Adds a value; zeros may be left out.
    pub fn add(&mut self, value: f64) {
        self.sum += value;
        self.squares += value * value;
    }

    /// Adds the values that `others` has seen.
    pub fn join(&mut self, others: &Moments) {
        self.sum += others.sum;
        self.squares += others.squares;
    }

    /// The mean of `count` values.
    pub fn mean(&self, count: usize) -> f64 {
        self.sum / count as f64
    }

    /// The variance of `count` values, with `count - 1` in the denominator as in scanpy.
    pub fn variance(&self, count: usize) -> f64 {
        let mean = self.mean(count);
        let around = self.squares - mean * self.sum;
        (around / (count as f64 - 1.0).max(1.0)).max(0.0)
    }
}

/// The probability that a cubic curve over `times` explains this much of `values` by chance: an F test.
///
/// Prereq: both have the same length. With 4 or fewer entries nothing is explained.
pub fn curve_p_value(times: &[f64], values: &[f64]) -> f64 {
    const DEGREE: usize = 3;
    let count = times.len();
    if count <= DEGREE + 1 {
        return 1.0;
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    let total: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    let explained: f64 = orthogonal_powers(times, DEGREE)
        .iter()
        .map(|power| {
            let projection: f64 = power.iter().zip(values).map(|(power, value)| power * (value - mean)).sum();
            projection * projection
        })
        .sum();
    let left = total - explained;
    let freedom = (count - DEGREE - 1) as f64;
    if total <= 0.0 {
        return 1.0;
    }
    if left <= total * 1e-14 {
        return 0.0;
    }
    let f = explained / DEGREE as f64 / (left / freedom);
    incomplete_beta(freedom / 2.0, DEGREE as f64 / 2.0, freedom / (freedom + DEGREE as f64 * f))
}

/// The powers 1.. of `times`, orthonormalised against each other and a constant (Gram and Schmidt).
fn orthogonal_powers(times: &[f64], degree: usize) -> Vec<Vec<f64>> {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let scale = times.iter().map(|time| (time - mean).abs()).fold(f64::MIN_POSITIVE, f64::max);
    let centred: Vec<f64> = times.iter().map(|time| (time - mean) / scale).collect();
    let mut basis: Vec<Vec<f64>> = vec![vec![1.0 / libm::sqrt(count); times.len()]];
    for power in 1..=degree {
        let mut column: Vec<f64> = centred.iter().map(|time| time.powi(power as i32)).collect();
        // Orthogonalises twice, because rounding leaves errors after one pass.
        for other in basis.iter().chain(&basis) {
            let projection: f64 = other.iter().zip(&column).map(|(a, b)| a * b).sum();
            column.iter_mut().zip(other).for_each(|(value, other)| *value -= projection * other);
        }
        let length = libm::sqrt(column.iter().map(|value| value * value).sum::<f64>());
        if length > 1e-9 {
            column.iter_mut().for_each(|value| *value /= length);
            basis.push(column);
        }
    }
    basis.split_off(1)
}

/// The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes 6.4).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let front = libm::exp(
        libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x),
    );
    let away_from_zero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction / a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn moments_count_the_zeros_that_were_not_added() {
        let mut moments = Moments::default();
        moments.add(2.0);
        moments.add(4.0);
        assert_eq!(moments.mean(4), 1.5);
        assert!((moments.variance(4) - 11.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn the_beta_function_is_that_of_the_tables() {
        // scipy.special.betainc.
        for (a, b, x, expected) in [
            (2.0, 3.0, 0.4, 0.5248),
            (0.5, 0.5, 0.3, 0.369_010),
            (50.0, 1.5, 0.95, 0.160_809),
            (1.0, 1.0, 0.7, 0.7),
        ] {
            let found = incomplete_beta(a, b, x);
            assert!((found - expected).abs() < 1e-4, "{a} {b} {x}: {found}");
        }
    }

    #[test]
    fn a_curve_is_significant_and_noise_is_as_often_as_it_should_be() {
        let mut random = Random::new(5, 0);
        let times: Vec<f64> = (0..200).map(f64::from).collect();
        let curve: Vec<f64> =
            times.iter().map(|time| (time - 100.0).powi(2) / 4e3 + random.normal()).collect();
        assert!(curve_p_value(&times, &curve) < 1e-4);
        let mut noise = || curve_p_value(&times, &(0..200).map(|_| random.normal()).collect::<Vec<_>>());
        let below = (0..1000).filter(|_| noise() < 0.05).count();
        assert!((25..80).contains(&below), "{below}");
    }

    #[test]
    fn what_does_not_vary_is_not_significant() {
        assert_eq!(curve_p_value(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[1.0; 6]), 1.0);
        assert_eq!(curve_p_value(&[0.0], &[1.0]), 1.0);
    }
}
