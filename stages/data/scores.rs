//! `scores.parquet`: how likely a method considers each regulation.
//!
//! Columns: `tf`, `target` (text), `score` (f64; a larger absolute value means more likely; a negative
//! score predicts that the TF represses). A pair without a row has the score 0.

use crate::table::{self, Table};
use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use contract::stage::Takes;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "scores.parquet";
/// The artifact that a slot accepts if it needs scores.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[FILE]]);

/// One scored pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The regulator.
    pub tf: String,
    /// The possible target.
    pub target: String,
    /// How likely the regulation is.
    pub score: f64,
}

/// Sorts the most likely pairs first; ties are sorted by name.
pub fn rank(scores: &mut [Score]) {
    let name = |score: &Score| (score.tf.clone(), score.target.clone());
    scores.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()).then_with(|| name(a).cmp(&name(b))));
}

/// Writes the scores in order.
pub fn write(path: &Path, scores: &[Score]) -> Result<()> {
    let tfs = StringArray::from_iter_values(scores.iter().map(|score| &score.tf));
    let targets = StringArray::from_iter_values(scores.iter().map(|score| &score.target));
    let values = Float64Array::from_iter_values(scores.iter().map(|score| score.score));
    table::write(
        path,
        vec![("tf", Arc::new(tfs)), ("target", Arc::new(targets)), ("score", Arc::new(values))],
    )
}

/// Writes scores TF by TF, so that they do not have to fit in memory.
pub struct Writer {
    inner: table::Writer,
    schema: Arc<Schema>,
}

impl Writer {
    /// Prereq: nothing is at `path`.
    pub fn create(path: &Path) -> Result<Writer> {
        let text = |name| Field::new(name, DataType::Utf8, false);
        let score = Field::new("score", DataType::Float64, false);
        let schema = Arc::new(Schema::new(vec![text("tf"), text("target"), score]));
        Ok(Writer { inner: table::Writer::create(path, schema.clone())?, schema })
    }

    /// Appends the scores of one TF.
    pub fn push<'a>(&mut self, tf: &str, scored: impl Iterator<Item = (&'a str, f64)>) -> Result<()> {
        let (targets, values): (Vec<&str>, Vec<f64>) = scored.unzip();
        let tfs = StringArray::from_iter_values(targets.iter().map(|_| tf));
        let (targets, values) = (StringArray::from(targets), Float64Array::from(values));
        let columns: Vec<ArrayRef> = vec![Arc::new(tfs), Arc::new(targets), Arc::new(values)];
        self.inner.write(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// Closes the file.
    pub fn finish(self) -> Result<()> {
        self.inner.finish()
    }
}

/// Reads the scores in order.
pub fn read(path: &Path) -> Result<Vec<Score>> {
    let table = Table::open(path)?;
    let (tfs, targets, values) = (table.strings("tf")?, table.strings("target")?, table.floats("score")?);
    let score = |row| Score {
        tf: tfs.value(row).to_owned(),
        target: targets.value(row).to_owned(),
        score: values.value(row),
    };
    let scores: Vec<Score> = (0..table.rows()).map(score).collect();
    if let Some(wrong) = scores.iter().find(|score| !score.score.is_finite()) {
        bail!("{}: the score of `{}` and `{}` is {}", path.display(), wrong.tf, wrong.target, wrong.score);
    }
    Ok(scores)
}
