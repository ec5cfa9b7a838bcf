//! `pairs.parquet`: labelled pairs of TF and target, each in one part.
//!
//! Columns: `tf`, `target` (text), `label` (i8: 1 regulates, 0 does not as far as is known), `part`
//! (`train`, `validation` or `test`). Rows are sorted by TF, then target, and unique.

use crate::table::{self, Table};
use anyhow::{Result, bail};
use arrow::array::{Int8Array, StringArray};
use contract::stage::Takes;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "pairs.parquet";
/// What a slot takes that needs them.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[FILE]]);

/// What a pair is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Models are fitted to it.
    Train,
    /// Models are chosen on it.
    Validation,
    /// Models are judged on it, once.
    Test,
}

impl Part {
    /// All of them, in their order.
    pub const ALL: [Part; 3] = [Part::Train, Part::Validation, Part::Test];

    /// As the column has it.
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
    /// What it may regulate.
    pub target: String,
    /// Whether it does.
    pub label: bool,
    /// What the pair is for.
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

/// Reads the pairs in their order.
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
