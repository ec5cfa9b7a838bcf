//! `history.parquet`: the course of a training, one row per step.
//!
//! Columns: `step`, `epoch` (i64, from 1), `examples` (i64, seen so far), `loss` (f64, mean over the step's examples,
//! before the step), `validation_loss` (f64, at the last step of an epoch, else null), `learning_rate`, `gradient_norm`
//! (f64, before clipping). There are no times, because they would make the table different in every run; the speed is
//! in the progress reports.

use anyhow::Result;
use arrow::array::{Float64Array, Int64Array};
use data::table;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "history.parquet";

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 1.
    pub epoch: u64,
    /// The number of examples seen so far, with repetition.
    pub examples: u64,
    /// The mean over the step's examples, before the step.
    pub loss: f64,
    /// At the last step of an epoch, if examples are held out.
    pub validation_loss: Option<f64>,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// The norm over all parameters, before clipping.
    pub gradient_norm: f64,
}

/// Writes the rows.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let whole = |of: fn(&Row) -> u64| Arc::new(rows.iter().map(|row| of(row) as i64).collect::<Int64Array>());
    let floats =
        |of: fn(&Row) -> f64| Arc::new(rows.iter().map(|row| Some(of(row))).collect::<Float64Array>());
    let validation: Float64Array = rows.iter().map(|row| row.validation_loss).collect();
    table::write(
        path,
        vec![
            ("step", whole(|row| row.step)),
            ("epoch", whole(|row| row.epoch)),
            ("examples", whole(|row| row.examples)),
            ("loss", floats(|row| row.loss)),
            ("validation_loss", Arc::new(validation)),
            ("learning_rate", floats(|row| row.learning_rate)),
            ("gradient_norm", floats(|row| row.gradient_norm)),
        ],
    )
}
