//! `cells.parquet`: one row per cell, its genes by their index in `genes.parquet`.
//!
//! Columns: `cell` (text, unique), `genes` (list of u32, ascending), `values` (list of f32, as long as
//! `genes`). Genes that are not listed have the value zero.

pub mod passes;

use crate::table::{Batches, Groups, ListReader, Writer, column_as};
use anyhow::{Context, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use contract::stage::Takes;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

/// The name of the file in an artifact.
pub const FILE: &str = "cells.parquet";
/// The artifact that a slot accepts if it needs cells and their genes.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[FILE, crate::genes::FILE]]);

/// How many batches may be decoded ahead of their use.
const BATCHES_AHEAD: usize = 2;
/// As in `table.rs`: small enough for the cache of a core and for the allocator to reuse the memory.
const VALUES_PER_BATCH: usize = 3 << 13;
/// About 8 MB in memory: the least that a reader or a writer holds.
const VALUES_PER_GROUP: usize = 1 << 20;

/// Writes cells one by one.
pub struct CellWriter {
    writer: Writer,
    schema: Arc<Schema>,
    ids: Vec<String>,
    ends: Vec<i32>,
    genes: Vec<u32>,
    values: Vec<f32>,
    in_group: usize,
}

impl CellWriter {
    /// Prereq: `path` does not exist.
    pub fn create(path: &Path) -> Result<CellWriter> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("cell", DataType::Utf8, false),
            Field::new("genes", list_of(DataType::UInt32), false),
            Field::new("values", list_of(DataType::Float32), false),
        ]));
        let writer = Writer::create(path, schema.clone())?;
        let (ids, genes, values) = (Vec::new(), Vec::new(), Vec::new());
        Ok(CellWriter { writer, schema, ids, ends: vec![0], genes, values, in_group: 0 })
    }

    /// Appends a cell. Prereq: `genes` ascend and are as many as `values`. Zeros are left out.
    pub fn push(&mut self, id: &str, genes: &[u32], values: &[f32]) -> Result<()> {
        if values.iter().fold(false, |zeros, value| zeros | (*value == 0.0)) {
            let pairs = genes.iter().zip(values).filter(|(_, value)| **value != 0.0);
            self.genes.extend(pairs.clone().map(|(gene, _)| gene));
            self.values.extend(pairs.map(|(_, value)| value));
        } else {
            self.genes.extend_from_slice(genes);
            self.values.extend_from_slice(values);
        }
        self.ids.push(id.to_owned());
        let end =
            i32::try_from(self.genes.len()).with_context(|| format!("cell `{id}` has too many values"))?;
        self.ends.push(end);
        if self.genes.len() + self.ids.len() >= VALUES_PER_BATCH {
            self.write_batch()?;
        }
        Ok(())
    }

    /// Writes the remaining cells and closes the file.
    pub fn finish(mut self) -> Result<()> {
        self.write_batch()?;
        self.writer.finish()
    }

    fn write_batch(&mut self) -> Result<()> {
        let ends = OffsetBuffer::new(std::mem::replace(&mut self.ends, vec![0]).into());
        let genes: ArrayRef = Arc::new(UInt32Array::from(std::mem::take(&mut self.genes)));
        let values: ArrayRef = Arc::new(Float32Array::from(std::mem::take(&mut self.values)));
        self.in_group += values.len();
        let list = |items: ArrayRef| -> Result<ArrayRef> {
            Ok(Arc::new(ListArray::try_new(item(items.data_type().clone()), ends.clone(), items, None)?))
        };
        let ids: ArrayRef = Arc::new(StringArray::from_iter_values(std::mem::take(&mut self.ids)));
        self.writer
            .write(RecordBatch::try_new(self.schema.clone(), vec![ids, list(genes)?, list(values)?])?)?;
        if self.in_group >= VALUES_PER_GROUP {
            self.in_group = 0;
            self.writer.end_group()?;
        }
        Ok(())
    }
}

fn item(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", of, false))
}

fn list_of(item_type: DataType) -> DataType {
    DataType::List(item(item_type))
}

/// Consecutive cells of the file.
pub struct CellBatch {
    ids: StringArray,
    /// Where each cell starts and ends in `genes` and in `values`.
    gene_ends: Vec<i32>,
    value_ends: Vec<i32>,
    genes: Vec<u32>,
    values: Vec<f32>,
}

impl Default for CellBatch {
    fn default() -> CellBatch {
        let ids = StringArray::new_null(0);
        CellBatch { ids, gene_ends: vec![0], value_ends: vec![0], genes: Vec::new(), values: Vec::new() }
    }
}

/// One cell: its id, the genes with non-zero values, and these values.
pub type Cell<'a> = (&'a str, &'a [u32], &'a [f32]);

impl CellBatch {
    /// The number of cells.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// The cells in order.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        (0..self.count()).map(move |row| {
            let range = |ends: &[i32]| ends[row] as usize..ends[row + 1] as usize;
            (self.ids.value(row), &self.genes[range(&self.gene_ends)], &self.values[range(&self.value_ends)])
        })
    }
}

/// Reads cells batch by batch. A thread decodes the next batches ahead of their use.
pub struct CellReader {
    receiver: Receiver<Result<CellBatch>>,
    thread: Option<JoinHandle<()>>,
}

