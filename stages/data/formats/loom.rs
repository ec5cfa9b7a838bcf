//! Loom: a dense matrix of genes × cells, with names as attributes of rows and columns.

use super::h5ad::dense_across;
use super::{Sink, obs};
use crate::hdf5::Hdf5;
use anyhow::{Result, bail};
use std::path::Path;

/// Where common writers of loom (loompy, scanpy, Seurat) put the names.
const GENE_NAMES: [&str; 5] = [
    "row_attrs/Gene",
    "row_attrs/gene_names",
    "row_attrs/var_names",
    "row_attrs/GeneName",
    "row_attrs/Accession",
];
const CELL_IDS: [&str; 4] =
    ["col_attrs/CellID", "col_attrs/obs_names", "col_attrs/cell_names", "col_attrs/Barcode"];

/// Reads the main matrix or a layer.
pub fn read(path: &Path, matrix: &str, sink: &mut dyn Sink) -> Result<()> {
    let file = Hdf5::open(path)?;
    let matrix = if matrix == "X" { "matrix".to_owned() } else { format!("layers/{matrix}") };
    dense_across(
        &file.array(&matrix)?,
        &names(&file, path, &CELL_IDS)?,
        names(&file, path, &GENE_NAMES)?,
        sink,
    )
}

fn names(file: &Hdf5, path: &Path, candidates: &[&str]) -> Result<Vec<String>> {
    match candidates.iter().find(|name| file.has_array(name)) {
        Some(name) => file.array(name)?.strings(),
        None => bail!("{}: has none of `{}`", path.display(), candidates.join("`, `")),
    }
}

/// The cells and one of their attributes.
pub fn labels(path: &Path, column: &str) -> Result<Vec<(String, Option<String>)>> {
    let file = Hdf5::open(path)?;
    let attribute = format!("col_attrs/{column}");
    if !file.has_array(&attribute) {
        bail!("{} is not there, only `{}`", file.place(&attribute), file.members("col_attrs")?.join("`, `"));
    }
    let (cells, labels) = (names(&file, path, &CELL_IDS)?, obs::texts(&file.array(&attribute)?)?);
    if cells.len() != labels.len() {
        bail!("{}: has {} cells and {} values of `{column}`", path.display(), cells.len(), labels.len());
    }
    Ok(cells.into_iter().zip(labels).collect())
}
