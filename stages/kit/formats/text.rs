//! Matrices in csv or tsv: names in the first line and the first column, numbers between.

use super::transpose::Transposer;
use super::{Orient, Sink};
use crate::kit::records::{Layout, Record, Records};
use anyhow::{Result, anyhow, bail};
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

/// Gives each row's name and numbers. Taking lines apart is most of the work: it is done in parallel, while the rows
/// before are given away and the lines behind are read.
fn each_row(records: &mut Records, mut row_is: impl FnMut(&str, &[f32]) -> Result<()>) -> Result<()> {
    let (layout, header) = (records.layout(), records.header().to_vec());
    let parse = |record: &mut Record, (place, line): &(String, String)| {
        if let Some(row) = plain_row(line, layout) {
            return Ok(row);
        }
        layout.split(line, record).map_err(|why| anyhow!("{place} {why}"))?;
        let mut values = Vec::with_capacity(header.len());
        for (field, column) in record.fields().zip(&header).skip(1) {
            match number(field) {
                Some(value) => values.push(value),
                None => bail!("{place}: column `{column}` holds `{field}`, which is no number"),
            }
        }
        Ok((record.field(0).to_owned(), values))
    };
    let mut rows: Vec<Result<(String, Vec<f32>)>> = Vec::new();
    let mut lines = next_lines(records);
    loop {
        let mut parsed = Vec::new();
        let (mut given, mut next) = (Ok(()), Ok(Vec::new()));
        let block = lines.as_deref().unwrap_or_default();
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| block.par_iter().map_init(Record::default, parse).collect_into_vec(&mut parsed));
            given = rows.into_iter().try_for_each(|row| {
                let (name, values) = row?;
                row_is(&name, &values)
            });
            next = next_lines(records);
        });
        given?;
        if lines?.is_empty() {
            return Ok(());
        }
        (rows, lines) = (parsed, next);
    }
}

/// The next lines and where they stand.
fn next_lines(records: &mut Records) -> Result<Vec<(String, String)>> {
    let mut lines = Vec::with_capacity(ROWS_AT_ONCE);
    let mut bytes = 0;
    while lines.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE && records.advance_line()? {
        bytes += records.line().len();
        lines.push((records.place(), records.line().to_owned()));
    }
    Ok(lines)
}

/// The name and numbers of a line that has nothing unusual, in half the time of taking it apart first.
fn plain_row(line: &str, layout: Layout) -> Option<(String, Vec<f32>)> {
    let (name, mut rest) = line.split_once(layout.delimiter)?;
    let mut values = Vec::with_capacity(layout.fields);
    loop {
        let (value, used) = lexical_core::parse_partial::<f32>(rest.as_bytes()).ok()?;
        values.push(value);
        match rest.as_bytes().get(used) {
            None => break,
            Some(byte) if *byte == layout.delimiter as u8 => rest = &rest[used + 1..],
            Some(_) => return None,
        }
    }
    let plain = values.len() + 1 == layout.fields
        && !name.contains('"')
        && values.iter().all(|value| value.is_finite());
    plain.then(|| (name.to_owned(), values))
}

/// The finite number that a field holds, perhaps between blanks.
fn number(field: &str) -> Option<f32> {
    let value: f32 = field.parse().or_else(|_| field.trim().parse()).ok()?;
    value.is_finite().then_some(value)
}
