//! Parquet: an artifact of this program, or a matrix with one column of names.

use super::{Orient, Sink};
use crate::cells::{self, CellReader};
use crate::genes;
use crate::table::Table;
use anyhow::{Result, bail};
use std::path::Path;

/// Reads a folder with `cells.parquet` or a single file.
pub fn read(path: &Path, orient: Option<Orient>, sink: &mut dyn Sink) -> Result<()> {
    if path.is_dir() {
        let names = genes::read(&path.join(genes::FILE))?;
        let reader = CellReader::open(&path.join(cells::FILE), names.len())?;
        sink.genes(names)?;
        for batch in reader {
            for (id, genes, values) in batch?.cells() {
                sink.cell(id, genes, values)?;
            }
        }
        return Ok(());
    }
    let table = Table::open(path)?;
    let (texts, columns): (Vec<String>, Vec<String>) =
        table.columns().into_iter().partition(|name| table.strings(name).is_ok());
    let [text] = texts.as_slice() else {
        bail!("{}: should have one column of names and has {}", path.display(), texts.len())
    };
    let names: Vec<String> = table.strings(text)?.iter().flatten().map(str::to_owned).collect();
    let mut numbers = Vec::with_capacity(columns.len());
    for column in &columns {
        sink.poll()?;
        numbers.push(table.floats(column)?);
    }
    match super::orient(path, orient)? {
        Orient::GenesByCells => {
            let indices: Vec<u32> = (0..names.len() as u32).collect();
            sink.genes(names)?;
            for (id, numbers) in columns.iter().zip(numbers) {
                let values: Vec<f32> = numbers.values().iter().map(|value| *value as f32).collect();
                sink.cell(id, &indices, &values)?;
            }
        }
        Orient::CellsByGenes => {
            let indices: Vec<u32> = (0..columns.len() as u32).collect();
            sink.genes(columns)?;
            for (row, id) in names.iter().enumerate() {
                let values: Vec<f32> = numbers.iter().map(|numbers| numbers.value(row) as f32).collect();
                sink.cell(id, &indices, &values)?;
            }
        }
    }
    Ok(())
}
