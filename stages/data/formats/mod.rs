//! Readers for files of other programs: expression (first the genes, then the cells one by one) and NumPy arrays.

mod beeline;
mod genelink;
mod h5ad;
mod loom;
pub mod npy;
mod obs;
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

/// Which of a gene's two names to use if a file has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Names {
    /// `SOX9`.
    Symbol,
    /// `ENSG00000125398`.
    Id,
}

/// What cannot be told from the file.
pub struct Choices {
    /// For text and Parquet matrices.
    pub orient: Option<Orient>,
    /// For h5ad and loom: `X`, `raw`, or the name of a layer.
    pub matrix: String,
    /// For 10x files.
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
    match format {
        Format::H5ad => h5ad::read(path, &choices.matrix, sink)?,
        Format::TenxFolder => tenx_folder::read(path, choices.names, sink)?,
        Format::TenxH5 => tenx_h5::read(path, choices.names, sink)?,
        Format::Loom => loom::read(path, &choices.matrix, sink)?,
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

fn orient(path: &Path, orient: Option<Orient>) -> Result<Orient> {
    match orient {
        Some(orient) => Ok(orient),
        None => bail!(
            "{}: does not say what its rows are; give `orient: genes_by_cells` or `orient: cells_by_genes`",
            path.display()
        ),
    }
}
