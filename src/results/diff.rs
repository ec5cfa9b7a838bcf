//! Compares two artifacts: which files differ, and for tables which columns and rows.

use crate::cell::Columns;
use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use contract::disk;
use data::table::Batches;
use engine::store::{Artifact, Manifest};
use engine::text::{count, number};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// The differences of two artifacts. Identical files are only counted.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// How many files are the same.
    pub same: usize,
    /// The files that differ.
    pub files: Vec<FileDifference>,
}

/// A file that is not identical in both artifacts.
#[derive(Debug, Serialize)]
pub struct FileDifference {
    /// Its path in the artifacts.
    pub path: String,
    /// How it differs.
    pub how: How,
}

/// How a file differs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Only the first artifact has it.
    OnlyFirst,
    /// Only the second artifact has it.
    OnlySecond,
    /// Both are tables with different content.
    Tables(TableDifference),
    /// The first line that differs, with its text in both.
    Line {
        /// Counted from 1.
        number: usize,
        /// In the first.
        first: String,
        /// In the second.
        second: String,
    },
    /// Only the bytes can be said to differ.
    Bytes,
}

/// The differences of two tables whose rows are compared in order.
#[derive(Debug, Default, Serialize)]
pub struct TableDifference {
    /// Columns that only one has, or whose types differ, described in words.
    pub schema: Vec<String>,
    /// How many rows each has.
    pub rows: [usize; 2],
    /// How many of the rows that both have differ.
    pub differing: usize,
    /// Columns that differ.
    pub columns: Vec<ColumnDifference>,
    /// The first rows that differ: their index, and the cells of both as text.
    pub first: Vec<(usize, Vec<String>, Vec<String>)>,
    /// The columns that both have.
    pub names: Vec<String>,
    /// Those that the cells of `first` belong to; the values of genes are shown with the genes.
    pub shown: Vec<String>,
}

/// One column that differs.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnDifference {
    /// What it is called.
    pub name: String,
    /// In how many rows.
    pub rows: usize,
    /// For numbers, the largest difference and its row.
    pub largest: Option<(f64, usize)>,
}

/// Compares two artifacts, showing at most `rows` rows of each table.
pub fn artifacts(
    one: (&Artifact, &Manifest),
    other: (&Artifact, &Manifest),
    rows: usize,
) -> Result<Difference> {
    let digest = |manifest: &Manifest, path: &str| {
        manifest.files.iter().find(|file| file.path == path).map(|file| file.digest)
    };
    let names = one.1.files.iter().chain(&other.1.files).map(|file| file.path.as_str());
    let mut found = Difference { same: 0, files: Vec::new() };
    for path in names.collect::<BTreeSet<_>>() {
        let how = match (digest(one.1, path), digest(other.1, path)) {
            (Some(a), Some(b)) if a == b => {
                found.same += 1;
                continue;
            }
            (Some(_), None) => How::OnlyFirst,
            (None, _) => How::OnlySecond,
            (Some(_), Some(_)) => content(&one.0.file(path), &other.0.file(path), rows)?,
        };
        found.files.push(FileDifference { path: path.to_owned(), how });
    }
    Ok(found)
}

fn content(one: &Path, other: &Path, rows: usize) -> Result<How> {
    if one.extension().is_some_and(|extension| extension == "parquet") {
        return Ok(How::Tables(tables(one, other, rows)?));
    }
    let (a, b) = (disk::read(one)?, disk::read(other)?);
    let (Ok(a), Ok(b)) = (std::str::from_utf8(&a), std::str::from_utf8(&b)) else { return Ok(How::Bytes) };
    let (mut ours, mut theirs) = (a.lines(), b.lines());
    for number in 1.. {
        match (ours.next(), theirs.next()) {
            (None, None) => break,
            (first, second) if first == second => {}
            (first, second) => {
                let shown = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
                return Ok(How::Line { number, first: shown(first), second: shown(second) });
            }
        }
    }
    Ok(How::Bytes)
}

