//! `embeddings.parquet`: a vector for each gene or each cell.
//!
//! Columns: `name` (text), `values` (list of f32, of equal length in all rows). `embeddings-by-cell.parquet`, with a
//! vector for each gene in each cell, has the column `cell` (text) before them; its rows are grouped by cell, and every
//! cell has the same genes.

use crate::table::{self, Batches, column_as};
use anyhow::{Result, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, Float32Array, ListArray, RecordBatch, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use contract::stage::Takes;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "embeddings.parquet";
/// The name of the file of vectors for each gene in each cell.
pub const BY_CELL: &str = "embeddings-by-cell.parquet";
/// The artifact that a slot accepts if it needs a vector for each gene or for each cell.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[FILE]]);
/// The artifact that a slot accepts if it can also use a vector for each gene in each cell.
pub const ANY_ARTIFACT: Takes = Takes::OneOf(&[&[FILE], &[BY_CELL]]);

/// The size of a row group in files that are written cell by cell: 4 MB.
const VALUES_PER_GROUP: usize = 1 << 20;

/// Vectors by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// The name of each vector.
    pub names: Vec<String>,
    /// The length of each vector.
    pub dimensions: usize,
    /// All vectors, concatenated.
    pub values: Vec<f32>,
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

impl Embeddings {
    /// Writes the table.
    pub fn write(&self, path: &Path) -> Result<()> {
        let names = StringArray::from_iter_values(&self.names);
        let values = vectors(self.values.clone(), self.names.len(), self.dimensions)?;
        table::write(path, vec![("name", Arc::new(names)), ("values", values)])
    }

    /// Reads the table.
    pub fn read(path: &Path) -> Result<Embeddings> {
        let mut embeddings = Embeddings { names: Vec::new(), dimensions: 0, values: Vec::new() };
        for batch in Batches::open(path)? {
            let batch = batch?;
            let names = column_as(&batch, "name", &DataType::Utf8, "text", path)?;
            let values = column_as(&batch, "values", &DataType::List(item()), "lists of numbers", path)?;
            for (name, vector) in names.as_string::<i32>().iter().zip(values.as_list::<i32>().iter()) {
                let (Some(name), Some(vector)) = (name, vector) else {
                    bail!("{}: row {} lacks its name or its vector", path.display(), embeddings.names.len())
                };
                if embeddings.names.is_empty() {
                    embeddings.dimensions = vector.len();
                }
                if vector.len() != embeddings.dimensions {
                    let (found, expected) = (vector.len(), embeddings.dimensions);
                    bail!(
                        "{}: the vector of `{name}` has {found} numbers, others {expected}",
                        path.display()
                    );
                }
                embeddings.names.push(name.to_owned());
                embeddings.values.extend_from_slice(vector.as_primitive::<Float32Type>().values());
            }
        }
        Ok(embeddings)
    }

    /// The vectors of these names, in the order of the names.
    pub fn of(&self, names: &[String], path: &Path) -> Result<Vec<f32>> {
        let index: std::collections::HashMap<&str, usize> =
            self.names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
        let mut values = Vec::with_capacity(names.len() * self.dimensions);
        for name in names {
            let Some(index) = index.get(name.as_str()) else {
                bail!("{}: has no vector for `{name}`", path.display())
            };
            values.extend_from_slice(&self.values[index * self.dimensions..(index + 1) * self.dimensions]);
        }
        Ok(values)
    }
}

fn vectors(values: Vec<f32>, count: usize, dimensions: usize) -> Result<ArrayRef> {
    let ends = OffsetBuffer::from_lengths((0..count).map(|_| dimensions));
    Ok(Arc::new(ListArray::try_new(item(), ends, Arc::new(Float32Array::from(values)), None)?))
}

/// Writes vectors one by one.
pub struct Writer {
    inner: table::Writer,
    schema: Arc<Schema>,
    dimensions: usize,
    names: Vec<String>,
    values: Vec<f32>,
}

impl Writer {
    /// Prereq: nothing is at `path`.
    pub fn create(path: &Path, dimensions: usize) -> Result<Writer> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("values", DataType::List(item()), false),
        ]));
        let inner = table::Writer::create(path, schema.clone())?;
        Ok(Writer { inner, schema, dimensions, names: Vec::new(), values: Vec::new() })
    }

    /// The length of each vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Appends a vector. Prereq: it has the right length.
    pub fn push(&mut self, name: &str, vector: &[f32]) -> Result<()> {
        self.names.push(name.to_owned());
        self.values.extend_from_slice(vector);
        if self.values.len() >= VALUES_PER_GROUP { self.write_group() } else { Ok(()) }
    }

    /// Writes the remaining vectors and closes the file.
    pub fn finish(mut self) -> Result<()> {
        self.write_group()?;
        self.inner.finish()
    }

    fn write_group(&mut self) -> Result<()> {
        let names = StringArray::from_iter_values(std::mem::take(&mut self.names));
        let values = vectors(std::mem::take(&mut self.values), names.len(), self.dimensions)?;
        self.inner.write(RecordBatch::try_new(self.schema.clone(), vec![Arc::new(names), values])?)?;
        self.inner.end_group()
    }
}

/// Writes the vectors of all genes, cell by cell.
pub struct ByCellWriter {
    inner: table::Writer,
    schema: Arc<Schema>,
    genes: Vec<String>,
    dimensions: usize,
    cells: Vec<String>,
    values: Vec<f32>,
}

