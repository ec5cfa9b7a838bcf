//! Packs the columns of a Parquet file on several threads.
//!
//! Packing takes about as long as computing the content. The threads do not affect the bytes: each column is
//! packed by one of them, in the order of its rows.

use super::lists::{self, Lists};
use anyhow::{Context, Result, anyhow};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves,
};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use zstd::bulk::Compressor;

/// How much may wait to be packed: a row group of cells, so that a thread with a slow column does not stall
/// the others.
const BYTES_AHEAD: usize = 1 << 23;
/// None of our tables has more than two large columns.
const MOST_THREADS: usize = 2;

/// A file that is being packed, row group by row group.
pub struct Packer {
    file: SerializedFileWriter<File>,
    schema: Arc<Schema>,
    factory: ArrowRowGroupWriterFactory,
    threads: Vec<Thread>,
    /// The number of row groups started.
    begun: usize,
    /// Whether the last of them is still open.
    open: bool,
    /// Finished row groups that are not in the file yet: they are completed while the next one is being packed.
    ended: usize,
}

/// Packs some of the columns. The assignment changes with each row group, because some columns take longer.
struct Thread {
    /// `None` after an error.
    parts: Option<SyncSender<Part>>,
    packed: Receiver<Result<Vec<Packed>>>,
}

/// A message to a thread.
enum Part {
    /// Starts a row group, with the columns that this thread packs.
    Begin(Vec<(usize, Column)>),
    Rows(RecordBatch),
    End,
}

/// A column of a row group while it is being packed.
enum Column {
    Flat(Box<ArrowColumnWriter>),
    Lists(Lists),
}

/// A packed column of a row group.
enum Packed {
    Flat(ArrowColumnChunk),
    Lists(lists::Packed),
}

impl Packer {
    /// Starts a file. Prereq: each column is one column of numbers or text, or of lists of them.
    ///
    /// The number of batches that may wait is chosen by the size of `first`; later ones should be about as large.
    pub fn new(
        file: File,
        schema: &Arc<Schema>,
        properties: WriterProperties,
        first: Option<&RecordBatch>,
    ) -> Result<Packer> {
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(file, schema.clone(), options)?;
        let (file, factory) = writer.into_serialized_writer()?;
        let count = rayon::current_num_threads().min(schema.fields().len()).clamp(1, MOST_THREADS);
        let bytes = first.map_or(BYTES_AHEAD, RecordBatch::get_array_memory_size);
        let batches_ahead = (BYTES_AHEAD / bytes.max(1)).clamp(1, 64);
        let start = |_| {
            let (parts, told) = mpsc::sync_channel(batches_ahead);
            let (tell, packed) = mpsc::channel();
            let schema = schema.clone();
            std::thread::spawn(move || {
                if let Err(error) = pack(&schema, told, &tell) {
                    // The receiver is gone if the step has already failed.
                    let _ = tell.send(Err(error));
                }
            });
            Thread { parts: Some(parts), packed }
        };
        let threads = (0..count).map(start).collect();
        Ok(Packer { file, schema: schema.clone(), factory, threads, begun: 0, open: false, ended: 0 })
    }

    /// Appends rows to the current row group, or to a new one.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if !self.open {
            let mut own: Vec<Vec<_>> = self.threads.iter().map(|_| Vec::new()).collect();
            for (index, writer) in self.factory.create_column_writers(self.begun)?.into_iter().enumerate() {
                let column = if lists::packs(self.schema.field(index)) {
                    Column::Lists(Lists::new(self.file.schema_descr().column(index)))
                } else {
                    Column::Flat(Box::new(writer))
                };
                own[thread_of(self.begun, index, self.threads.len())].push((index, column));
            }
            self.tell(own.into_iter().map(Part::Begin))?;
            self.begun += 1;
            self.open = true;
        }
        self.tell(std::iter::repeat_with(|| Part::Rows(batch.clone())))
    }

    /// Ends the current row group, if there is one.
    pub fn end_group(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open) {
            self.tell(std::iter::repeat_with(|| Part::End))?;
            self.ended += 1;
        }
        if self.ended > 1 { self.append_group() } else { Ok(()) }
    }

    /// Writes the footer; returns the file.
    pub fn finish(mut self) -> Result<File> {
        self.end_group()?;
        while self.ended > 0 {
            self.append_group()?;
        }
        Ok(self.file.into_inner()?)
    }

    /// Sends one message to each thread.
    fn tell(&mut self, parts: impl Iterator<Item = Part>) -> Result<()> {
        for (thread, part) in self.threads.iter_mut().zip(parts) {
            let told = thread.parts.as_ref().is_some_and(|parts| parts.send(part).is_ok());
            if !told {
                // The thread receives until it fails; what it packed before no longer matters.
                thread.parts = None;
                let error = thread.packed.iter().find_map(Result::err);
                return Err(error.unwrap_or_else(|| anyhow!("a thread that packs columns has ended")));
            }
        }
        Ok(())
    }

    /// Appends the oldest finished row group to the file.
    fn append_group(&mut self) -> Result<()> {
        let index = self.begun - self.ended;
        let mut of_threads = Vec::new();
        let mut columns = 0;
        for thread in &self.threads {
            let packed = thread.packed.recv().context("a thread that packs columns has ended")??;
            columns += packed.len();
            of_threads.push(packed.into_iter());
        }
        let mut group = self.file.next_row_group()?;
        for column in 0..columns {
            let chunk = of_threads[thread_of(index, column, self.threads.len())].next();
            chunk.context("a thread packed another column")?.append_to(&mut group)?;
        }
        group.close()?;
        self.ended -= 1;
        Ok(())
    }
}

/// The thread that packs a column of a row group.
fn thread_of(group: usize, column: usize, threads: usize) -> usize {
    (group + column) % threads
}

/// The main function of a thread: packs its columns and sends those of each row group.
fn pack(schema: &Schema, parts: Receiver<Part>, packed: &Sender<Result<Vec<Packed>>>) -> Result<()> {
    let mut compressor = lists::compressor()?;
    let mut columns: Vec<(usize, Column)> = Vec::new();
    for part in parts {
        match part {
            Part::Begin(new) => columns = new,
            Part::Rows(batch) => {
                for (index, column) in &mut columns {
                    column.write(schema, &batch, *index, &mut compressor)?;
                }
            }
            Part::End => {
                let done = std::mem::take(&mut columns).into_iter();
                let done = done.map(|(_, column)| column.close(&mut compressor)).collect::<Result<_>>()?;
                if packed.send(Ok(done)).is_err() {
                    break;
                }
            }
        }
    }
    Ok(())
}

impl Column {
    fn write(
        &mut self,
        schema: &Schema,
        batch: &RecordBatch,
        index: usize,
        compressor: &mut Compressor,
    ) -> Result<()> {
        match self {
            Column::Lists(lists) => lists.write(batch.column(index).as_list(), compressor)?,
            Column::Flat(writer) => {
                for leaf in compute_leaves(schema.field(index), batch.column(index))? {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    }

    fn close(self, compressor: &mut Compressor) -> Result<Packed> {
        Ok(match self {
            Column::Lists(lists) => Packed::Lists(lists.close(compressor)?),
            Column::Flat(writer) => Packed::Flat(writer.close()?),
        })
    }
}

impl Packed {
    fn append_to(self, group: &mut SerializedRowGroupWriter<File>) -> Result<()> {
        match self {
            Packed::Lists(packed) => packed.append_to(group),
            Packed::Flat(packed) => Ok(packed.append_to_row_group(group)?),
        }
    }
}
