//! Parquet files whose bytes depend on their content only.
//!
//! A consumer's key contains the digest of these bytes, so a step that runs again must write the same
//! bytes: one writer, fixed properties, no time, no library version, rows in the caller's order.

mod bits;
mod delta;
mod dictionary;
mod levels;
mod list_reader;
mod lists;
mod packer;

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use bytes::Bytes;
use contract::disk;
pub use list_reader::ListReader;
use packer::Packer;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Limits what a reader of long lists holds, and keeps it in the cache of a core.
const VALUES_PER_BATCH: i64 = 3 << 13;
/// Files up to this size are read into memory: from an open file, the Parquet library reads each of dozens of pieces
/// with four system calls.
const READ_WHOLE_BYTES: u64 = 1 << 18;
/// For tables with short rows, where the cost of a batch would exceed that of its rows.
const MOST_ROWS_PER_BATCH: i64 = 1 << 12;
/// Tables that fit in memory are read in large batches.
const ROWS_OF_SMALL_TABLES: usize = 1 << 16;

/// Small enough for the allocator to reuse the memory in which a page is packed: fresh memory from the system costs
/// more per byte than packing it.
const BYTES_PER_PAGE: usize = 1 << 16;
/// A table whose first batch is smaller is not compressed: setting up zstd, for writing and reading, takes longer.
const SMALL_BYTES: usize = 1 << 15;
/// The most rows in a row group.
const ROWS_PER_GROUP: usize = 1 << 20;

/// Writes one Parquet file, batch by batch.
pub struct Writer {
    /// `None` once there are rows.
    file: Option<File>,
    /// `None` before the first rows, on which some of the settings depend.
    packer: Option<Packer>,
    schema: Arc<Schema>,
    path: PathBuf,
    rows_in_group: usize,
}

impl Writer {
    /// Prereq: nothing is at `path`.
    pub fn create(path: &Path, schema: Arc<Schema>) -> Result<Writer> {
        let file = File::create_new(path).map_err(|error| disk::fault("creating", path, error))?;
        Ok(Writer { file: Some(file), packer: None, schema, path: path.to_owned(), rows_in_group: 0 })
    }

    /// Appends rows.
    pub fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = (batch.num_rows() - start).min(ROWS_PER_GROUP - self.rows_in_group);
            let part = batch.slice(start, rows);
            self.begin(Some(&part))?;
            self.packed(|packer| packer.write(&part))?;
            self.rows_in_group += rows;
            start += rows;
            if self.rows_in_group == ROWS_PER_GROUP {
                self.end_group()?;
            }
        }
        Ok(())
    }

    /// Ends a row group, which limits what the writer holds.
    pub fn end_group(&mut self) -> Result<()> {
        self.rows_in_group = 0;
        self.packed(Packer::end_group)
    }

    fn packed(&mut self, pack: impl FnOnce(&mut Packer) -> Result<()>) -> Result<()> {
        self.packer.as_mut().map_or(Ok(()), pack).with_context(|| writing(&self.path))
    }

    /// Writes the footer and closes the file.
    pub fn finish(mut self) -> Result<()> {
        self.begin(None)?;
        let Some(packer) = self.packer else { return Ok(()) };
        let file = packer.finish().with_context(|| writing(&self.path))?;
        Ok(disk::close(file, &self.path)?)
    }

    fn begin(&mut self, rows: Option<&RecordBatch>) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let packer = Packer::new(file, &self.schema, properties(&self.schema, rows), rows);
        self.packer = Some(packer.with_context(|| writing(&self.path))?);
        Ok(())
    }
}

fn writing(path: &Path) -> String {
    format!("writing {}", path.display())
}

