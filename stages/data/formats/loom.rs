//! Loom: a dense matrix of genes × cells, with names as attributes of rows and columns.

use super::h5ad::dense_across;
use super::{Sink, annotation, named_by};
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

/// Reads the main matrix or a layer. Genes are named by the usual attribute of rows or by another one.
pub fn read(path: &Path, matrix: &str, column: Option<&str>, sink: &mut dyn Sink) -> Result<()> {
    let file = Hdf5::open(path)?;
    let mut genes = names(&file, path, &GENE_NAMES)?;
    if let Some(column) = column {
        genes = named_by(attribute(&file, "row_attrs", column)?, genes, column, sink)?;
    }
    let matrix = if matrix == "X" { "matrix".to_owned() } else { format!("layers/{matrix}") };
    dense_across(&file.array(&matrix)?, &names(&file, path, &CELL_IDS)?, genes, sink)
}

fn names(file: &Hdf5, path: &Path, candidates: &[&str]) -> Result<Vec<String>> {
    match candidates.iter().find(|name| file.has_array(name)) {
        Some(name) => file.array(name)?.strings(),
        None => bail!("{}: has none of `{}`", path.display(), candidates.join("`, `")),
    }
}

fn attribute(file: &Hdf5, of: &str, name: &str) -> Result<Vec<Option<String>>> {
    let attribute = format!("{of}/{name}");
    if !file.has_array(&attribute) {
        bail!("{} is not there, only `{}`", file.place(&attribute), file.members(of)?.join("`, `"));
    }
    annotation::texts(&file.array(&attribute)?)
}

/// The attributes of rows, as far as they hold text for each gene.
pub fn gene_columns(path: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let file = Hdf5::open(path)?;
    let read = |name: String| {
        let values = attribute(&file, "row_attrs", &name).ok()?;
        Some((name, values.into_iter().map(Option::unwrap_or_default).collect()))
    };
    Ok(file.members("row_attrs")?.into_iter().filter_map(read).collect())
}

/// The cells and one of their attributes.
pub fn labels(path: &Path, column: &str) -> Result<Vec<(String, Option<String>)>> {
    let file = Hdf5::open(path)?;
    let (cells, labels) = (names(&file, path, &CELL_IDS)?, attribute(&file, "col_attrs", column)?);
    if cells.len() != labels.len() {
        bail!("{}: has {} cells and {} values of `{column}`", path.display(), cells.len(), labels.len());
    }
    Ok(cells.into_iter().zip(labels).collect())
}
