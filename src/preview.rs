//! The first rows of a file, for people.

use crate::error::Result;
use arrow::util::pretty::pretty_format_batches;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use stages::disk::{self, fault};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What is read of a file that is not a table.
const TEXT_BYTES: u64 = 1 << 16;
const LINE_CHARACTERS: usize = 160;

/// The schema and the first rows of a Parquet table, the first lines of a text, nothing of anything else.
pub fn file(path: &Path, rows: usize) -> Result<String> {
    let file = File::open(path).map_err(|error| fault("opening", path, error))?;
    if path.extension().is_some_and(|extension| extension == "parquet") {
        // A `.parquet` that is none is shown as whatever it is, with the reason.
        return Ok(table(file, rows).unwrap_or_else(|error| format!("  not a readable table: {error}\n")));
    }
    text(file, path, rows)
}

fn table(file: File, rows: usize) -> anyhow::Result<String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let total = builder.metadata().file_metadata().num_rows();
    let schema = builder.schema().clone();
    let mut shown = format!("  {total} rows, {} columns\n", schema.fields().len());
    for field in schema.fields() {
        let null = if field.is_nullable() { ", may be null" } else { "" };
        writeln!(shown, "  {}: {}{null}", field.name(), field.data_type()).expect("a string takes all");
    }
    let batches = builder
        .with_limit(rows)
        .with_batch_size(rows.max(1))
        .build()?
        .collect::<std::result::Result<Vec<_>, _>>()?;
    if rows > 0 {
        writeln!(shown, "{}", pretty_format_batches(&batches)?).expect("a string takes all");
    }
    Ok(shown)
}

fn text(file: File, path: &Path, rows: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let mut start = (&file).take(TEXT_BYTES);
    start.read_to_end(&mut bytes).map_err(|error| fault("reading", path, error))?;
    disk::close(file, path)?;
    // A character may be cut in two at the end of what was read.
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() + 4 > TEXT_BYTES as usize => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("it is valid up to there")
        }
        Err(_) => return Ok(String::new()),
    };
    let mut shown = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(rows) {
        let clean: String =
            line.chars().filter(|c| !c.is_control() || *c == '\t').take(LINE_CHARACTERS).collect();
        writeln!(shown, "  | {clean}").expect("a string takes all");
    }
    if rows > 0 && lines.len() > rows {
        shown.push_str("  | …\n");
    }
    Ok(shown)
}
