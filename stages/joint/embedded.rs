//! The transformer's gene vectors, as inputs of `joint`.

use super::{Joint, PoolBy};
use anyhow::{Result, bail};
use contract::stage::Io;
use data::embeddings::{self, ByCell, Embeddings};
use data::random::choose;
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use tensor::ops::standardise::Moments;
use tensor::{Device, Tensor, shape, tensor, values};

/// The random stream that draws the cells.
const CELLS_STREAM: u64 = (1 << 40) + 1;

/// Fixed vectors.
pub enum Embedded {
    /// None are wired, or they are trained.
    Nothing,
    /// A row for each gene.
    ByGene(Tensor),
    /// A row for each gene in each cell, gene after gene.
    ByCell {
        /// The rows.
        vectors: Tensor,
        /// The ids of the cells.
        cells: Vec<String>,
    },
}

impl Embedded {
    /// Reads an artifact of embeddings for the genes of the data.
    pub fn read(
        folder: &Path,
        names: &[String],
        joint: &Joint,
        device: &Device,
        io: &Io,
    ) -> Result<Embedded> {
        let path = folder.join(embeddings::BY_CELL);
        if !path.exists() {
            let path = folder.join(embeddings::FILE);
            let found = Embeddings::read(&path)?;
            let places = places(names, &found.names, &path, io)?;
            let values = take(&found.values, 1, found.names.len(), found.dimensions, &[0], &places);
            return Ok(Embedded::ByGene(standardised(device, values, found.dimensions)));
        }
        let found = ByCell::read(&path)?;
        if found.cells.is_empty() {
            bail!("{}: has no cells", path.display());
        }
        let places = places(names, &found.genes, &path, io)?;
        let chosen = joint.choose_cells(found.cells.len());
        let values =
            take(&found.values, found.cells.len(), found.genes.len(), found.dimensions, &chosen, &places);
        let cells = chosen.iter().map(|cell| found.cells[*cell].clone()).collect();
        Ok(Embedded::pooled(joint.pooling.by, standardised(device, values, found.dimensions), cells))
    }

    /// Vectors of each gene in each cell; averaged unless attention is learned. Prereq: they are standardised.
    pub fn pooled(by: PoolBy, vectors: Tensor, cells: Vec<String>) -> Embedded {
        match by {
            PoolBy::Attention => Embedded::ByCell { vectors, cells },
            PoolBy::Mean => Embedded::ByGene(mean(&vectors, cells.len())),
        }
    }
}

impl Joint {
    /// Draws the cells whose vectors are pooled.
    pub fn choose_cells(&self, cells: usize) -> Vec<usize> {
        choose(cells, self.pooling.most_cells, self.seed, CELLS_STREAM)
    }
}

/// The index of each gene among those that have vectors.
pub fn places(names: &[String], found: &[String], path: &Path, io: &Io) -> Result<Vec<Option<usize>>> {
    let index: HashMap<&str, usize> =
        found.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let places: Vec<Option<usize>> = names.iter().map(|name| index.get(name.as_str()).copied()).collect();
    let missing = places.iter().filter(|place| place.is_none()).count();
    if missing == names.len() {
        bail!("{}: has no vector for any of the {missing} genes of the data", path.display());
    }
    if missing > 0 {
        io.warn(format!("{missing} of {} genes have no embedding; theirs are zeros", names.len()));
    }
    Ok(places)
}

/// The vectors of each gene in the chosen cells; zeros for a gene without vectors.
fn take(
    values: &[f32],
    cells: usize,
    genes: usize,
    width: usize,
    chosen: &[usize],
    places: &[Option<usize>],
) -> Vec<f32> {
    assert_eq!(values.len(), cells * genes * width, "a vector for each gene in each cell");
    let mut taken = vec![0.0; places.len() * chosen.len() * width];
    let rows = taken.chunks_exact_mut(width.max(1));
    let wanted = places.iter().flat_map(|place| chosen.iter().map(move |cell| (place, cell)));
    for (row, (place, cell)) in rows.zip(wanted) {
        if let Some(place) = place {
            row.copy_from_slice(&values[(cell * genes + place) * width..][..width]);
        }
    }
    taken
}

/// Standardises each column to mean 0 and deviation 1.
fn standardised(device: &Device, mut values: Vec<f32>, columns: usize) -> Tensor {
    Moments::of(&values, columns).apply(&mut values);
    let rows = values.len() / columns.max(1);
    tensor(device, values, rows, columns)
}

/// The mean of each gene's vectors over the cells.
fn mean(vectors: &Tensor, cells: usize) -> Tensor {
    let (rows, columns) = shape(vectors);
    let mut means = vec![0.0; rows / cells * columns];
    let of_genes = values(vectors).par_chunks((cells * columns).max(1));
    means.par_chunks_mut(columns.max(1)).zip(of_genes).for_each(|(mean, vectors)| {
        for vector in vectors.chunks_exact(columns) {
            mean.iter_mut().zip(vector).for_each(|(mean, value)| *mean += value / cells as f32);
        }
    });
    standardised(vectors.device(), means, columns)
}
