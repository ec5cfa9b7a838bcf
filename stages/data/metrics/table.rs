//! `metrics.parquet`: one row per number.
//!
//! Columns: `metric` (text), `value`, `low`, `high` (f64, null where they mean nothing; the limits are those of the 95 %
//! interval), `n` (i64: how many pairs, TFs or cells it is taken over). In long form, so that tables of many runs are
//! put below each other and a new metric breaks nobody's reader.

use super::summary::Row;
use crate::table;
use anyhow::Result;
use arrow::array::{Float64Array, Int64Array, StringArray};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "metrics.parquet";

/// Writes the rows in their order.
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
