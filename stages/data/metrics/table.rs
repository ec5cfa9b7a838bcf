//! `metrics.parquet`: one row per metric.
//!
//! Columns: `metric` (text), `value`, `low`, `high` (f64, null if undefined; the limits are those of the 95 %
//! interval), `n` (i64: how many pairs, TFs or cells it is taken over). Long form, so that tables of many runs can be
//! concatenated and new metrics do not break readers.

use super::summary::Row;
use crate::table;
use anyhow::Result;
use arrow::array::{Float64Array, Int64Array, StringArray};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "metrics.parquet";

/// Writes the rows in order.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let names = StringArray::from_iter_values(rows.iter().map(|row| &row.metric));
    let values: Float64Array = rows.iter().map(|row| row.value).collect();
    let limit = |of: fn(&(f64, f64)) -> f64| {
        Arc::new(rows.iter().map(|row| row.interval.as_ref().map(of)).collect::<Float64Array>())
    };
    let counts = Int64Array::from_iter_values(rows.iter().map(|row| row.count as i64));
    table::write(
        path,
        vec![
            ("metric", Arc::new(names)),
            ("value", Arc::new(values)),
            ("low", limit(|interval| interval.0)),
            ("high", limit(|interval| interval.1)),
            ("n", Arc::new(counts)),
        ],
    )
}