impl CellReader {
    /// Prereq: `genes` is the number of rows of the table of genes that the indices point into.
    pub fn open(path: &Path, genes: usize) -> Result<CellReader> {
        let groups = CellGroups::open(path, genes)?;
        let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
        let thread = std::thread::spawn(move || {
            let sent = (0..groups.count()).try_for_each(|group| {
                let mut cells = groups.read(group)?;
                let mut batch = CellBatch::default();
                while cells.next(&mut batch)? {
                    if sender.send(Ok(std::mem::take(&mut batch))).is_err() {
                        return Ok(());
                    }
                }
                Ok(())
            });
            if let Err(error) = sent {
                // The receiver may have stopped reading.
                let _ = sender.send(Err(error));
            }
        });
        Ok(CellReader { receiver, thread: Some(thread) })
    }
}

impl Iterator for CellReader {
    type Item = Result<CellBatch>;

    fn next(&mut self) -> Option<Result<CellBatch>> {
        let batch = self.receiver.recv().ok();
        // If the thread panicked, this must not look like the end of the file.
        if batch.is_none()
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            std::panic::resume_unwind(panic);
        }
        batch
    }
}

/// The row groups of a file of cells.
struct CellGroups {
    groups: Groups,
    genes: usize,
    path: PathBuf,
}

impl CellGroups {
    fn open(path: &Path, genes: usize) -> Result<CellGroups> {
        Ok(CellGroups { groups: Groups::open(path)?, genes, path: path.to_owned() })
    }

    fn count(&self) -> usize {
        self.groups.count()
    }

    fn read(&self, group: usize) -> Result<CellGroup<'_>> {
        Ok(CellGroup {
            file: self,
            ids: self.groups.column(group, "cell")?,
            genes: self.groups.lists(group, "genes", "lists of gene indices")?,
            values: self.groups.lists(group, "values", "lists of numbers")?,
        })
    }
}

/// The cells of one row group.
struct CellGroup<'a> {
    file: &'a CellGroups,
    ids: Batches,
    genes: ListReader,
    values: ListReader,
}

impl CellGroup<'_> {
    /// Reads the next cells into a batch whose memory is reused; returns whether there were any.
    fn next(&mut self, batch: &mut CellBatch) -> Result<bool> {
        let CellGroups { genes: gene_count, path, .. } = self.file;
        let Some(ids) = self.ids.next().transpose()? else { return Ok(false) };
        batch.ids = column_as(&ids, "cell", &DataType::Utf8, "text", path)?.as_string().clone();
        if batch.ids.null_count() > 0 {
            bail!("{}: a cell lacks its id", path.display());
        }
        self.genes.indices(batch.count(), &mut batch.gene_ends, &mut batch.genes)?;
        self.values.floats(batch.count(), &mut batch.value_ends, &mut batch.values)?;
        for (id, genes, values) in batch.cells() {
            if genes.len() != values.len() {
                let (genes, values) = (genes.len(), values.len());
                bail!("{}: cell `{id}` has {genes} genes and {values} values", path.display());
            }
            if !rise(genes) {
                bail!("{}: the gene indices of cell `{id}` do not rise", path.display());
            }
            if let Some(last) = genes.last().filter(|last| **last as usize >= *gene_count) {
                bail!(
                    "{}: cell `{id}` has the gene index {last}, and there are {gene_count} genes",
                    path.display()
                );
            }
        }
        Ok(true)
    }
}

/// Whether the indices strictly ascend. Branch-free, because it is called for every value.
pub fn rise(indices: &[u32]) -> bool {
    indices.windows(2).fold(true, |rise, pair| rise & (pair[0] < pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, cells: &[(&str, &[u32], &[f32])]) {
        let mut writer = CellWriter::create(path).unwrap();
        for (id, genes, values) in cells {
            writer.push(id, genes, values).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn cells_come_back_without_their_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(&path, &[("a", &[0, 2, 3], &[1.0, 0.0, 2.5]), ("b", &[], &[])]);
        let batch = CellReader::open(&path, 4).unwrap().next().unwrap().unwrap();
        let cells: Vec<Cell> = batch.cells().collect();
        assert_eq!(cells, [("a", &[0, 3][..], &[1.0, 2.5][..]), ("b", &[], &[])]);
    }

    #[test]
    fn an_index_beyond_the_genes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(&path, &[("a", &[0, 9], &[1.0, 1.0])]);
        let error = CellReader::open(&path, 4).unwrap().next().unwrap().err().unwrap().to_string();
        assert!(error.ends_with("cell `a` has the gene index 9, and there are 4 genes"), "{error}");
    }

    #[test]
    fn many_cells_are_many_row_groups_and_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let genes: Vec<u32> = (0..3000).collect();
        let values: Vec<f32> = genes.iter().map(|gene| (gene % 7 + 1) as f32).collect();
        let paths = [folder.path().join("a"), folder.path().join("b")];
        for (threads, path) in paths.iter().enumerate() {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads + 1).build().unwrap();
            pool.install(|| {
                let mut writer = CellWriter::create(path).unwrap();
                for cell in 0..2000 {
                    writer.push(&format!("c{cell}"), &genes, &values).unwrap();
                }
                writer.finish().unwrap();
            });
        }
        assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
        let cells: usize =
            CellReader::open(&paths[0], 3000).unwrap().map(|batch| batch.unwrap().ids.len()).sum();
        assert_eq!(cells, 2000);
    }
}
