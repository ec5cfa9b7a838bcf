//! `types.parquet`: the type of each cell.
//!
//! Columns: `cell`, `type` (text).

use crate::lines::first_bytes;
use crate::records::Records;
use crate::table::{self, Table};
use anyhow::{Result, bail};
use arrow::array::StringArray;
use contract::stage::{Mistake, Wires};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "types.parquet";

/// What a model predicts. Columns: `cell`, `type` (null if not known), `predicted`, `part` (text: `training`,
/// `validation`, `test` or `unlabelled`), `probability` (f64: the model's, of the predicted type); one row for each cell.
pub const PREDICTIONS: &str = "predictions.parquet";

/// How tables write that a value is missing.
const MISSING: [&str; 5] = ["", "NA", "NaN", "nan", "None"];
/// Endings of tables of cells.
const ENDINGS: [&str; 8] = [".csv", ".tsv", ".txt", ".parquet", ".csv.gz", ".tsv.gz", ".txt.gz", ".pq"];

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

/// Refuses a file in this slot whose name is not that of a table.
pub fn check(slot: &str, wires: Wires<'_>) -> Result<(), Mistake> {
    match wires.file(slot) {
        // A folder may have any name.
        Some(file)
            if Path::new(file).extension().is_some() && !ENDINGS.iter().any(|end| file.ends_with(end)) =>
        {
            let message = format!(
                "`{file}` is no table of cells and their types: csv, tsv, Parquet, or a folder with `{FILE}`; \
                 of h5ad and loom files, `dataset` reads a column with `types: {{column: …}}`"
            );
            Err(Mistake::slot(slot, message))
        }
        _ => Ok(()),
    }
}

/// Reads cells and their types from a folder with `types.parquet`, or from a table that another program wrote: cells
/// in the column `cell` or else the first, types in the named column, or else in `type` or the only other one. Cells
/// whose type is missing are left out.
pub fn read_any(path: &Path, column: Option<&str>) -> Result<Vec<(String, String)>> {
    if path.is_dir() {
        return read(&path.join(FILE));
    }
    let (header, mut rows) = match first_bytes(path)?.starts_with(b"PAR1") {
        true => of_parquet(path)?,
        false => of_text(path)?,
    };
    let cells = header.iter().position(|name| name == "cell").unwrap_or(0);
    let wanted = column.unwrap_or("type");
    let types = match header.iter().position(|name| name == wanted) {
        Some(place) => place,
        None if column.is_none() && header.len() == 2 => 1 - cells,
        None => bail!("{}: has no column `{wanted}`, only `{}`", path.display(), header.join("`, `")),
    };
    if types == cells {
        bail!("{}: the column `{wanted}` holds the names of the cells", path.display());
    }
    let pairs = rows.iter_mut().map(|row| (std::mem::take(&mut row[cells]), std::mem::take(&mut row[types])));
    known(pairs.map(|(cell, of)| (cell, Some(of))).collect(), path)
}

/// The cells whose type is not missing. A cell that is there twice is an error.
pub fn known(labels: Vec<(String, Option<String>)>, path: &Path) -> Result<Vec<(String, String)>> {
    let mut seen = HashSet::new();
    if let Some((twice, _)) = labels.iter().find(|(cell, _)| !seen.insert(cell.as_str())) {
        bail!("{}: the cell `{twice}` is there twice", path.display());
    }
    let known = labels.into_iter().filter_map(|(cell, of)| {
        let of = of?.trim().to_owned();
        (!MISSING.contains(&of.as_str())).then_some((cell, of))
    });
    let known: Vec<(String, String)> = known.collect();
    if known.is_empty() {
        bail!("{}: no cell has a type", path.display());
    }
    Ok(known)
}

/// The header and the rows of a table.
type Rows = (Vec<String>, Vec<Vec<String>>);

fn of_text(path: &Path) -> Result<Rows> {
    let mut records = Records::open(path)?;
    let header = records.header().to_vec();
    if header.len() < 2 {
        bail!("{}: line 1 has one column only; it takes one of cells and one of types", path.display());
    }
    let mut rows = Vec::new();
    while records.advance()? {
        rows.push(records.record().fields().map(str::to_owned).collect());
    }
    Ok((header, rows))
}

fn of_parquet(path: &Path) -> Result<Rows> {
    let table = Table::open(path)?;
    let mut header = Vec::new();
    let mut columns = Vec::new();
    // Columns of fractions are neither names nor types.
    for name in table.columns() {
        if let Ok(texts) = table.texts(&name) {
            header.push(name);
            columns.push(texts);
        }
    }
    if header.len() < 2 {
        bail!("{}: should have a column of cells and one of types", path.display());
    }
    let value = |column: &Vec<Option<String>>, row: usize| column[row].clone().unwrap_or_default();
    let rows = (0..table.rows()).map(|row| columns.iter().map(|column| value(column, row)).collect());
    Ok((header, rows.collect()))
}
