//! Loom: a dense matrix of genes × cells, with names as attributes of rows and columns.

use super::Sink;
use super::h5ad::dense_across;
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
    let names = |candidates: &[&str]| -> Result<Vec<String>> {
        match candidates.iter().find(|name| file.has_array(name)) {
            Some(name) => file.array(name)?.strings(),
            None => bail!("{}: has none of `{}`", path.display(), candidates.join("`, `")),
        }
    };
    let matrix = if matrix == "X" { "matrix".to_owned() } else { format!("layers/{matrix}") };
    dense_across(&file.array(&matrix)?, &names(&CELL_IDS)?, names(&GENE_NAMES)?, sink)
}
