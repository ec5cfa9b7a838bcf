//! What the curves of a training are to be held against: what simpler predictors reach, as metrics of the same artifact.
//!
//! A metric `NAME_OTHER` beside the metric `NAME` is what `OTHER` reaches. `validation_loss` is a cross-entropy, so its
//! yardsticks are `cross_entropy_OTHER`; those of any other column of a history begin with the name of the column.

use crate::metrics::Metric;

/// The yardsticks of a column of a history, each with its value.
pub fn of(column: &str, metrics: &[Metric]) -> Vec<(String, f64)> {
    let name = if column == "validation_loss" { "cross_entropy" } else { column };
    if !metrics.iter().any(|metric| metric.name == name) {
        return Vec::new();
    }
    let yardstick = |metric: &Metric| {
        let other = metric.name.strip_prefix(name)?.strip_prefix('_')?;
        // Differences of the two.
        let apart = other.starts_with("above_") || other.starts_with("below_");
        (!apart).then_some((other.replace('_', " "), metric.value?))
    };
    metrics.iter().filter_map(yardstick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_others_are_yardsticks_and_differences_are_not() {
        let metric = |(name, value): (&str, f64)| Metric {
            name: name.to_owned(),
            value: Some(value),
            interval: None,
            count: None,
        };
        let names =
            ["cross_entropy", "cross_entropy_gene_bins", "cross_entropy_below_gene_bins", "accuracy_bins"];
        let metrics: Vec<Metric> = names.into_iter().zip([1.0, 2.0, 3.0, 4.0]).map(metric).collect();
        assert_eq!(of("validation_loss", &metrics), [("gene bins".to_owned(), 2.0)]);
        assert_eq!(of("cross_entropy", &metrics), [("gene bins".to_owned(), 2.0)]);
        assert!(of("loss", &metrics).is_empty());
        assert!(of("accuracy", &metrics).is_empty(), "nothing is said of the model itself");
    }
}
