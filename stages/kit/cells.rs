//! `cells.parquet`: one row per cell, its genes by their index in `genes.parquet`.
//!
//! Columns: `cell` (text, unique), `genes` (list of u32, rising), `values` (list of f32, as long as
//! `genes`). A gene that is not listed has the value zero.

use super::table::{Batches, Groups, Writer, column_as};
use anyhow::{Context, Result, bail};
use arrow::array::{
    Array, ArrayRef, AsArray, Float32Array, ListArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, UInt32Type};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

/// The name of the file in an artifact.
pub const FILE: &str = "cells.parquet";

/// Batches that may wait to be used.
const BATCHES_AHEAD: usize = 2;
const VALUES_PER_BATCH: usize = 1 << 16;
/// About 8 MB in memory: what a reader or a writer holds at least.
const VALUES_PER_GROUP: usize = 1 << 20;
/// Batches that may wait while another thread's row group is used: those of a row group of ours.
const BATCHES_OF_GROUP: usize = VALUES_PER_GROUP / VALUES_PER_BATCH;
/// Each thread may hold the batches of a row group.
const MOST_THREADS: usize = 8;

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

    /// Appends a cell. Prereq: `genes` rise, and are as many as `values`. Zeros are left out.
    pub fn push(&mut self, id: &str, genes: &[u32], values: &[f32]) -> Result<()> {
        if values.contains(&0.0) {
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

    /// Writes what is left and closes the file.
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

/// Some cells, in the file's order. A clone shares them.
#[derive(Clone)]
pub struct CellBatch {
    ids: StringArray,
    genes: ListArray,
    values: ListArray,
}

/// One cell: its id, the genes that are not zero and their values.
pub type Cell<'a> = (&'a str, &'a [u32], &'a [f32]);

impl CellBatch {
    /// The cells of the batch.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'_>> {
        let genes: &[u32] = self.genes.values().as_primitive::<UInt32Type>().values();
        let values: &[f32] = self.values.values().as_primitive::<Float32Type>().values();
        (0..self.ids.len()).map(move |row| {
            let range = |list: &ListArray| {
                let ends = list.value_offsets();
                ends[row] as usize..ends[row + 1] as usize
            };
            (self.ids.value(row), &genes[range(&self.genes)], &values[range(&self.values)])
        })
    }
}

/// Reads cells batch by batch. A thread unpacks the next ones meanwhile.
pub struct CellReader {
    receiver: Receiver<Result<CellBatch>>,
    thread: Option<JoinHandle<()>>,
}

