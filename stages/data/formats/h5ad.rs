//! AnnData, in three dialects.
//!
//! Legacy files (before 0.7) keep `obs` and `var` as compound tables with a member `index`, and raw
//! counts in `raw.X`. Modern ones keep a group per table, whose attribute `_index` names the array of
//! names, and raw counts in `raw/X`. The newest may keep those names as nullable strings: a group of
//! `values` and `mask`.

use super::sparse::Sparse;
use super::transpose::Transposer;
use super::{Sink, annotation, named_by};
use crate::hdf5::{Array, Hdf5};
use anyhow::{Result, bail};
use std::path::Path;

/// How many values of a dense matrix are read at a time.
const VALUES_PER_WINDOW: u64 = 1 << 20;

/// Reads `X`, the raw counts or a layer. Genes are named by their index or by a column of `var`.
pub fn read(path: &Path, matrix: &str, column: Option<&str>, sink: &mut dyn Sink) -> Result<()> {
    let file = Hdf5::open(path)?;
    if !["obs", "var"].iter().all(|name| file.has_group(name) || file.has_array(name)) {
        bail!("{}: is HDF5 and neither AnnData (no `obs` and `var`), nor 10x, nor loom", path.display());
    }
    let (matrix, var) = place_of(&file, matrix)?;
    let (cells, genes) = rayon::join(|| names(&file, "obs"), || names(&file, var));
    let (cells, mut genes) = (cells?, genes?);
    if let Some(column) = column {
        genes = named_by(annotation::column(&file, var, column)?, genes, column, sink)?;
    }
    if file.has_array(&matrix) {
        return dense(&file.array(&matrix)?, &cells, genes, sink);
    }
    let layout = file
        .text_attribute(&matrix, "encoding-type")
        .or_else(|| file.text_attribute(&matrix, "h5sparse_format"));
    let shape =
        file.sizes_attribute(&matrix, "shape").or_else(|| file.sizes_attribute(&matrix, "h5sparse_shape"));
    if let Some(shape) = shape.filter(|shape| *shape != [cells.len() as u64, genes.len() as u64]) {
        bail!(
            "{} is {shape:?}, and there are {} cells and {} genes",
            file.place(&matrix),
            cells.len(),
            genes.len()
        );
    }
    match layout.as_deref() {
        Some("csr_matrix" | "csr") => {
            let sparse = Sparse::open(&file, &matrix, cells.len(), genes.len())?;
            sink.genes(genes)?;
            sparse.cells(&cells, sink)
        }
        Some("csc_matrix" | "csc") => {
            let sparse = Sparse::open(&file, &matrix, genes.len(), cells.len())?;
            sink.genes(genes)?;
            sparse.cells_across(&cells, sink)
        }
        other => bail!("{} is neither dense, CSR nor CSC but {other:?}", file.place(&matrix)),
    }
}

/// The cells and a column of `obs`.
pub fn labels(path: &Path, column: &str) -> Result<Vec<(String, Option<String>)>> {
    let file = Hdf5::open(path)?;
    let (cells, labels) = (names(&file, "obs")?, annotation::column(&file, "obs", column)?);
    if cells.len() != labels.len() {
        bail!("{}: has {} cells and {} values of `{column}`", path.display(), cells.len(), labels.len());
    }
    Ok(cells.into_iter().zip(labels).collect())
}

/// The columns of genes, as far as they hold text for each gene.
pub fn gene_columns(path: &Path, matrix: &str) -> Result<Vec<(String, Vec<String>)>> {
    let file = Hdf5::open(path)?;
    let (_, var) = place_of(&file, matrix)?;
    if !file.has_group(var) {
        return Ok(Vec::new());
    }
    let read = |name: String| {
        let column = annotation::column(&file, var, &name).ok()?;
        Some((name, column.into_iter().map(Option::unwrap_or_default).collect()))
    };
    Ok(annotation::columns(&file, var)?.into_iter().filter_map(read).collect())
}

/// The paths of the requested matrix and of its genes.
fn place_of(file: &Hdf5, wanted: &str) -> Result<(String, &'static str)> {
    let there = |name: &str| file.has_group(name) || file.has_array(name);
    let candidates = match wanted {
        "X" => vec![("X".to_owned(), "var")],
        "raw" => vec![("raw/X".to_owned(), "raw/var"), ("raw.X".to_owned(), "raw.var")],
        layer => vec![(format!("layers/{layer}"), "var")],
    };
    match candidates.into_iter().find(|(matrix, _)| there(matrix)) {
        Some(place) => Ok(place),
        None => {
            bail!("{} is not there; `matrix` may be `X`, `raw` or the name of a layer", file.place(wanted))
        }
    }
}

fn names(file: &Hdf5, table: &str) -> Result<Vec<String>> {
    if file.has_array(table) {
        return file.array(table)?.member_strings("index");
    }
    let index = file.text_attribute(table, "_index").unwrap_or_else(|| "_index".to_owned());
    let index = format!("{table}/{index}");
    if !file.has_group(&index) {
        return file.array(&index)?.strings();
    }
    let mask = file.array(&format!("{index}/mask"))?;
    let names = file.array(&format!("{index}/values"))?.strings()?;
    if mask.integers(0, names.len() as u64).is_ok_and(|mask| mask.contains(&1)) {
        bail!("{} lacks some names", file.place(&index));
    }
    Ok(names)
}

fn dense(matrix: &Array, cells: &[String], genes: Vec<String>, sink: &mut dyn Sink) -> Result<()> {
    check_shape(matrix, cells.len(), genes.len())?;
    let indices: Vec<u32> = (0..genes.len() as u32).collect();
    sink.genes(genes)?;
    each_row(matrix, indices.len(), |row, values| sink.cell(&cells[row], &indices, values))
}

/// Passes on a dense matrix of genes × cells cell by cell.
pub fn dense_across(matrix: &Array, cells: &[String], genes: Vec<String>, sink: &mut dyn Sink) -> Result<()> {
    check_shape(matrix, genes.len(), cells.len())?;
    sink.genes(genes)?;
    let mut transposer = Transposer::new(cells.len());
    each_row(matrix, cells.len(), |gene, values| {
        for (cell, value) in values.iter().enumerate() {
            transposer.push(cell, gene as u32, *value);
        }
        sink.poll()
    })?;
    transposer.emit(cells, matrix.place(), sink)
}

fn check_shape(matrix: &Array, rows: usize, columns: usize) -> Result<()> {
    if matrix.shape() == [rows as u64, columns as u64] {
        return Ok(());
    }
    bail!("{} is {:?}, and there are names for {rows} × {columns}", matrix.place(), matrix.shape())
}

fn each_row(
    matrix: &Array,
    columns: usize,
    mut row_is: impl FnMut(usize, &[f32]) -> Result<()>,
) -> Result<()> {
    let rows = matrix.shape()[0];
    let chunk = matrix.chunk_rows().unwrap_or(1);
    let at_once = (VALUES_PER_WINDOW / columns.max(1) as u64).div_ceil(chunk).max(1) * chunk;
    let mut start = 0;
    while start < rows && columns > 0 {
        let count = at_once.min(rows - start);
        let values = matrix.floats(start, count)?;
        if values.len() as u64 != count * columns as u64 {
            bail!("{} ends early; the file may be cut off", matrix.place());
        }
        for (row, values) in values.chunks_exact(columns).enumerate() {
            row_is(start as usize + row, values)?;
        }
        start += count;
    }
    Ok(())
}
