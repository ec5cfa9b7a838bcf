//! `pairs.parquet`: labelled pairs of TF and target, each assigned to one part.
//!
//! Columns: `tf`, `target` (text), `label` (i8: 1 regulates, 0 is not known to), `part`
//! (`train`, `validation` or `test`). Rows are sorted by TF, then target, and unique.

use crate::table::{self, Table};
use anyhow::{Result, bail};
use arrow::array::{Int8Array, StringArray};
use contract::stage::Takes;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "pairs.parquet";
/// The artifact that a slot accepts if it needs labelled pairs.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[FILE]]);

/// The part of the split that a pair belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// For fitting models.
    Train,
    /// For choosing among models.
    Validation,
    /// For the final evaluation, once.
    Test,
}

impl Part {
    /// All parts in order.
    pub const ALL: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// The part's name in the column.
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Validation => "validation",
            Part::Test => "test",
        }
    }
}

/// One labelled pair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The regulator.
    pub tf: String,
    /// The possible target.
    pub target: String,
    /// Whether the TF regulates it.
    pub label: bool,
    /// The part that the pair belongs to.
    pub part: Part,
}

/// Writes the pairs. Prereq: they are sorted.
pub fn write(path: &Path, pairs: &[Pair]) -> Result<()> {
    let text = |of: fn(&Pair) -> &str| Arc::new(StringArray::from_iter_values(pairs.iter().map(of)));
    let labels = Int8Array::from_iter_values(pairs.iter().map(|pair| i8::from(pair.label)));
    let (tfs, targets) = (text(|pair| &pair.tf), text(|pair| &pair.target));
    let parts = text(|pair| pair.part.name());
    table::write(path, vec![("tf", tfs), ("target", targets), ("label", Arc::new(labels)), ("part", parts)])
}

/// Reads the pairs in order.
pub fn read(path: &Path) -> Result<Vec<Pair>> {
    let table = Table::open(path)?;
    let (tfs, targets, parts) = (table.strings("tf")?, table.strings("target")?, table.strings("part")?);
    let labels = table.integers("label")?;
    let pair = |row: usize| {
        let Some(part) = Part::ALL.into_iter().find(|part| part.name() == parts.value(row)) else {
            bail!("{}: row {row}: there is no part `{}`", path.display(), parts.value(row))
        };
        let (tf, target) = (tfs.value(row).to_owned(), targets.value(row).to_owned());
        Ok(Pair { tf, target, label: labels.value(row) == 1, part })
    };
    (0..table.rows()).map(pair).collect()
}
