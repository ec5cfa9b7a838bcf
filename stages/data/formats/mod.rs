//! Readers for files of other programs: expression (first the genes, then the cells one by one) and NumPy arrays.

mod annotation;
mod beeline;
mod genelink;
mod h5ad;
mod loom;
pub mod npy;
mod parquet;
mod slice;
mod sparse;
mod tables;
mod tenx_folder;
mod tenx_h5;
mod text;
mod transpose;
pub mod zip;

use super::hdf5::Hdf5;
use super::lines::first_bytes;
use super::network::Network;
use super::pseudotime::Moment;
use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Receives what a reader finds.
pub trait Sink {
    /// The names of the genes. Called once, before any cell.
    fn genes(&mut self, names: Vec<String>) -> Result<()>;

    /// A cell. The indices ascend; genes that are not listed are zero.
    fn cell(&mut self, id: &str, genes: &[u32], values: &[f32]) -> Result<()>;

    /// A warning for the user that does not stop the import.
    fn warn(&mut self, text: String);

    /// Returns an error if the reader should stop. Called in every long loop that passes on no cells.
    fn poll(&self) -> Result<()>;
}

/// What was found beside the cells.
#[derive(Debug, Default)]
pub struct Beside {
    /// The published network.
    pub network: Option<Network>,
    /// The number of edges that were left out: duplicates and self loops.
    pub left_out: usize,
    /// The published pseudotimes.
    pub pseudotime: Vec<Moment>,
    /// Whether there are only labels and no cells.
    pub labels_only: bool,
}

/// The layout of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// AnnData, any version.
    H5ad,
    /// A folder of Cell Ranger: `matrix.mtx`, `barcodes.tsv`, `features.tsv`.
    #[serde(rename = "10x")]
    TenxFolder,
    /// A `.h5` of Cell Ranger.
    #[serde(rename = "10x_h5")]
    TenxH5,
    /// Loom.
    Loom,
    /// A folder of BEELINE: `ExpressionData.csv`, `refNetwork.csv`, `PseudoTime.csv`.
    Beeline,
    /// A folder of GENELink: `BL--ExpressionData.csv`, `BL--network.csv`, `Target.csv`.
    Genelink,
    /// A csv or tsv matrix with names on both sides.
    Text,
    /// A Parquet matrix with a column of names, or an artifact of this program.
    Parquet,
}

/// What the rows of a matrix are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orient {
    /// A row is a gene, a column a cell.
    GenesByCells,
    /// A row is a cell, a column a gene.
    CellsByGenes,
}

/// Which of a gene's names to use if a file has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// `SOX9`; in h5ad and loom, whatever the genes are named by.
    Symbol,
    /// `ENSG00000125398`; in h5ad and loom, whatever the genes are named by.
    Id,
    /// The name in this column of `var` (h5ad) or this attribute of rows (loom), such as CELLxGENE's `feature_name`.
    Column(String),
}

/// What cannot be told from the file.
pub struct Choices {
    /// For text and Parquet matrices.
    pub orient: Option<Orient>,
    /// For h5ad and loom: `X`, `raw`, or the name of a layer.
    pub matrix: String,
    /// For 10x files: symbol or id; for h5ad and loom: a column.
    pub names: Names,
}

/// Reads a file that holds only a network: `Gene1,Gene2[,Type]`.
pub fn read_network(path: &Path) -> Result<Beside> {
    let (network, left_out) = tables::network(path)?;
    Ok(Beside { network: Some(network), left_out, ..Beside::default() })
}

/// Reads a list of names, one per line.
pub fn read_list(path: &Path) -> Result<Vec<String>> {
    tables::list(path)
}

/// Reads `TF,Target,Label`, whose genes are indices below `genes`.
pub fn read_index_pairs(path: &Path, genes: usize) -> Result<Vec<(usize, usize, bool)>> {
    tables::index_pairs(path, genes)
}

