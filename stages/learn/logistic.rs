//! Logistic regression on a few features.

use crate::linear;

/// The ridge penalty: half of this times the squared weight, for features scaled to variance 1.
const RIDGE: f64 = 1.0;
const MOST_STEPS: usize = 50;

/// A fitted model.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// One per feature, for unscaled features.
    weights: Vec<f64>,
    intercept: f64,
}

impl Logistic {
    /// Fits to rows of `width` features with one label each (Newton's method). A constant feature gets weight 0.
    pub fn fit(rows: &[f64], width: usize, labels: &[bool]) -> Logistic {
        let (means, scales) = standards(rows, width);
        let size = width + 1;
        let mut found = vec![0.0; size];
        let mut row = vec![0.0; size];
        for _ in 0..MOST_STEPS {
            let mut gradient: Vec<f64> = found.iter().map(|weight| -RIDGE * weight).collect();
            gradient[width] = 0.0;
            let mut curvature = vec![0.0; size * size];
            (0..width).for_each(|place| curvature[place * size + place] = RIDGE);
            // Keeps the intercept finite if there is only one class.
            curvature[size * size - 1] = 1e-9;
            for (features, label) in rows.chunks_exact(width).zip(labels) {
                let standards = means.iter().zip(&scales);
                for ((place, feature), (mean, scale)) in row.iter_mut().zip(features).zip(standards) {
                    *place = (feature - mean) * scale;
                }
                row[width] = 1.0;
                let chance = sigmoid(row.iter().zip(&found).map(|(value, weight)| value * weight).sum());
                let error = f64::from(u8::from(*label)) - chance;
                let spread = chance * (1.0 - chance);
                let lines = gradient.iter_mut().zip(curvature.chunks_exact_mut(size));
                for (own, (slope, line)) in row.iter().zip(lines) {
                    *slope += error * own;
                    line.iter_mut().zip(&row).for_each(|(entry, value)| *entry += spread * own * value);
                }
            }
            if linear::solve(&mut curvature, &mut gradient).is_none() {
                break;
            }
            // Limits the step, which may overshoot if the classes are nearly separable.
            let longest = gradient.iter().fold(0.0, |longest: f64, step| longest.max(step.abs()));
            let shorten = if longest > 4.0 { 4.0 / longest } else { 1.0 };
            found.iter_mut().zip(&gradient).for_each(|(weight, step)| *weight += shorten * step);
            if longest < 1e-10 {
                break;
            }
        }
        let weights: Vec<f64> =
            found[..width].iter().zip(&scales).map(|(weight, scale)| weight * scale).collect();
        let shift: f64 = weights.iter().zip(&means).map(|(weight, mean)| weight * mean).sum();
        Logistic { intercept: found[width] - shift, weights }
    }

    /// The log odds.
    pub fn log_odds(&self, features: &[f64]) -> f64 {
        self.intercept + features.iter().zip(&self.weights).map(|(value, weight)| value * weight).sum::<f64>()
    }
}

/// The probability for these log odds.
pub fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-log_odds))
}

/// The log odds of a probability.
pub fn logit(chance: f64) -> f64 {
    libm::log(chance / (1.0 - chance))
}

/// Means, and the factors that scale each feature to variance 1: 0 for constant features.
fn standards(rows: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (rows.len() / width.max(1)).max(1) as f64;
    let column = |place: usize| rows.chunks_exact(width).map(move |row| row[place]);
    let means: Vec<f64> = (0..width).map(|place| column(place).sum::<f64>() / count).collect();
    let scale = |place: usize| {
        let around = |value: f64| (value - means[place]) * (value - means[place]);
        let deviation = libm::sqrt(column(place).map(around).sum::<f64>() / count);
        if deviation > 1e-9 * (1.0 + means[place].abs()) { 1.0 / deviation } else { 0.0 }
    };
    let scales = (0..width).map(scale).collect();
    (means, scales)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::random::Random;

    #[test]
    fn weights_are_those_that_made_the_labels() {
        let mut random = Random::new(2, 0);
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let (a, b) = (3.0 + random.normal(), 0.1 * random.normal());
            labels.push(random.unit() < sigmoid(0.5 * a - 4.0 * b - 2.0));
            rows.extend([a, b, 7.0]);
        }
        let model = Logistic::fit(&rows, 3, &labels);
        assert!((model.weights[0] - 0.5).abs() < 0.06 && (model.weights[1] + 4.0).abs() < 0.5, "{model:?}");
        assert_eq!(model.weights[2], 0.0);
        assert!((model.log_odds(&[3.0, 0.0, 7.0]) + 0.5).abs() < 0.06, "{model:?}");
    }

    #[test]
    fn separable_and_single_classes_stay_finite() {
        let rows = [0.0, 1.0, 2.0, 3.0];
        for labels in [[false, false, true, true], [true; 4], [false; 4]] {
            let model = Logistic::fit(&rows, 1, &labels);
            assert!(rows.iter().all(|value| model.log_odds(&[*value]).is_finite()), "{labels:?}: {model:?}");
        }
    }
}
