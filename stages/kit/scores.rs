//! `scores.parquet`: how likely one gene regulates another, as some method sees it.
//!
//! Columns: `tf`, `target` (text), `score` (f64; the larger in absolute value, the likelier; a negative
//! one is a guess that the TF represses). A pair without a row has the score 0.

use super::table::{self, Table};
use anyhow::{Result, bail};
use arrow::array::{Float64Array, StringArray};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "scores.parquet";

/// One scored pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The regulator.
    pub tf: String,
    /// What it may regulate.
    pub target: String,
    /// How likely it does.
    pub score: f64,
}

/// Puts the likeliest pairs first; of equals, the first by name.
pub fn rank(scores: &mut [Score]) {
    let name = |score: &Score| (score.tf.clone(), score.target.clone());
    scores.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()).then_with(|| name(a).cmp(&name(b))));
}

/// Writes the scores in their order.
pub fn write(path: &Path, scores: &[Score]) -> Result<()> {
    let tfs = StringArray::from_iter_values(scores.iter().map(|score| &score.tf));
    let targets = StringArray::from_iter_values(scores.iter().map(|score| &score.target));
    let values = Float64Array::from_iter_values(scores.iter().map(|score| score.score));
    table::write(
        path,
        vec![("tf", Arc::new(tfs)), ("target", Arc::new(targets)), ("score", Arc::new(values))],
    )
}

/// Reads the scores in their order.
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
