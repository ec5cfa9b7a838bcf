//! Exports expression and embeddings as matrices.

use anyhow::{Context, Result, bail};
use contract::disk;
use contract::stage::Io;
use data::cells::{self, CellReader};
use data::embeddings::{self, Embeddings};
use data::genes;
use data::hdf5_draft::{Group, Hdf5Draft};
use data::table::Table;
use data::types::PREDICTIONS;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;

/// The cells of an artifact in memory, as compressed rows.
struct Rows {
    genes: Vec<String>,
    ids: Vec<String>,
    indptr: Vec<i64>,
    indices: Vec<i32>,
    data: Vec<f32>,
}

impl Rows {
    fn read(io: &Io) -> Result<Rows> {
        let data = io.input("data")?;
        let genes = genes::read(&data.join(genes::FILE))?;
        let reader = CellReader::open(&data.join(cells::FILE), genes.len())?;
        let mut rows =
            Rows { genes, ids: Vec::new(), indptr: vec![0], indices: Vec::new(), data: Vec::new() };
        for batch in reader {
            io.check_stop()?;
            for (id, genes, values) in batch?.cells() {
                rows.ids.push(id.to_owned());
                rows.indices.extend(genes.iter().map(|gene| *gene as i32));
                rows.data.extend_from_slice(values);
                rows.indptr.push(rows.indices.len() as i64);
            }
        }
        Ok(rows)
    }
}

/// `data.h5ad` as AnnData 0.12 writes it.
pub fn h5ad(io: &Io) -> Result<()> {
    let rows = Rows::read(io)?;
    let mut draft = Hdf5Draft::new(&encoding("anndata", "0.1.0"));
    let mut matrix = Group::new("X", &encoding("csr_matrix", "0.1.0"));
    matrix.sizes("shape", &[rows.ids.len() as i64, rows.genes.len() as i64]);
    matrix.floats("data", &rows.data, &[rows.data.len() as u64], &[]);
    matrix.compressed_rows(&rows.indices, &rows.indptr);
    draft.add(matrix);
    for (name, names) in [("obs", &rows.ids), ("var", &rows.genes)] {
        let mut table = Group::new(name, &encoding("dataframe", "0.2.0"));
        table.text("_index", "_index");
        match io.optional_input("predictions").filter(|_| name == "obs") {
            Some(folder) => predictions(&mut table, &folder.join(PREDICTIONS), &rows.ids)?,
            None => table.no_numbers("column-order"),
        }
        table.strings("_index", names, &encoding("string-array", "0.2.0"));
        draft.add(table);
    }
    for (slot, name, names) in
        [("cell_embeddings", "obsm", &rows.ids), ("gene_embeddings", "varm", &rows.genes)]
    {
        let mut group = Group::new(name, &encoding("dict", "0.1.0"));
        if let Some(folder) = io.optional_input(slot) {
            let path = folder.join(embeddings::FILE);
            let embeddings = Embeddings::read(&path)?;
            let shape = [names.len() as u64, embeddings.dimensions as u64];
            group.floats("X_embedding", &embeddings.of(names, &path)?, &shape, &encoding("array", "0.2.0"));
        }
        draft.add(group);
    }
    draft.write(&io.out("data.h5ad"))
}