/// Compares two tables row by row, however their rows are split into batches.
pub fn tables(one: &Path, other: &Path, rows: usize) -> Result<TableDifference> {
    let (mut ours, mut theirs) = (Rows::open(one)?, Rows::open(other)?);
    let mut found = TableDifference::default();
    let (a, b) = (ours.batches.schema(), theirs.batches.schema());
    for field in a.fields() {
        match b.field_with_name(field.name()) {
            Err(_) => found.schema.push(format!("`{}` is only in the first", field.name())),
            Ok(same) if same.data_type() != field.data_type() => found.schema.push(format!(
                "`{}` holds {} in the first and {} in the second",
                field.name(),
                field.data_type(),
                same.data_type()
            )),
            Ok(_) => found.names.push(field.name().clone()),
        }
    }
    let new = b.fields().iter().filter(|field| a.field_with_name(field.name()).is_err());
    found.schema.extend(new.map(|field| format!("`{}` is only in the second", field.name())));
    let mut columns: Vec<ColumnDifference> = found
        .names
        .iter()
        .map(|name| ColumnDifference { name: name.clone(), rows: 0, largest: None })
        .collect();
    let columns_of = Columns::of(one);
    let names = found.names.clone();
    let shown = columns_of.shown(&names.iter().map(String::as_str).collect::<Vec<_>>());
    found.shown = shown.iter().map(|name| (*name).to_owned()).collect();
    let mut row = 0;
    loop {
        let (Some(left), Some(right)) = (ours.left()?, theirs.left()?) else { break };
        let length = left.min(right);
        let (first, second) = (ours.take(length), theirs.take(length));
        let mut differs = vec![false; length];
        for (name, column) in found.names.iter().zip(&mut columns) {
            if let (Some(a), Some(b)) = (first.column_by_name(name), second.column_by_name(name)) {
                compare(a, b, row, column, &mut differs).with_context(|| format!("comparing `{name}`"))?;
            }
        }
        for (place, _) in differs.iter().enumerate().filter(|(_, differs)| **differs) {
            found.differing += 1;
            if found.first.len() < rows {
                let texts = shown.iter().map(|name| {
                    let [ours, theirs] = [&first, &second].map(|batch| columns_of.cell(batch, name, place));
                    ours.texts(&theirs)
                });
                let (ours, theirs) = texts.unzip();
                found.first.push((row + place, ours, theirs));
            }
        }
        row += length;
    }
    found.rows = [row + ours.rest()?, row + theirs.rest()?];
    found.columns = columns.into_iter().filter(|column| column.rows > 0).collect();
    Ok(found)
}

fn compare(
    a: &ArrayRef,
    b: &ArrayRef,
    from: usize,
    column: &mut ColumnDifference,
    differs: &mut [bool],
) -> Result<()> {
    if a == b {
        return Ok(());
    }
    if a.data_type().is_numeric() {
        let [a, b] = [a, b].map(|array| cast(array, &DataType::Float64));
        let (a, b) = (a?, b?);
        let (ours, theirs) = (a.as_primitive::<Float64Type>(), b.as_primitive::<Float64Type>());
        for (row, differs) in differs.iter_mut().enumerate() {
            let value = |array: &arrow::array::Float64Array| array.is_valid(row).then(|| array.value(row));
            let (one, other) = (value(ours), value(theirs));
            let both_nan = matches!((one, other), (Some(one), Some(other)) if one.is_nan() && other.is_nan());
            if one == other || both_nan {
                continue;
            }
            *differs = true;
            column.rows += 1;
            if let (Some(one), Some(other)) = (one, other) {
                let apart = (one - other).abs();
                if column.largest.is_none_or(|(largest, _)| apart > largest) {
                    column.largest = Some((apart, from + row));
                }
            }
        }
        return Ok(());
    }
    for (row, differs) in differs.iter_mut().enumerate() {
        if a.slice(row, 1) != b.slice(row, 1) {
            *differs = true;
            column.rows += 1;
        }
    }
    Ok(())
}

/// The rows of a table, taken in slices of any length.
struct Rows {
    batches: Batches,
    current: Option<RecordBatch>,
}

impl Rows {
    fn open(path: &Path) -> Result<Rows> {
        Ok(Rows { batches: Batches::open(path)?, current: None })
    }

