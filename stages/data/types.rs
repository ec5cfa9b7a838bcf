//! `types.parquet`: the type of each cell.
//!
//! Columns: `cell`, `type` (text).

use crate::table::{self, Table};
use anyhow::Result;
use arrow::array::StringArray;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "types.parquet";

/// Writes cells and their types in order.
pub fn write(path: &Path, types: &[(String, String)]) -> Result<()> {
    let cells = StringArray::from_iter_values(types.iter().map(|(cell, _)| cell));
    let types = StringArray::from_iter_values(types.iter().map(|(_, of)| of));
    table::write(path, vec![("cell", Arc::new(cells)), ("type", Arc::new(types))])
}

/// Reads cells and their types in order.
pub fn read(path: &Path) -> Result<Vec<(String, String)>> {
    let table = Table::open(path)?;
    let (cells, types) = (table.strings("cell")?, table.strings("type")?);
    Ok((0..table.rows()).map(|row| (cells.value(row).to_owned(), types.value(row).to_owned())).collect())
}