impl ByCellWriter {
    /// Prereq: nothing is at `path`.
    pub fn create(path: &Path, genes: &[String], dimensions: usize) -> Result<ByCellWriter> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("cell", DataType::Utf8, false),
            Field::new("name", DataType::Utf8, false),
            Field::new("values", DataType::List(item()), false),
        ]));
        let inner = table::Writer::create(path, schema.clone())?;
        Ok(ByCellWriter {
            inner,
            schema,
            genes: genes.to_vec(),
            dimensions,
            cells: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Appends a cell's vectors, one for each gene. Prereq: there are genes × dimensions values.
    pub fn push(&mut self, cell: &str, vectors: &[f32]) -> Result<()> {
        self.cells.push(cell.to_owned());
        self.values.extend_from_slice(vectors);
        if self.values.len() >= VALUES_PER_GROUP { self.write_group() } else { Ok(()) }
    }

    /// Writes the remaining vectors and closes the file.
    pub fn finish(mut self) -> Result<()> {
        self.write_group()?;
        self.inner.finish()
    }

    fn write_group(&mut self) -> Result<()> {
        let cells = std::mem::take(&mut self.cells);
        let rows = cells.len() * self.genes.len();
        let of_cells = cells.iter().flat_map(|cell| std::iter::repeat_n(cell, self.genes.len()));
        let of_cells = StringArray::from_iter_values(of_cells);
        let names = StringArray::from_iter_values(cells.iter().flat_map(|_| &self.genes));
        let values = vectors(std::mem::take(&mut self.values), rows, self.dimensions)?;
        let columns: Vec<ArrayRef> = vec![Arc::new(of_cells), Arc::new(names), values];
        self.inner.write(RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.inner.end_group()
    }
}

/// The vectors of all genes in all cells, in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct ByCell {
    /// The ids of the cells.
    pub cells: Vec<String>,
    /// The names of the genes, the same in every cell.
    pub genes: Vec<String>,
    /// The length of each vector.
    pub dimensions: usize,
    /// Ordered by cell, then by gene.
    pub values: Vec<f32>,
}

impl ByCell {
    /// Reads the table.
    pub fn read(path: &Path) -> Result<ByCell> {
        let mut found = ByCell { cells: Vec::new(), genes: Vec::new(), dimensions: 0, values: Vec::new() };
        let mut in_cell = 0;
        for batch in Batches::open(path)? {
            let batch = batch?;
            let cells = column_as(&batch, "cell", &DataType::Utf8, "text", path)?;
            let names = column_as(&batch, "name", &DataType::Utf8, "text", path)?;
            let values = column_as(&batch, "values", &DataType::List(item()), "lists of numbers", path)?;
            let texts = cells.as_string::<i32>().iter().zip(names.as_string::<i32>());
            for ((cell, name), vector) in texts.zip(values.as_list::<i32>().iter()) {
                let (Some(cell), Some(name), Some(vector)) = (cell, name, vector) else {
                    bail!("{}: a row lacks its cell, its name or its vector", path.display())
                };
                if found.cells.is_empty() {
                    found.dimensions = vector.len();
                }
                if found.cells.last().is_none_or(|last| last != cell) {
                    ensure!(in_cell == found.genes.len(), "{}: its cells have other genes", path.display());
                    found.cells.push(cell.to_owned());
                    in_cell = 0;
                }
                if found.cells.len() == 1 {
                    found.genes.push(name.to_owned());
                }
                let fits = vector.len() == found.dimensions
                    && found.genes.get(in_cell).is_some_and(|gene| gene == name);
                ensure!(
                    fits,
                    "{}: cell `{cell}` has other genes or longer vectors than the first",
                    path.display()
                );
                in_cell += 1;
                found.values.extend_from_slice(vector.as_primitive::<Float32Type>().values());
            }
        }
        ensure!(in_cell == found.genes.len(), "{}: its cells have other genes", path.display());
        Ok(found)
    }
}

/// Subtracts the mean of all vectors.
pub fn centre(values: &mut [f32], width: usize) {
    let count = (values.len() / width).max(1) as f64;
    let mut means = vec![0.0; width];
    for vector in values.chunks_exact(width) {
        means.iter_mut().zip(vector).for_each(|(mean, value)| *mean += f64::from(*value) / count);
    }
    for vector in values.chunks_exact_mut(width) {
        vector.iter_mut().zip(&means).for_each(|(value, mean)| *value = (f64::from(*value) - mean) as f32);
    }
}

/// The cosine of the angle between two vectors; 0 if one of them has no length.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = libm::sqrt(dot(a, a) * dot(b, b));
    if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_back_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let names = vec!["a".to_owned(), "b".to_owned()];
        let embeddings = Embeddings { names, dimensions: 2, values: vec![1.0, 2.0, 3.0, 4.0] };
        embeddings.write(&path).unwrap();
        let read = Embeddings::read(&path).unwrap();
        assert_eq!(read, embeddings);
        assert_eq!(read.of(&["b".to_owned()], &path).unwrap(), [3.0, 4.0]);
        let error = read.of(&["c".to_owned()], &path).unwrap_err().to_string();
        assert!(error.ends_with("embeddings.parquet: has no vector for `c`"), "{error}");
    }

    #[test]
    fn vectors_by_cell_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(BY_CELL);
        let genes = ["g", "h"].map(str::to_owned);
        let mut writer = ByCellWriter::create(&path, &genes, 2).unwrap();
        writer.push("a", &[1.0, 2.0, 3.0, 4.0]).unwrap();
        writer.push("b", &[5.0, 6.0, 7.0, 8.0]).unwrap();
        writer.finish().unwrap();
        let read = ByCell::read(&path).unwrap();
        assert_eq!(
            (read.cells, read.genes, read.dimensions),
            (vec!["a".into(), "b".into()], genes.to_vec(), 2)
        );
        assert_eq!(read.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }
}
