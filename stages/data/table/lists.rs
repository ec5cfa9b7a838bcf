//! Packs a column of lists into Parquet pages.
//!
//! Nearly all bytes of our tables are in lists of 4-byte numbers without missing values. A general writer determines
//! the levels of each item, copies it, and looks it up in a dictionary for any type. This writer stores the levels
//! as runs and uses one of three encodings:
//!
//! - indices (`u32`), which ascend within a list, as differences;
//! - other items as numbers in a dictionary;
//! - or plain, if a dictionary saves nothing.
//!
//! Pages have version 2, in which each page says whether it is compressed.

use super::bits::{self, varint};
use super::delta;
use super::dictionary::Dictionary;
use super::levels::Levels;
use anyhow::{Result, bail};
use arrow::array::{Array, AsArray, ListArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, UInt8Type, UInt32Type};
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::writer::{SerializedPageWriter, SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::fs::File;
use std::io::Cursor;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// A page ends with the list that reaches this many items: what one core packs at a time stays in its cache.
const ITEMS_PER_PAGE: i32 = 3 << 13;

/// Compresses pages. A thread uses one for all its columns, because setting it up takes longer than many a page.
pub fn compressor() -> Result<Compressor<'static>> {
    Ok(Compressor::new(ZstdLevel::default().compression_level())?)
}

/// Whether a column is packed by this module.
pub fn packs(column: &Field) -> bool {
    let DataType::List(item) = column.data_type() else { return false };
    let known = matches!(item.data_type(), DataType::UInt8 | DataType::UInt32 | DataType::Float32);
    known && !column.is_nullable() && !item.is_nullable()
}

/// A packed column of a row group.
pub struct Packed {
    bytes: Bytes,
    about: ColumnCloseResult,
}

impl Packed {
    /// Appends it to the file.
    pub fn append_to(self, group: &mut SerializedRowGroupWriter<File>) -> Result<()> {
        Ok(group.append_column(&self.bytes, self.about)?)
    }
}

/// A column of a row group while it is being packed.
pub struct Lists {
    column: ColumnDescPtr,
    pages: TrackedWrite<Vec<u8>>,
    dictionary: Dictionary,
    encodings: Vec<Encoding>,
    unpacked_bytes: usize,
    rows: usize,
    slots: usize,
}

impl Lists {
    /// Starts with no lists.
    pub fn new(column: ColumnDescPtr) -> Lists {
        Lists {
            column,
            pages: TrackedWrite::new(Vec::new()),
            dictionary: Dictionary::default(),
            encodings: vec![Encoding::RLE],
            unpacked_bytes: 0,
            rows: 0,
            slots: 0,
        }
    }

    /// Appends lists. Prereq: [`packs`] is true for their column.
    pub fn write(&mut self, lists: &ListArray, compressor: &mut Compressor) -> Result<()> {
        let items = lists.values();
        let (words, rise): (ScalarBuffer<u32>, bool) = match items.data_type() {
            DataType::UInt32 => (items.as_primitive::<UInt32Type>().values().clone(), true),
            DataType::Float32 => (items.as_primitive::<Float32Type>().values().inner().clone().into(), false),
            DataType::UInt8 => {
                (items.as_primitive::<UInt8Type>().values().iter().copied().map(u32::from).collect(), false)
            }
            other => bail!("lists of {other} are not packed here"),
        };
        let ends = lists.value_offsets();
        let mut first = 0;
        while first < lists.len() {
            let most = ends[first].saturating_add(ITEMS_PER_PAGE);
            let rows = 1 + ends[first + 1..lists.len()].partition_point(|end| *end < most);
            let ends = &ends[first..=first + rows];
            let words = &words[ends[0] as usize..ends[rows] as usize];
            self.write_page(&Levels::new(ends), words, rise, compressor)?;
            self.rows += rows;
            first += rows;
        }
        Ok(())
    }

