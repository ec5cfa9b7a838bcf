//! Matrices in csv or tsv: names in the first line and the first column, numbers elsewhere.

use super::transpose::Transposer;
use super::{Orient, Sink};
use crate::decimal;
use crate::lines::Block;
use crate::records::{Layout, Record, Records, is_blank};
use anyhow::{Result, anyhow, bail};
use rayon::prelude::*;
use std::path::Path;

/// Reads a matrix; `orient` says whether its rows are genes or cells.
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
            each_block(path, &mut records, |rows| {
                rows.iter().try_for_each(|row| sink.cell(&row.name, &indices, &row.values))
            })
        }
        Orient::GenesByCells => {
            let mut transposer = Transposer::new(columns.len());
            let mut genes = Vec::new();
            each_block(path, &mut records, |rows| {
                transposer.push_genes(genes.len() as u32, rows);
                genes.extend(rows.iter().map(|row| row.name.clone()));
                sink.poll()
            })?;
            sink.genes(genes)?;
            transposer.emit(&columns, &path.display().to_string(), sink)
        }
    }
}

/// A name and the numbers after it.
struct Row {
    name: String,
    values: Vec<f32>,
}

impl AsRef<[f32]> for Row {
    fn as_ref(&self) -> &[f32] {
        &self.values
    }
}

/// Passes on rows, several at a time. Most of the time goes into parsing lines, so this is done in parallel while
/// earlier rows are passed on and later lines are read.
fn each_block(
    path: &Path,
    records: &mut Records,
    mut rows_are: impl FnMut(&[Row]) -> Result<()>,
) -> Result<()> {
    let (layout, header) = (records.layout(), records.header().to_vec());
    let parse = |record: &mut Record, (number, line): &(u64, &str)| {
        if let Some(row) = plain_row(line, layout) {
            return Ok(row);
        }
        let place = || format!("{}: line {number}", path.display());
        layout.split(line, record).map_err(|why| anyhow!("{} {why}", place()))?;
        let mut values = Vec::with_capacity(header.len());
        for (field, column) in record.fields().zip(&header).skip(1) {
            match parse_number(field) {
                Some(value) => values.push(value),
                None => bail!("{}: column `{column}` holds `{field}`, which is no number", place()),
            }
        }
        Ok(Row { name: record.field(0).to_owned(), values })
    };
    // The rows of the previous block, up to the first malformed one.
    let (mut rows, mut broken): (Vec<Row>, Result<()>) = (Vec::new(), Ok(()));
    let (mut block, mut behind) = (Block::default(), Block::default());
    let mut filled = records.lines().fill(&mut block);
    loop {
        let mut parsed = Vec::new();
        let (mut given, mut next) = (Ok(()), Ok(()));
        let lines: Vec<(u64, &str)> = block.lines().filter(|(_, line)| !is_blank(line)).collect();
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| lines.par_iter().map_init(Record::default, parse).collect_into_vec(&mut parsed));
            given = rows_are(&rows);
            next = records.lines().fill(&mut behind);
        });
        given?;
        broken?;
        filled?;
        if block.is_empty() {
            return Ok(());
        }
        rows.clear();
        broken = Ok(());
        let whole = |row: Result<Row>| row.map_err(|error| broken = Err(error)).ok();
        rows.extend(parsed.into_iter().map_while(whole));
        filled = next;
        std::mem::swap(&mut block, &mut behind);
    }
}

/// A fast path for lines without quotes and the like: takes half the time of splitting the line first.
fn plain_row(line: &str, layout: Layout) -> Option<Row> {
    let (name, mut rest) = line.split_once(layout.delimiter)?;
    let mut values = Vec::with_capacity(layout.fields);
    loop {
        let (value, used) = decimal::parse_start(rest.as_bytes())?;
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
    plain.then(|| Row { name: name.to_owned(), values })
}

/// The finite number in a field; blanks around it are allowed.
fn parse_number(field: &str) -> Option<f32> {
    let value: f32 = field.parse().or_else(|_| field.trim().parse()).ok()?;
    value.is_finite().then_some(value)
}
