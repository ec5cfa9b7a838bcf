//! Matrices in csv or tsv: names in the first line and the first column, numbers between.

use super::transpose::Transposer;
use super::{Orient, Sink};
use crate::kit::records::{Record, Records};
use anyhow::{Error, Result, anyhow, bail};
use std::path::Path;

/// Reads a matrix whose rows are what `orient` says.
pub fn read(path: &Path, orient: Orient, sink: &mut dyn Sink) -> Result<()> {
    let mut records = Records::open(path)?;
    if records.header().len() < 2 {
        bail!(
            "{}: line 1 has one column only; columns are separated by comma, tab or semicolon",
            path.display()
        );
    }
    let columns = records.header()[1..].to_vec();
    match orient {
        Orient::CellsByGenes => {
            let indices: Vec<u32> = (0..columns.len() as u32).collect();
            sink.genes(columns)?;
            let mut values = Vec::new();
            while records.advance()? {
                if let Err(column) = parse(records.record(), &mut values) {
                    return Err(no_number(&records, column));
                }
                sink.cell(records.record().field(0), &indices, &values)?;
            }
            Ok(())
        }
        Orient::GenesByCells => {
            let mut transposer = Transposer::new(columns.len());
            let (mut genes, mut values) = (Vec::new(), Vec::new());
            while records.advance()? {
                if let Err(column) = parse(records.record(), &mut values) {
                    return Err(no_number(&records, column));
                }
                for (cell, value) in values.iter().enumerate() {
                    transposer.push(cell, genes.len() as u32, *value);
                }
                genes.push(records.record().field(0).to_owned());
                sink.poll()?;
            }
            sink.genes(genes)?;
            transposer.emit(&columns, &path.display().to_string(), sink)
        }
    }
}

/// The numbers after the first field, or the index of the field that is none.
fn parse(record: &Record, values: &mut Vec<f32>) -> Result<(), usize> {
    values.clear();
    for (column, field) in record.fields().enumerate().skip(1) {
        match field.trim().parse::<f32>() {
            Ok(value) if value.is_finite() => values.push(value),
            _ => return Err(column),
        }
    }
    Ok(())
}

fn no_number(records: &Records, column: usize) -> Error {
    let (field, name) = (records.record().field(column), &records.header()[column]);
    anyhow!("{}: column `{name}` holds `{field}`, which is no number", records.place())
}