/// Sets every property that a later version of the library might choose differently; columns of lists have their
/// own settings (`lists.rs`).
fn properties(schema: &Schema, rows: Option<&RecordBatch>) -> WriterProperties {
    let bytes = rows.map_or(0, RecordBatch::get_array_memory_size);
    let compression = match bytes {
        0..SMALL_BYTES => Compression::UNCOMPRESSED,
        _ => Compression::ZSTD(ZstdLevel::default()),
    };
    let mut builder = WriterProperties::builder()
        .set_created_by("pipeline".to_owned())
        .set_compression(compression)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_data_page_size_limit(BYTES_PER_PAGE)
        .set_dictionary_enabled(true);
    for field in schema.fields() {
        let DataType::List(item) = field.data_type() else { continue };
        if !lists::packs(field) {
            continue;
        }
        let column = ColumnPath::new(vec![field.name().clone(), "list".to_owned(), item.name().clone()]);
        // The library would set up compression for every column, even for those that are packed without it.
        builder = builder.set_column_compression(column, Compression::UNCOMPRESSED);
    }
    builder.build()
}

/// Writes a whole table of named columns.
pub fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) -> Result<()> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), column.is_nullable()))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect())
        .with_context(|| writing(path))?;
    let mut writer = Writer::create(path, schema)?;
    writer.write(batch)?;
    writer.finish()
}

/// A table that fits in memory.
#[derive(Debug)]
pub struct Table {
    batch: RecordBatch,
    path: PathBuf,
}

impl Table {
    /// Reads a whole file.
    pub fn open(path: &Path) -> Result<Table> {
        let reader = Batches::with_rows(path, ROWS_OF_SMALL_TABLES)?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>>>()?;
        let batch = arrow::compute::concat_batches(&schema, &batches).with_context(|| reading(path))?;
        Ok(Table { batch, path: path.to_owned() })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether it has a column with this name.
    pub fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    /// The names of its columns.
    pub fn columns(&self) -> Vec<String> {
        self.batch.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// A text column without missing values.
    pub fn strings(&self, name: &str) -> Result<StringArray> {
        let column = self.column(name, &DataType::Utf8, "text")?;
        Ok(column.as_string().clone())
    }

    /// A column of text or of whole numbers as text, where values may be missing.
    pub fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let whole = |found: &ArrayRef| found.data_type().is_integer();
        if self.batch.column_by_name(name).is_some_and(whole) {
            let column = column_as(&self.batch, name, &DataType::Int64, "whole numbers", &self.path)?;
            let numbers = column.as_primitive::<Int64Type>();
            return Ok(numbers.iter().map(|number| number.map(|number| number.to_string())).collect());
        }
        let column = column_as(&self.batch, name, &DataType::Utf8, "text", &self.path)?;
        Ok(column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
    }

    /// A numeric column without missing values, as floats.
    pub fn floats(&self, name: &str) -> Result<Float64Array> {
        let column = self.column(name, &DataType::Float64, "numbers")?;
        Ok(column.as_primitive::<Float64Type>().clone())
    }

    /// An integer column without missing values.
    pub fn integers(&self, name: &str) -> Result<Int64Array> {
        let column = self.column(name, &DataType::Int64, "whole numbers")?;
        Ok(column.as_primitive::<Int64Type>().clone())
    }

    fn column(&self, name: &str, wanted: &DataType, in_words: &str) -> Result<ArrayRef> {
        let column = column_as(&self.batch, name, wanted, in_words, &self.path)?;
        match column.logical_null_count() {
            0 => Ok(column),
            missing => bail!(
                "{}: the column `{name}` lacks {missing} of {} values",
                self.path.display(),
                column.len()
            ),
        }
    }
}

/// A column of a batch converted to the wanted type; other libraries may have written another type.
pub fn column_as(
    batch: &RecordBatch,
    name: &str,
    wanted: &DataType,
    in_words: &str,
    path: &Path,
) -> Result<ArrayRef> {
    let Some(column) = batch.column_by_name(name) else {
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        bail!("{}: has no column `{name}`, only `{}`", path.display(), names.join("`, `"));
    };
    let found = column.data_type();
    let wrong =
        || anyhow!("{}: the column `{name}` should hold {in_words} and holds {found}", path.display());
    // Arrow would also convert between numbers and text.
    if wanted.is_numeric() != found.is_numeric() {
        return Err(wrong());
    }
    let before = column.logical_null_count();
    let converted = cast(column, wanted).map_err(|_| wrong())?;
    if converted.logical_null_count() > before {
        bail!("{}: the column `{name}` holds values that are no {in_words}", path.display());
    }
    Ok(converted)
}

/// The batches of a file, in order.
pub struct Batches {
    /// `None` after an error, because the reader's state is then undefined.
    inner: Option<ParquetRecordBatchReader>,
    schema: Arc<Schema>,
    path: PathBuf,
}

impl Batches {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Batches> {
        let groups = Groups::open(path)?;
        groups.batches(0..groups.count(), groups.rows_per_batch(), ProjectionMask::all())
    }

    fn with_rows(path: &Path, rows: usize) -> Result<Batches> {
        let groups = Groups::open(path)?;
        groups.batches(0..groups.count(), rows, ProjectionMask::all())
    }

    /// The columns and their types.
    pub fn schema(&self) -> Arc<Schema> {
        self.schema.clone()
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let inner = self.inner.as_mut()?;
        let next = damaged_where_it_panics(&self.path, || {
            inner.next().transpose().with_context(|| reading(&self.path))
        });
        if next.is_err() {
            self.inner = None;
        }
        next.transpose()
    }
}

/// The library panics on some damaged pages, and users may pass in damaged files: turns the panic into an error.
fn damaged_where_it_panics<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| bail!("{}: is damaged: its pages make no sense", path.display()))
}