/// Detects the format from the content of a folder or the first bytes of a file.
pub fn detect(path: &Path) -> Result<Format> {
    let has = |names: &[&str]| names.iter().any(|name| path.join(name).exists());
    if path.is_dir() {
        return Ok(match () {
            () if has(&["ExpressionData.csv"]) => Format::Beeline,
            () if has(&["BL--ExpressionData.csv", "BL--network.csv"]) => Format::Genelink,
            () if has(&["matrix.mtx", "matrix.mtx.gz"]) => Format::TenxFolder,
            () if has(&["cells.parquet"]) => Format::Parquet,
            () => bail!(
                "{}: is no folder of expression data; one holds `ExpressionData.csv` (BEELINE), \
                 `BL--network.csv` (GENELink), `matrix.mtx` (10x) or `cells.parquet`",
                path.display()
            ),
        });
    }
    if Hdf5::is(path) {
        let file = Hdf5::open(path)?;
        return Ok(match () {
            () if file.has_array("matrix") => Format::Loom,
            () if tenx_h5::group(&file).is_some() => Format::TenxH5,
            () => Format::H5ad,
        });
    }
    let start = first_bytes(path)?;
    Ok(if start.starts_with(b"PAR1") { Format::Parquet } else { Format::Text })
}

/// Reads a file or folder.
pub fn read(path: &Path, format: Format, choices: &Choices, sink: &mut dyn Sink) -> Result<Beside> {
    let column = match &choices.names {
        Names::Column(column) => Some(column.as_str()),
        Names::Symbol | Names::Id => None,
    };
    match format {
        Format::H5ad => h5ad::read(path, &choices.matrix, column, sink)?,
        Format::Loom => loom::read(path, &choices.matrix, column, sink)?,
        other if column.is_some() => bail!(
            "{}: {other:?} has no columns of genes, as h5ad and loom have; leave `names` out, or give `symbol` or `id` \
             for 10x",
            path.display()
        ),
        Format::TenxFolder => tenx_folder::read(path, choices.names == Names::Id, sink)?,
        Format::TenxH5 => tenx_h5::read(path, choices.names == Names::Id, sink)?,
        Format::Beeline => return beeline::read(path, sink),
        Format::Genelink => return genelink::read(path, sink),
        Format::Text => text::read(path, orient(path, choices.orient)?, sink)?,
        Format::Parquet => parquet::read(path, choices.orient, sink)?,
    }
    Ok(Beside::default())
}

/// The cells and one of their columns: a column of `obs`, or an attribute in loom. `None` is a missing value.
pub fn read_labels(path: &Path, format: Format, column: &str) -> Result<Vec<(String, Option<String>)>> {
    match format {
        Format::H5ad => h5ad::labels(path, column),
        Format::Loom => loom::labels(path, column),
        _ => bail!(
            "{}: has no columns of cells, as h5ad and loom have; give a table of cells in the input `types`",
            path.display()
        ),
    }
}

/// The columns of genes that hold text, each with a name for each gene; none where the format has no such columns.
pub fn gene_columns(path: &Path, format: Format, matrix: &str) -> Result<Vec<(String, Vec<String>)>> {
    match format {
        Format::H5ad => h5ad::gene_columns(path, matrix),
        Format::Loom => loom::gene_columns(path),
        _ => Ok(Vec::new()),
    }
}

/// Names that are in a column; a gene without one, or with one that another gene has too, keeps its own.
fn named_by(
    column: Vec<Option<String>>,
    own: Vec<String>,
    name: &str,
    sink: &mut dyn Sink,
) -> Result<Vec<String>> {
    if column.len() != own.len() {
        bail!("there are {} values of `{name}` for {} genes", column.len(), own.len());
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for found in column.iter().flatten() {
        *counts.entry(found.as_str()).or_default() += 1;
    }
    let is_alone = |found: &&String| counts.get(found.as_str()) == Some(&1) && !found.trim().is_empty();
    let names: Vec<Option<String>> =
        column.iter().map(|found| found.as_ref().filter(is_alone).cloned()).collect();
    let kept = names.iter().filter(|name| name.is_none()).count();
    if kept > 0 {
        sink.warn(format!(
            "{kept} of {} genes have no name in `{name}`, or one that another gene has too, and keep their own",
            own.len()
        ));
    }
    Ok(names.into_iter().zip(own).map(|(name, own)| name.unwrap_or(own)).collect())
}

fn orient(path: &Path, orient: Option<Orient>) -> Result<Orient> {
    match orient {
        Some(orient) => Ok(orient),
        None => bail!(
            "{}: does not say what its rows are; give `orient: genes_by_cells` or `orient: cells_by_genes`",
            path.display()
        ),
    }
}