    /// How many rows the current batch has left; `None` at the end.
    fn left(&mut self) -> Result<Option<usize>> {
        while self.current.as_ref().is_none_or(|batch| batch.num_rows() == 0) {
            match self.batches.next() {
                Some(batch) => self.current = Some(batch?),
                None => return Ok(None),
            }
        }
        Ok(self.current.as_ref().map(RecordBatch::num_rows))
    }

    /// Prereq: at least this many rows are left.
    fn take(&mut self, length: usize) -> RecordBatch {
        let batch = self.current.take().expect("there are rows left");
        self.current = Some(batch.slice(length, batch.num_rows() - length));
        batch.slice(0, length)
    }

    fn rest(&mut self) -> Result<usize> {
        let mut rows = 0;
        while let Some(left) = self.left()? {
            rows += left;
            self.take(left);
        }
        Ok(rows)
    }
}

impl Difference {
    /// Formats the differences for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for FileDifference { path, how } in &self.files {
            text.push_str(&match how {
                How::OnlyFirst => format!("{path}: only in the first\n"),
                How::OnlySecond => format!("{path}: only in the second\n"),
                How::Bytes => format!("{path}: its bytes differ\n"),
                How::Line { number, first, second } => {
                    let (first, second) = engine::text::difference(first, second);
                    format!("{path}: line {number} is the first that differs\n  - {first}\n  + {second}\n")
                }
                How::Tables(tables) => format!("{path}: {}", tables.to_text()),
            });
        }
        let same = count(self.same, "file");
        let are = if self.same == 1 { "is" } else { "are" };
        match (self.files.len(), self.same) {
            (0, _) => text.push_str(&format!("nothing differs: {same} {are} the same\n")),
            (_, 0) => {}
            _ => text.push_str(&format!("{same} {are} the same\n")),
        }
        text
    }
}

impl TableDifference {
    fn to_text(&self) -> String {
        let [one, other] = self.rows;
        let rows =
            if one == other { format!("{one} rows in both") } else { format!("{one} rows and {other}") };
        let mut text = format!("{rows}, {} of them differ\n", self.differing);
        self.schema.iter().for_each(|what| text.push_str(&format!("  {what}\n")));
        for ColumnDifference { name, rows, largest } in &self.columns {
            let largest = largest.map_or_else(String::new, |(apart, row)| {
                format!(", by {} at most (row {row})", number(apart))
            });
            text.push_str(&format!("  {name}: differs in {}{largest}\n", count(*rows, "row")));
        }
        if !self.first.is_empty() {
            let mut table =
                vec![["    row".to_owned()].into_iter().chain(self.shown.clone()).collect::<Vec<_>>()];
            for (row, one, other) in &self.first {
                table.push([format!("  - {row}")].into_iter().chain(one.clone()).collect());
                table.push(["  +".to_owned()].into_iter().chain(other.clone()).collect());
            }
            text.push_str(&crate::output::table(&table));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray};
    use data::table::write;
    use std::sync::Arc;

    #[test]
    fn tables_are_compared_row_by_row() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, rows: usize, changed: Option<usize>| {
            let path = folder.path().join(name);
            let names: Vec<String> = (0..rows).map(|i| format!("g{i}")).collect();
            let mut values: Vec<f64> = (0..rows).map(|i| i as f64).collect();
            if let Some(row) = changed {
                values[row] += 0.5;
            }
            write(
                &path,
                vec![
                    ("name", Arc::new(StringArray::from(names))),
                    ("score", Arc::new(Float64Array::from(values))),
                ],
            )
            .unwrap();
            path
        };
        let (one, other) = (make("a.parquet", 100_000, None), make("b.parquet", 100_003, Some(70_001)));
        let found = tables(&one, &other, 3).unwrap();
        assert_eq!((found.rows, found.differing), ([100_000, 100_003], 1));
        assert_eq!(found.columns[0].largest, Some((0.5, 70_001)));
        assert_eq!(found.first[0].0, 70_001);
        assert!(found.schema.is_empty());
        assert_eq!(tables(&one, &one, 3).unwrap().differing, 0);
    }
}