    fn write_page(
        &mut self,
        levels: &Levels,
        words: &[u32],
        rise: bool,
        compressor: &mut Compressor,
    ) -> Result<()> {
        let (encoding, values, repeats) = if rise {
            (Encoding::DELTA_BINARY_PACKED, delta::pack(words), Repeats::Long)
        } else if let Some(numbers) = self.dictionary.number(words) {
            let width = width_of(&numbers);
            let repeats = if width < 16 { Repeats::Long } else { Repeats::Any };
            (Encoding::RLE_DICTIONARY, numbered(&numbers, width), repeats)
        } else {
            (Encoding::PLAIN, plain(words), Repeats::Any)
        };
        let mut bytes = [&*levels.repetition, &*levels.definition].concat();
        let unpacked = bytes.len() + values.len();
        append_compressed(&mut bytes, &values, repeats, compressor)?;
        let is_compressed = bytes.len() < unpacked - values.len() / 16;
        if !is_compressed {
            bytes.truncate(unpacked - values.len());
            bytes.extend_from_slice(&values);
        }
        let page = Page::DataPageV2 {
            buf: bytes.into(),
            num_values: levels.slots as u32,
            encoding,
            num_nulls: (levels.slots - words.len()) as u32,
            num_rows: levels.rows as u32,
            def_levels_byte_len: levels.definition.len() as u32,
            rep_levels_byte_len: levels.repetition.len() as u32,
            is_compressed,
            statistics: None,
        };
        if !self.encodings.contains(&encoding) {
            self.encodings.push(encoding);
        }
        self.slots += levels.slots;
        self.unpacked_bytes += append(&mut self.pages, page, unpacked)?;
        Ok(())
    }

    /// Finishes the column. The dictionary page comes before the pages that refer to it.
    pub fn close(self, compressor: &mut Compressor) -> Result<Packed> {
        let Lists { column, pages, dictionary, mut encodings, mut unpacked_bytes, rows, slots } = self;
        let words = dictionary.into_words();
        let mut bytes = Vec::new();
        if !words.is_empty() {
            let values = plain(&words);
            append_compressed(&mut bytes, &values, Repeats::Any, compressor)?;
            let page = Page::DictionaryPage {
                buf: bytes.into(),
                num_values: words.len() as u32,
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            let mut first = TrackedWrite::new(Vec::new());
            unpacked_bytes += append(&mut first, page, values.len())?;
            bytes = first.into_inner()?;
            if !encodings.contains(&Encoding::PLAIN) {
                encodings.push(Encoding::PLAIN);
            }
        }
        let data_starts = bytes.len() as i64;
        bytes.append(&mut pages.into_inner()?);
        let metadata = ColumnChunkMetaData::builder(column)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_encodings(encodings)
            .set_num_values(slots as i64)
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(unpacked_bytes as i64)
            .set_dictionary_page_offset((data_starts > 0).then_some(0))
            .set_data_page_offset(data_starts)
            .build()?;
        let about = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        };
        Ok(Packed { bytes: bytes.into(), about })
    }
}

/// How many bits each number gets: up to 8, which zstd would hardly shrink, or 16, because zstd finds repetitions only
/// in whole bytes.
fn width_of(numbers: &[u32]) -> usize {
    match bits::width(numbers) {
        width @ 0..=8 => width.max(1),
        _ => 16,
    }
}

/// The numbers as one bit-packed run.
fn numbered(numbers: &[u32], width: usize) -> Vec<u8> {
    // A run consists of groups of eight numbers; a group takes as many bytes as a number has bits.
    let groups = numbers.len().div_ceil(8);
    let mut bytes = Vec::with_capacity(groups * width + 8);
    bytes.push(width as u8);
    varint((groups as u64) << 1 | 1, &mut bytes);
    let end = bytes.len() + groups * width;
    bits::pack(numbers, width, &mut bytes);
    bytes.resize(end, 0);
    bytes
}

fn plain(words: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(words)];
    bytes.as_chunks_mut().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_le_bytes());
    bytes
}

/// Which repetitions zstd looks for.
#[derive(Clone, Copy)]
enum Repeats {
    /// Those of its compression level.
    Any,
    /// Only long ones: short ones in bit-packed data are chance, and encoding them takes twice the time and more bytes.
    Long,
}

fn append_compressed(
    bytes: &mut Vec<u8>,
    values: &[u8],
    repeats: Repeats,
    compressor: &mut Compressor,
) -> Result<()> {
    compressor.set_parameter(CParameter::MinMatch(match repeats {
        Repeats::Any => 0,
        Repeats::Long => 7,
    }))?;
    bytes.reserve(zstd::zstd_safe::compress_bound(values.len()));
    let end = bytes.len() as u64;
    let mut place = Cursor::new(bytes);
    place.set_position(end);
    compressor.compress_to_buffer(values, &mut place)?;
    Ok(())
}