/// Adds the predictions of `finetune` as columns: the type where it is known, the predicted one, its probability. Cells
/// without a prediction have missing values.
fn predictions(table: &mut Group, path: &Path, ids: &[String]) -> Result<()> {
    let found = Table::open(path)?;
    let places: HashMap<String, usize> =
        found.texts("cell")?.into_iter().enumerate().filter_map(|(row, cell)| Some((cell?, row))).collect();
    let rows: Vec<Option<usize>> = ids.iter().map(|id| places.get(id).copied()).collect();
    if rows.iter().all(Option::is_none) {
        bail!("{}: predicts none of the {} cells of the data", path.display(), ids.len());
    }
    const COLUMNS: [&str; 3] = ["type", "predicted_type", "predicted_type_probability"];
    table.texts("column-order", &COLUMNS);
    for (column, name) in ["type", "predicted"].into_iter().zip(COLUMNS) {
        let texts = found.texts(column)?;
        let of_cells: Vec<Option<&str>> = rows.iter().map(|row| texts[(*row)?].as_deref()).collect();
        table.add(categorical(name, &of_cells));
    }
    let probability = found.floats("probability")?;
    let of_cells = rows.iter().map(|row| row.map_or(f32::NAN, |row| probability.value(row) as f32));
    let (name, values) = (COLUMNS[2], of_cells.collect::<Vec<f32>>());
    table.floats(name, &values, &[values.len() as u64], &encoding("array", "0.2.0"));
    Ok(())
}

/// A categorical column: codes of the sorted categories, -1 where the value is missing.
fn categorical(name: &str, values: &[Option<&str>]) -> Group {
    let categories: BTreeSet<&str> = values.iter().copied().flatten().collect();
    let code_of: HashMap<&str, i32> = categories.iter().copied().zip(0..).collect();
    let codes: Vec<i32> = values.iter().map(|value| value.map_or(-1, |value| code_of[value])).collect();
    let categories: Vec<String> = categories.into_iter().map(str::to_owned).collect();
    let mut group = Group::new(name, &encoding("categorical", "0.2.0"));
    group.flag("ordered", false);
    group.integers_with("codes", &codes, &encoding("array", "0.2.0"));
    group.strings("categories", &categories, &encoding("string-array", "0.2.0"));
    group
}

/// The attributes that AnnData requires on every group and array.
fn encoding(name: &'static str, version: &'static str) -> [(&'static str, &'static str); 2] {
    [("encoding-type", name), ("encoding-version", version)]
}

/// `genes.npy` and `cells.npy`, with a list of names beside each.
pub fn npy(io: &Io) -> Result<()> {
    for (slot, name) in [("gene_embeddings", "genes"), ("cell_embeddings", "cells")] {
        let Some(folder) = io.optional_input(slot) else { continue };
        let embeddings = Embeddings::read(&folder.join(embeddings::FILE))?;
        let bytes = npy_bytes(&embeddings.values, embeddings.names.len(), embeddings.dimensions);
        disk::write(&io.out(&format!("{name}.npy")), &bytes)?;
        let names: String = embeddings.names.iter().map(|name| format!("{name}\n")).collect();
        disk::write(&io.out(&format!("{name}.txt")), names.as_bytes())?;
    }
    Ok(())
}

/// Version 1.0 of NumPy's format, with a header padded so that the data begins at a multiple of 64.
fn npy_bytes(values: &[f32], rows: usize, columns: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend(format!("{header:<width$}\n", width = length - 1).bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// `expression.csv`: a row for each gene, a column for each cell.
pub fn csv(io: &Io) -> Result<()> {
    let rows = Rows::read(io)?;
    for name in rows.genes.iter().chain(&rows.ids) {
        if name.contains([',', '"', '\n']) {
            bail!("the name `{}` cannot stand in a csv", name.escape_debug());
        }
    }
    let mut columns = vec![vec![0.0; rows.ids.len()]; rows.genes.len()];
    for (cell, ends) in rows.indptr.windows(2).enumerate() {
        for place in ends[0] as usize..ends[1] as usize {
            columns[rows.indices[place] as usize][cell] = rows.data[place];
        }
    }
    let mut text = format!(",{}\n", rows.ids.join(","));
    for (gene, values) in rows.genes.iter().zip(columns) {
        io.check_stop()?;
        text.push_str(gene);
        for value in values {
            write!(text, ",{value}").context("writing expression.csv")?;
        }
        text.push('\n');
    }
    Ok(disk::write(&io.out("expression.csv"), text.as_bytes())?)
}
