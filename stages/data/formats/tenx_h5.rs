//! The `.h5` files of Cell Ranger.
//!
//! Since version 3 everything lies in `matrix`; older files have a group named after the genome. Both hold
//! genes × cells by columns, which is the same as cells × genes by rows.

use super::Sink;
use super::sparse::Sparse;
use super::tenx_folder::GenesOnly;
use crate::hdf5::Hdf5;
use anyhow::{Context, Result};
use std::path::Path;

/// The group that holds the matrix.
pub fn group(file: &Hdf5) -> Option<String> {
    let groups = file.groups("").ok()?;
    groups
        .into_iter()
        .find(|group| ["barcodes", "indptr"].iter().all(|name| file.has_array(&format!("{group}/{name}"))))
}

/// Reads the genes' counts. Genes are named by id or by symbol.
pub fn read(path: &Path, by_id: bool, sink: &mut dyn Sink) -> Result<()> {
    let file = Hdf5::open(path)?;
    let group = group(&file).with_context(|| format!("{}: holds no 10x matrix", path.display()))?;
    let cells = file.array(&format!("{group}/barcodes"))?.strings()?;
    let (since_version_3, before) = match by_id {
        false => ("features/name", "gene_names"),
        true => ("features/id", "genes"),
    };
    let is_new = file.has_group(&format!("{group}/features"));
    let genes =
        file.array(&format!("{group}/{}", if is_new { since_version_3 } else { before }))?.strings()?;
    let types = format!("{group}/features/feature_type");
    let types = if file.has_array(&types) { file.array(&types)?.strings()? } else { Vec::new() };
    let sparse = Sparse::open(&file, &group, cells.len(), genes.len())?;
    let mut only = GenesOnly::new(sink, &types);
    only.genes(genes)?;
    sparse.cells(&cells, &mut only)
}