/// The row groups of a file, which can be read independently.
pub struct Groups {
    footer: ArrowReaderMetadata,
    path: PathBuf,
    /// The whole content of a small file.
    whole: Option<Bytes>,
}

impl Groups {
    /// Reads the footer.
    pub fn open(path: &Path) -> Result<Groups> {
        let file = File::open(path).map_err(|error| disk::fault("opening", path, error))?;
        let bytes = file.metadata().map_err(|error| disk::fault("looking at", path, error))?.len();
        let whole = (bytes <= READ_WHOLE_BYTES).then(|| disk::read(path).map(Bytes::from)).transpose()?;
        let (footer, bytes) = match &whole {
            Some(whole) => (ArrowReaderMetadata::load(whole, ArrowReaderOptions::new()), whole.len() as u64),
            None => (ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()), bytes),
        };
        let footer = footer.with_context(|| reading(path))?;
        if !columns_lie_within(footer.metadata(), bytes) {
            bail!("{}: is damaged: its columns lie outside of the file", path.display());
        }
        Ok(Groups { footer, path: path.to_owned(), whole })
    }

    /// The number of row groups.
    pub fn count(&self) -> usize {
        self.footer.metadata().num_row_groups()
    }

    /// The number of rows in a row group.
    pub fn rows(&self, group: usize) -> usize {
        self.footer.metadata().row_group(group).num_rows() as usize
    }

    /// The batches of a column in a row group.
    pub fn column(&self, group: usize, name: &str) -> Result<Batches> {
        let metadata = self.footer.metadata();
        let schema = metadata.file_metadata().schema_descr();
        self.batches(group..group + 1, self.rows_per_batch(), ProjectionMask::columns(schema, [name]))
    }

    /// The lists of a column in a row group; `in_words` describes their expected content in messages.
    pub fn lists(&self, group: usize, name: &str, in_words: &str) -> Result<ListReader> {
        let metadata = self.footer.metadata();
        let leaves = metadata.file_metadata().schema_descr().columns().iter().enumerate();
        let mut own = leaves.filter(|(_, leaf)| leaf.path().parts().first().is_some_and(|part| part == name));
        let (Some((index, leaf)), None) = (own.next(), own.next()) else {
            bail!("{}: has no column `{name}` that holds {in_words}", self.path.display());
        };
        if leaf.max_rep_level() != 1 {
            bail!("{}: the column `{name}` should hold {in_words}", self.path.display());
        }
        let chunk = metadata.row_group(group).column(index);
        let file = Arc::new(self.file()?);
        let pages = damaged_where_it_panics(&self.path, || {
            SerializedPageReader::new(file, chunk, self.rows(group), None)
                .with_context(|| reading(&self.path))
        })?;
        ListReader::new(leaf.clone(), Box::new(pages), &self.path, name)
    }

    fn file(&self) -> Result<File> {
        Ok(File::open(&self.path).map_err(|error| disk::fault("opening", &self.path, error))?)
    }

    fn batches(&self, groups: Range<usize>, rows: usize, columns: ProjectionMask) -> Result<Batches> {
        let footer = self.footer.clone();
        let (groups, path) = (groups.collect(), &self.path);
        let inner = match &self.whole {
            Some(whole) => reader(whole.clone(), footer, groups, rows, columns),
            None => reader(self.file()?, footer, groups, rows, columns),
        };
        let inner = inner.with_context(|| reading(path))?;
        let schema = arrow::array::RecordBatchReader::schema(&inner);
        Ok(Batches { inner: Some(inner), schema, path: self.path.clone() })
    }

    /// Chooses the batch size by the row group with the longest lists on average.
    fn rows_per_batch(&self) -> usize {
        let rows_of_group = |group: &RowGroupMetaData| {
            group.num_rows().saturating_mul(VALUES_PER_BATCH) / values_of(group).max(1)
        };
        let rows = self.footer.metadata().row_groups().iter().map(rows_of_group).min();
        rows.unwrap_or(0).clamp(1, MOST_ROWS_PER_BATCH) as usize
    }
}

