//! `genes.parquet`: the names of the genes; the row is the index that `cells.parquet` uses.

use crate::table::{self, Table};
use anyhow::Result;
use arrow::array::StringArray;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "genes.parquet";

/// Writes the names in order.
pub fn write<T: AsRef<str>>(path: &Path, names: &[T]) -> Result<()> {
    let names = StringArray::from_iter_values(names.iter().map(AsRef::as_ref));
    table::write(path, vec![("gene", Arc::new(names))])
}

/// Reads the names in order.
pub fn read(path: &Path) -> Result<Vec<String>> {
    let names = Table::open(path)?.strings("gene")?;
    Ok(names.iter().flatten().map(str::to_owned).collect())
}
