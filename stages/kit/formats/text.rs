//! Matrices in csv or tsv: names in the first line and the first column, numbers between.

use super::transpose::Transposer;
use super::{Orient, Sink};
use crate::kit::records::{Record, Records};
use anyhow::{Result, bail};
use rayon::prelude::*;
use std::path::Path;

/// Rows that are parsed together: enough for all cores, little beside the matrix.
const ROWS_AT_ONCE: usize = 64;
const BYTES_AT_ONCE: usize = 1 << 24;

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
            each_row(&mut records, |id, values| sink.cell(id, &indices, values))
        }
        Orient::GenesByCells => {
            let mut transposer = Transposer::new(columns.len());
            let mut genes = Vec::new();
            each_row(&mut records, |gene, values| {
                for (cell, value) in values.iter().enumerate() {
                    transposer.push(cell, genes.len() as u32, *value);
                }
                genes.push(gene.to_owned());
                sink.poll()
            })?;
            sink.genes(genes)?;
            transposer.emit(&columns, &path.display().to_string(), sink)
        }
    }
}

/// Gives each row's name and numbers. Rows are parsed in parallel, for that is most of the work.
fn each_row(records: &mut Records, mut row_is: impl FnMut(&str, &[f32]) -> Result<()>) -> Result<()> {
    let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
    let mut more = true;
    while more {
        rows.clear();
        let mut bytes = 0;
        while more && rows.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
            more = records.advance()?;
            if more {
                let (place, record) = (records.place(), records.take_record());
                bytes += record.text().len();
                rows.push((place, record));
            }
        }
        let parsed: Vec<Result<Vec<f32>, usize>> = rows.par_iter().map(|(_, record)| parse(record)).collect();
        for ((place, record), values) in rows.iter().zip(parsed) {
            match values {
                Ok(values) => row_is(record.field(0), &values)?,
                Err(column) => {
                    let (name, field) = (&records.header()[column], record.field(column));
                    bail!("{place}: column `{name}` holds `{field}`, which is no number");
                }
            }
        }
    }
    Ok(())
}

/// The numbers after the first field, or the index of the field that is none.
fn parse(record: &Record) -> Result<Vec<f32>, usize> {
    let number = |(column, field): (usize, &str)| match field.trim().parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(column),
    };
    record.fields().enumerate().skip(1).map(number).collect()
}
