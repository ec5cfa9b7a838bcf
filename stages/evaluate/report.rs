//! The tables that `evaluate` writes.

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use data::metrics::{Metrics, Ranking, curves};
use data::table;
use std::path::Path;
use std::sync::Arc;

/// One row per TF, sorted: `tf` (text), `edges`, `others` (i64), and a column per metric (f64, null where
/// the TF lacks one class).
pub const PER_TF: &str = "per-tf.parquet";
/// Points: `curve` (`roc` or `precision_recall`), `x`, `y` (f64). x is the false positive rate or recall, y the true
/// positive rate or precision.
pub const CURVES: &str = "curves.parquet";

/// The most points per curve: more than a figure can show.
const POINTS: usize = 500;

/// Writes the metrics of each TF.
pub fn per_tf(path: &Path, tfs: &[String], ranking: &Ranking, of_tfs: &[Option<Metrics>]) -> Result<()> {
    let count = |edge: bool| {
        let mut counts = vec![0; tfs.len()];
        ranking
            .pairs()
            .iter()
            .filter(|pair| pair.edge == edge)
            .for_each(|pair| counts[pair.tf as usize] += 1);
        Arc::new(Int64Array::from(counts))
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("tf", Arc::new(StringArray::from_iter_values(tfs))),
        ("edges", count(true)),
        ("others", count(false)),
    ];
    let values: Vec<Option<[f64; Metrics::NAMES.len()]>> =
        of_tfs.iter().map(|metrics| metrics.as_ref().map(Metrics::values)).collect();
    for (index, name) in Metrics::NAMES.into_iter().enumerate() {
        columns.push((name, floats(values.iter().map(|values| values.map(|values| values[index])))));
    }
    table::write(path, columns)
}

/// Writes both curves.
pub fn curves(path: &Path, ranking: &Ranking) -> Result<()> {
    let curves = [
        ("roc", curves::roc(ranking, POINTS)),
        ("precision_recall", curves::precision_recall(ranking, POINTS)),
    ];
    let points = || curves.iter().flat_map(|(name, points)| points.iter().map(move |point| (*name, *point)));
    let names = StringArray::from_iter_values(points().map(|(name, _)| name));
    let x = Float64Array::from_iter_values(points().map(|(_, (x, _))| x));
    let y = Float64Array::from_iter_values(points().map(|(_, (_, y))| y));
    table::write(path, vec![("curve", Arc::new(names)), ("x", Arc::new(x)), ("y", Arc::new(y))])
}

fn floats(values: impl Iterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from_iter(values))
}