fn reader<R: ChunkReader + 'static>(
    content: R,
    footer: ArrowReaderMetadata,
    groups: Vec<usize>,
    rows: usize,
    columns: ProjectionMask,
) -> std::result::Result<ParquetRecordBatchReader, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(content, footer);
    builder.with_projection(columns).with_row_groups(groups).with_batch_size(rows).build()
}

fn values_of(group: &RowGroupMetaData) -> i64 {
    group.columns().iter().map(ColumnChunkMetaData::num_values).max().unwrap_or(0)
}

/// The library trusts these numbers: if they are damaged, it panics or allocates any amount of memory.
fn columns_lie_within(metadata: &ParquetMetaData, bytes: u64) -> bool {
    let lies_within = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        start >= 0
            && column.data_page_offset() >= 0
            && column.compressed_size() >= 0
            && column.num_values() >= 0
            && end.is_some_and(|end| u64::try_from(end).is_ok_and(|end| end <= bytes))
    };
    metadata.row_groups().iter().all(|group| group.num_rows() >= 0 && group.columns().iter().all(lies_within))
}

fn reading(path: &Path) -> String {
    format!("reading {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float32Array, Int32Array};

    fn write_example(path: &Path) {
        let genes: ArrayRef = Arc::new(StringArray::from(vec!["SOX9", "SRY"]));
        let ranks: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        let means: ArrayRef = Arc::new(Float32Array::from(vec![0.5, 1.25]));
        write(path, vec![("gene", genes), ("rank", ranks), ("mean", means)]).unwrap();
    }

    #[test]
    fn equal_tables_are_equal_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write_example(&a);
        write_example(&b);
        let bytes = disk::read(&a).unwrap();
        assert_eq!(bytes, disk::read(&b).unwrap());
        // If a new version of the Parquet crate writes other bytes, every artifact of every user changes. That may be
        // acceptable, but must not go unnoticed.
        assert_eq!(blake3::hash(&bytes).to_hex()[..16], *"f93961426002570e");
    }

    #[test]
    fn columns_come_back_in_the_type_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_example(&path);
        let table = Table::open(&path).unwrap();
        assert_eq!(table.strings("gene").unwrap().value(1), "SRY");
        assert_eq!(table.floats("rank").unwrap().value(1), 2.0);
        assert_eq!(table.integers("rank").unwrap().value(0), 1);
        assert_eq!(table.floats("mean").unwrap().value(1), 1.25);
    }

    #[test]
    fn a_column_that_is_not_as_asked_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        write_example(&path);
        let table = Table::open(&path).unwrap();
        let missing = table.strings("symbol").unwrap_err().to_string();
        assert!(
            missing.ends_with("a.parquet: has no column `symbol`, only `gene`, `rank`, `mean`"),
            "{missing}"
        );
        let wrong = table.floats("gene").unwrap_err().to_string();
        assert!(
            wrong.ends_with("a.parquet: the column `gene` should hold numbers and holds Utf8"),
            "{wrong}"
        );
    }
}
