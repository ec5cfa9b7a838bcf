//! Spread, paired differences and significance tests.

use data::random::Random;

/// The confidence level of intervals.
pub const COVERAGE: f64 = 0.95;
/// Up to this many pairs all sign combinations are tried; for more, random ones are drawn.
const EXACT: usize = 16;
const DRAWS: usize = 50_000;

/// `None` if empty.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation with `n - 1` in the denominator; `None` for fewer than two values.
pub fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// The difference between paired measurements.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The number of pairs.
    pub pairs: usize,
    /// Their mean difference.
    pub mean: f64,
    /// The 95 % interval of Student's t; `None` for a single pair.
    pub interval: Option<(f64, f64)>,
    /// The probability that random signs of the differences lead at least as far from zero.
    pub p: f64,
}

impl Difference {
    /// Summarises the differences; `None` if empty.
    pub fn of(differences: &[f64]) -> Option<Difference> {
        let mean = mean(differences)?;
        let half = deviation(differences).map(|deviation| {
            t_quantile(differences.len() - 1) * deviation / (differences.len() as f64).sqrt()
        });
        Some(Difference {
            pairs: differences.len(),
            mean,
            interval: half.map(|half| (mean - half, mean + half)),
            p: sign_flips(differences),
        })
    }

    /// Whether the whole interval lies above zero.
    pub fn is_above_zero(&self) -> bool {
        self.interval.is_some_and(|(low, _)| low > 0.0)
    }

    /// The difference with its direction reversed.
    pub fn reversed(self) -> Difference {
        Difference { mean: -self.mean, interval: self.interval.map(|(low, high)| (-high, -low)), ..self }
    }
}

/// The two-sided p-value of a permutation test: under the null hypothesis each difference could equally well have
/// the other sign (Fisher 1935).
fn sign_flips(differences: &[f64]) -> f64 {
    let observed = differences.iter().sum::<f64>().abs();
    // Rounding may change sums that are really equal by this much.
    let slack = differences.iter().map(|difference| difference.abs()).sum::<f64>() * 1e-12;
    let as_far = |sum: f64| sum.abs() >= observed - slack;
    if differences.len() <= EXACT {
        let all = 1u32 << differences.len();
        let sum = |signs: u32| -> f64 {
            let signed = |(i, value): (usize, &f64)| if signs >> i & 1 == 1 { -value } else { *value };
            differences.iter().enumerate().map(signed).sum()
        };
        return (0..all).filter(|signs| as_far(sum(*signs))).count() as f64 / f64::from(all);
    }
    let mut random = Random::new(0, 0);
    let mut draw = || -> f64 {
        let mut bits = 0;
        let signed = |(i, value): (usize, &f64)| {
            if i % 64 == 0 {
                bits = random.bits();
            }
            if bits >> (i % 64) & 1 == 1 { -value } else { *value }
        };
        differences.iter().enumerate().map(signed).sum()
    };
    let count = (0..DRAWS).filter(|_| as_far(draw())).count();
    // The observed signs count as one of the draws, so that no p-value is 0.
    (count + 1) as f64 / (DRAWS + 1) as f64
}

/// Holm's step-down correction for multiple tests (Holm 1979), in the order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut corrected = vec![0.0; p_values.len()];
    let mut least = 0.0f64;
    for (rank, index) in order.into_iter().enumerate() {
        least = least.max(p_values[index] * (p_values.len() - rank) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// The number of standard errors that a 95 % interval of Student's t extends to each side.
fn t_quantile(freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if within(middle, freedom) < COVERAGE { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// The probability of |t| below a bound, by the finite sums for whole degrees of freedom (Abramowitz and
/// Stegun 1964, 26.7.3 and 26.7.4).
fn within(t: f64, freedom: usize) -> f64 {
    let theta = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = theta.sin_cos();
    let even = freedom.is_multiple_of(2);
    let (mut term, mut sum) = if even { (1.0, 1.0) } else { (cosine, cosine) };
    let mut factor = if even { 1.0 } else { 2.0 };
    while factor <= freedom as f64 - 3.0 {
        term *= cosine * cosine * factor / (factor + 1.0);
        sum += term;
        factor += 2.0;
    }
    match (even, freedom) {
        (true, _) => sine * sum,
        (false, 1) => theta / std::f64::consts::FRAC_PI_2,
        (false, _) => (theta + sine * sum) / std::f64::consts::FRAC_PI_2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // scipy.stats.t.ppf(0.975, df).
        for (freedom, expected) in [
            (1, 12.7062),
            (2, 4.3027),
            (3, 3.1824),
            (4, 2.7764),
            (5, 2.5706),
            (9, 2.2622),
            (30, 2.0423),
            (99, 1.9842),
        ] {
            assert!((t_quantile(freedom) - expected).abs() < 1e-4, "{freedom}: {}", t_quantile(freedom));
        }
    }

    #[test]
    fn signs_are_flipped_in_every_way() {
        let difference = Difference::of(&[0.1, 0.2, 0.3]).unwrap();
        assert_eq!(difference.p, 2.0 / 8.0, "only all signs as they are, or all the other way, lead as far");
        assert!((difference.mean - 0.2).abs() < 1e-12 && !difference.is_above_zero());
        let (low, high) = difference.interval.unwrap();
        assert!((low + 0.0484).abs() < 1e-4 && (high - 0.4484).abs() < 1e-4, "{low} {high}");
        assert_eq!(Difference::of(&[0.0, 0.0]).unwrap().p, 1.0);
        assert_eq!(Difference::of(&[0.5]).unwrap().interval, None);
        let many: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { 1.0 } else { -0.99 }).collect();
        let p = Difference::of(&many).unwrap().p;
        // All sums are as far, except those with as many positive as negative ones: 1 - C(40, 20) / 2^40.
        assert!((p - 0.8746).abs() < 0.005, "{p}");
        assert!(Difference::of(&vec![1.0; 40]).unwrap().p < 1e-4);
    }

    #[test]
    fn holm_steps_down() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(corrected.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{corrected:?}");
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }
}