impl CellReader {
    /// Prereq: `genes` is the number of rows of the table of genes that the indices point into.
    pub fn open(path: &Path, genes: usize) -> Result<CellReader> {
        let batches = Batches::open(path)?;
        let checked = Checked { path: path.to_owned(), genes };
        let (sender, receiver) = mpsc::sync_channel(BATCHES_AHEAD);
        let thread = std::thread::spawn(move || {
            for batch in batches {
                let batch = batch.and_then(|batch| checked.check(&batch));
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        Ok(CellReader { receiver, thread: Some(thread) })
    }
}

impl Iterator for CellReader {
    type Item = Result<CellBatch>;

    fn next(&mut self) -> Option<Result<CellBatch>> {
        let batch = self.receiver.recv().ok();
        // A thread that panicked must not look like the end of the file.
        if batch.is_none()
            && let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
        {
            std::panic::resume_unwind(panic);
        }
        batch
    }
}

/// A file of cells that several threads read, each other row groups.
pub struct CellFile {
    groups: Groups,
    checked: Checked,
    /// How many cells come before each row group.
    starts: Vec<usize>,
    /// The first row groups, which stay in memory once they are unpacked.
    held: Vec<OnceLock<Vec<CellBatch>>>,
}

impl CellFile {
    /// Prereq: as for [`CellReader::open`]. Most of a pass is unpacking, so that `held_values` of the cells stay for
    /// the next one.
    pub fn open(path: &Path, genes: usize, held_values: usize) -> Result<CellFile> {
        let groups = Groups::open(path)?;
        let mut starts = Vec::with_capacity(groups.count());
        let mut held = Vec::new();
        let (mut cells, mut values) = (0_usize, 0_usize);
        for group in 0..groups.count() {
            starts.push(cells);
            cells = cells.saturating_add(groups.rows(group));
            values = values.saturating_add(groups.values(group));
            if values <= held_values {
                held.push(OnceLock::new());
            }
        }
        Ok(CellFile { groups, checked: Checked { path: path.to_owned(), genes }, starts, held })
    }

    /// Gives what `make` makes of each batch, in the file's order, to `take`.
    ///
    /// `make` runs on several threads and is told how many cells come before the batch. What it makes, it makes of
    /// something used, for fresh memory costs as much as what is done with it.
    pub fn each_batch<T: Default + Send>(
        &self,
        make: impl Fn(usize, &CellBatch, &mut T) -> Result<()> + Sync,
        mut take: impl FnMut(&T) -> Result<()>,
    ) -> Result<()> {
        let threads = rayon::current_num_threads().min(self.groups.count()).clamp(1, MOST_THREADS);
        // Nothing follows the batches of each row group; false once nobody listens.
        let send_group = |group: usize, sender: &SyncSender<Option<Result<T>>>, used: &Receiver<T>| {
            let mut cells = self.starts[group];
            let mut make_next = |batch: CellBatch| {
                let mut made = used.try_recv().unwrap_or_default();
                make(cells, &batch, &mut made)?;
                cells += batch.ids.len();
                Ok(made)
            };
            let sent = match self.batches(group) {
                Ok(mut batches) => {
                    batches.all(|batch| sender.send(Some(batch.and_then(&mut make_next))).is_ok())
                }
                Err(error) => sender.send(Some(Err(error))).is_ok(),
            };
            sent && sender.send(None).is_ok()
        };
        std::thread::scope(|scope| {
            let start_thread = |thread: usize| {
                let (sender, receiver) = mpsc::sync_channel(BATCHES_OF_GROUP);
                let (give_back, used) = mpsc::channel();
                let (send_group, mut own_groups) =
                    (&send_group, (thread..self.groups.count()).step_by(threads));
                scope.spawn(move || own_groups.all(|group| send_group(group, &sender, &used)));
                (receiver, give_back)
            };
            let ends: Vec<_> = (0..threads).map(start_thread).collect();
            for group in 0..self.groups.count() {
                let (receiver, give_back) = &ends[group % threads];
                // A thread that panicked sends no more, and the scope panics in its turn.
                while let Ok(Some(made)) = receiver.recv() {
                    let made = made?;
                    take(&made)?;
                    // Nobody takes it back after the last row group.
                    let _ = give_back.send(made);
                }
            }
            Ok(())
        })
    }

    fn batches(&self, group: usize) -> Result<Box<dyn Iterator<Item = Result<CellBatch>> + '_>> {
        let read = || -> Result<_> {
            Ok(self.groups.read(group)?.map(|batch| batch.and_then(|batch| self.checked.check(&batch))))
        };
        let Some(held) = self.held.get(group) else { return Ok(Box::new(read()?)) };
        let batches = match held.get() {
            Some(batches) => batches,
            None => {
                let batches = read()?.collect::<Result<Vec<_>>>()?;
                held.get_or_init(|| batches)
            }
        };
        Ok(Box::new(batches.iter().cloned().map(Ok)))
    }
}

/// What a batch is held against.
struct Checked {
    path: PathBuf,
    genes: usize,
}

impl Checked {
    fn check(&self, batch: &RecordBatch) -> Result<CellBatch> {
        let column = |name, wanted: &DataType, in_words| column_as(batch, name, wanted, in_words, &self.path);
        let ids = column("cell", &DataType::Utf8, "text")?.as_string().clone();
        let genes = column("genes", &list_of(DataType::UInt32), "lists of gene indices")?.as_list().clone();
        let values = column("values", &list_of(DataType::Float32), "lists of numbers")?.as_list().clone();
        let batch = CellBatch { ids, genes, values };
        if batch.ids.null_count() + batch.genes.null_count() + batch.values.null_count() > 0 {
            bail!("{}: a cell lacks its id, its genes or its values", self.path.display());
        }
        for (id, genes, values) in batch.cells() {
            if genes.len() != values.len() {
                let (genes, values) = (genes.len(), values.len());
                bail!("{}: cell `{id}` has {genes} genes and {values} values", self.path.display());
            }
            if !genes.is_sorted_by(|a, b| a < b) {
                bail!("{}: the gene indices of cell `{id}` do not rise", self.path.display());
            }
            if let Some(last) = genes.last().filter(|last| **last as usize >= self.genes) {
                let count = self.genes;
                bail!(
                    "{}: cell `{id}` has the gene index {last}, and there are {count} genes",
                    self.path.display()
                );
            }
        }
        Ok(batch)
    }
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
        for path in &paths {
            let mut writer = CellWriter::create(path).unwrap();
            for cell in 0..2000 {
                writer.push(&format!("c{cell}"), &genes, &values).unwrap();
            }
            writer.finish().unwrap();
        }
        assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&paths[1]).unwrap());
        let cells: usize =
            CellReader::open(&paths[0], 3000).unwrap().map(|batch| batch.unwrap().ids.len()).sum();
        assert_eq!(cells, 2000);
    }
}
