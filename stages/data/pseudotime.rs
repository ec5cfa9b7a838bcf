//! `pseudotime.parquet`: the positions of cells on lineages.
//!
//! Columns: `cell`, `lineage` (text), `pseudotime` (f64). Cells that are not on a lineage have no row for it.

use crate::table::{self, Table};
use anyhow::Result;
use arrow::array::{Float64Array, StringArray};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "pseudotime.parquet";

/// The position of a cell on a lineage.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// The cell's id.
    pub cell: String,
    /// The lineage's name.
    pub lineage: String,
    /// The pseudotime.
    pub pseudotime: f64,
}

/// Writes the rows in order.
pub fn write(path: &Path, moments: &[Moment]) -> Result<()> {
    let cells = StringArray::from_iter_values(moments.iter().map(|moment| &moment.cell));
    let lineages = StringArray::from_iter_values(moments.iter().map(|moment| &moment.lineage));
    let times = Float64Array::from_iter_values(moments.iter().map(|moment| moment.pseudotime));
    table::write(
        path,
        vec![("cell", Arc::new(cells)), ("lineage", Arc::new(lineages)), ("pseudotime", Arc::new(times))],
    )
}

/// Reads the rows in order.
pub fn read(path: &Path) -> Result<Vec<Moment>> {
    let table = Table::open(path)?;
    let (cells, lineages) = (table.strings("cell")?, table.strings("lineage")?);
    let times = table.floats("pseudotime")?;
    let moment = |row| Moment {
        cell: cells.value(row).to_owned(),
        lineage: lineages.value(row).to_owned(),
        pseudotime: times.value(row),
    };
    Ok((0..table.rows()).map(moment).collect())
}