/// Appends a page; returns its uncompressed size, including its header.
fn append(pages: &mut TrackedWrite<Vec<u8>>, page: Page, unpacked: usize) -> Result<usize> {
    let written = SerializedPageWriter::new(pages).write_page(CompressedPage::new(page, unpacked))?;
    Ok(written.uncompressed_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::table::{Batches, Writer};
    use arrow::array::{ArrayRef, Float32Array, RecordBatch, UInt8Array, UInt32Array};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Schema;
    use std::sync::Arc;

    fn column(items: ArrayRef, lengths: &[usize]) -> ListArray {
        let field = Arc::new(Field::new("element", items.data_type().clone(), false));
        let ends = OffsetBuffer::from_lengths(lengths.iter().copied());
        ListArray::new(field, ends, items, None)
    }

    /// Writes each batch as a row group; returns the columns as read back.
    fn through_a_file(batches: &[Vec<ListArray>]) -> Vec<ListArray> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.parquet");
        let field = |(index, column): (usize, &ListArray)| {
            Field::new(format!("c{index}"), column.data_type().clone(), false)
        };
        let schema = Arc::new(Schema::new(batches[0].iter().enumerate().map(field).collect::<Vec<_>>()));
        let mut writer = Writer::create(&path, schema.clone()).unwrap();
        for batch in batches {
            let columns = batch.iter().map(|column| Arc::new(column.clone()) as ArrayRef).collect();
            writer.write(RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
            writer.end_group().unwrap();
        }
        writer.finish().unwrap();
        let read: Vec<RecordBatch> = Batches::open(&path).unwrap().map(Result::unwrap).collect();
        let all = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
        all.columns().iter().map(|column| column.as_list().clone()).collect()
    }

    #[test]
    fn lists_come_back_whatever_is_in_them() {
        let mut random = Random::new(1, 0);
        for round in 0..60 {
            let rows = 1 + random.below(40);
            // Empty lists, short ones, and some that are longer than a page.
            let most = [1, 3, 100, 3000, 40_000][round % 5];
            // Few distinct values, more than fit in a byte, and more than a dictionary takes.
            let distinct = [1, 5, 200, 2000, usize::MAX >> 1][round / 5 % 5];
            let mut batches = Vec::new();
            for _ in 0..1 + round % 3 {
                let lengths: Vec<usize> = (0..rows).map(|_| random.below(most)).collect();
                let count = lengths.iter().sum();
                let mut any = || (0..count).map(|_| random.below(distinct)).collect::<Vec<_>>();
                let floats =
                    Float32Array::from_iter_values(any().into_iter().map(|value| value as f32 / 8.0));
                let words = UInt32Array::from_iter_values(any().into_iter().map(|value| value as u32));
                let bytes = UInt8Array::from_iter_values(any().into_iter().map(|value| value as u8));
                let columns: [ArrayRef; 3] = [Arc::new(floats), Arc::new(words), Arc::new(bytes)];
                batches.push(columns.map(|items| column(items, &lengths)).to_vec());
            }
            for (index, read) in through_a_file(&batches).iter().enumerate() {
                let parts: Vec<&dyn Array> =
                    batches.iter().map(|batch| &batch[index] as &dyn Array).collect();
                let written = arrow::compute::concat(&parts).unwrap();
                assert!(read.iter().eq(written.as_list::<i32>().iter()), "column {index} of round {round}");
            }
        }
    }

    #[test]
    fn a_slice_is_written_as_what_it_shows() {
        let whole = column(Arc::new(UInt32Array::from_iter_values(0..6)), &[1, 0, 3, 2]);
        let read = through_a_file(&[vec![whole.slice(1, 2)]]);
        assert!(read[0].iter().eq(whole.slice(1, 2).iter()));
    }

    #[test]
    fn every_bit_of_a_fraction_comes_back() {
        let values: Vec<f32> =
            [0.0, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY, f32::from_bits(0x7fc0_0001)]
                .iter()
                .copied()
                .cycle()
                .take(100)
                .collect();
        let read = through_a_file(&[vec![column(Arc::new(Float32Array::from(values.clone())), &[60, 40])]]);
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(read[0].values().as_primitive::<Float32Type>().values()), bits(&values));
    }
}
