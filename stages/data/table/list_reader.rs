//! Reads a column of lists straight into reusable vectors.
//!
//! Arrow's reader creates an array for each batch and checks for each item whether a list starts there, which takes
//! longer than decompression. This reader takes the items from the pages, whatever encoding, compression or width the
//! writer chose, and searches only for the few places where lists start.

use super::damaged_where_it_panics;
use anyhow::{Context, Result, bail};
use parquet::basic::{Repetition, Type};
use parquet::column::page::PageReader;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::schema::types::ColumnDescPtr;
use std::path::{Path, PathBuf};

/// A column of lists of numbers in one row group.
pub struct ListReader {
    column: Column,
    levels: Levels,
    path: PathBuf,
    name: String,
}

/// The items of one batch, in the file's type.
enum Column {
    I32(ColumnReaderImpl<Int32Type>, Vec<i32>),
    I64(ColumnReaderImpl<Int64Type>, Vec<i64>),
    F32(ColumnReaderImpl<FloatType>, Vec<f32>),
    F64(ColumnReaderImpl<DoubleType>, Vec<f64>),
}

/// The levels of each slot of a batch; a slot is an item or an empty list.
struct Levels {
    /// Distinguishes items, missing items and empty lists.
    definition: Vec<i16>,
    /// 0 where a list starts.
    repetition: Vec<i16>,
    /// The definition levels of an item and of an empty list.
    whole: i16,
    empty: i16,
}

impl ListReader {
    /// Prereq: `pages` are those of `column`, which has one level of repetition.
    pub fn new(
        column: ColumnDescPtr,
        pages: Box<dyn PageReader>,
        path: &Path,
        name: &str,
    ) -> Result<ListReader> {
        let whole = column.max_def_level();
        let items_may_lack = column.self_type().get_basic_info().repetition() == Repetition::OPTIONAL;
        let (definition, repetition) = (Vec::new(), Vec::new());
        let levels = Levels { definition, repetition, whole, empty: whole - 1 - i16::from(items_may_lack) };
        let column = match column.physical_type() {
            Type::INT32 => Column::I32(ColumnReaderImpl::new(column, pages), Vec::new()),
            Type::INT64 => Column::I64(ColumnReaderImpl::new(column, pages), Vec::new()),
            Type::FLOAT => Column::F32(ColumnReaderImpl::new(column, pages), Vec::new()),
            Type::DOUBLE => Column::F64(ColumnReaderImpl::new(column, pages), Vec::new()),
            other => bail!(
                "{}: the column `{name}` should hold lists of numbers and holds {other}",
                path.display()
            ),
        };
        Ok(ListReader { column, levels, path: path.to_owned(), name: name.to_owned() })
    }

    /// Reads the next lists as floats. `ends` gets the start of the first list and the end of each.
    pub fn floats(&mut self, rows: usize, ends: &mut Vec<i32>, floats: &mut Vec<f32>) -> Result<()> {
        self.read(rows, ends)?;
        floats.clear();
        match &self.column {
            Column::I32(_, items) => floats.extend(items.iter().map(|item| *item as f32)),
            Column::I64(_, items) => floats.extend(items.iter().map(|item| *item as f32)),
            Column::F32(_, items) => floats.extend_from_slice(items),
            Column::F64(_, items) => floats.extend(items.iter().map(|item| *item as f32)),
        }
        Ok(())
    }

    /// Reads the next lists as indices below 2^32; negative ones become larger than any count of genes.
    pub fn indices(&mut self, rows: usize, ends: &mut Vec<i32>, indices: &mut Vec<u32>) -> Result<()> {
        self.read(rows, ends)?;
        indices.clear();
        match &self.column {
            Column::I32(_, items) => indices.extend(items.iter().map(|item| *item as u32)),
            Column::I64(_, items) => {
                indices.extend(items.iter().map(|item| u32::try_from(*item).unwrap_or(u32::MAX)));
            }
            Column::F32(..) | Column::F64(..) => {
                bail!(
                    "{}: the column `{}` should hold lists of indices and holds fractions",
                    self.path.display(),
                    self.name
                )
            }
        }
        Ok(())
    }

    fn read(&mut self, rows: usize, ends: &mut Vec<i32>) -> Result<()> {
        let ListReader { column, levels, path, name } = self;
        let items = damaged_where_it_panics(path, || match column {
            Column::I32(reader, items) => levels.read(reader, rows, items),
            Column::I64(reader, items) => levels.read(reader, rows, items),
            Column::F32(reader, items) => levels.read(reader, rows, items),
            Column::F64(reader, items) => levels.read(reader, rows, items),
        })?;
        let place = || format!("{}: the column `{name}`", path.display());
        ends.clear();
        if !levels.find_ends(ends) {
            bail!("{} lacks some lists or values", place());
        }
        if ends.len() != rows + 1 || ends.last().copied() != i32::try_from(items).ok() {
            bail!("{} ends early; the file may be damaged", place());
        }
        Ok(())
    }
}

impl Levels {
    /// Returns the number of items.
    fn read<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        rows: usize,
        items: &mut Vec<T::T>,
    ) -> Result<usize> {
        self.definition.clear();
        self.repetition.clear();
        items.clear();
        let levels = (Some(&mut self.definition), Some(&mut self.repetition));
        reader.read_records(rows, levels.0, levels.1, items).context("reading a page")?;
        Ok(items.len())
    }

    /// Appends the start of the first list and the end of each; returns false if an item or a list is missing.
    fn find_ends(&self, ends: &mut Vec<i32>) -> bool {
        if self.definition.iter().fold(0, |other, level| other | (level ^ self.whole)) == 0 {
            // Most lists are long, so few blocks of this many slots contain the start of one.
            const AT_ONCE: usize = 32;
            for (start, slots) in (0..).step_by(AT_ONCE).zip(self.repetition.chunks(AT_ONCE)) {
                if slots.iter().fold(true, |goes_on, level| goes_on & (*level != 0)) {
                    continue;
                }
                ends.extend((start..).zip(slots).filter(|(_, level)| **level == 0).map(|(slot, _)| slot));
            }
            ends.push(self.definition.len() as i32);
            return true;
        }
        let mut items = 0;
        for (definition, repetition) in self.definition.iter().zip(&self.repetition) {
            if *repetition == 0 {
                ends.push(items);
            }
            match *definition {
                level if level == self.whole => items += 1,
                level if level == self.empty && *repetition == 0 => {}
                _ => return false,
            }
        }
        ends.push(items);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Groups;
    use super::*;
    use arrow::array::{Array, ArrayRef, LargeListArray, ListArray, RecordBatch};
    use arrow::datatypes::{Float64Type, Int64Type as Int64, UInt32Type};
    use parquet::arrow::ArrowWriter;
    use std::fs::File;
    use std::sync::Arc;

    type Read = Result<(Vec<i32>, Vec<f32>)>;

    /// Writes a column as another library might, and reads it two rows at a time.
    fn read(column: ArrayRef) -> (Read, Result<Vec<u32>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let rows = column.len();
        let batch = RecordBatch::try_from_iter([("c", column)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let groups = Groups::open(&path).unwrap();
        let open = || groups.lists(0, "c", "lists of numbers").unwrap();
        let floats = || {
            let (mut reader, mut all_ends, mut all) = (open(), vec![0], Vec::new());
            let (mut ends, mut floats) = (Vec::new(), Vec::new());
            for start in (0..rows).step_by(2) {
                reader.floats((rows - start).min(2), &mut ends, &mut floats)?;
                all_ends.extend(ends[1..].iter().map(|end| end + all.len() as i32));
                all.extend_from_slice(&floats);
            }
            Ok((all_ends, all))
        };
        let indices = || {
            let (mut ends, mut indices) = (Vec::new(), Vec::new());
            open().indices(rows, &mut ends, &mut indices)?;
            Ok(indices)
        };
        (floats(), indices())
    }

    #[test]
    fn lists_of_other_writers_are_read() {
        let lists = [vec![1, 2, 3], vec![], vec![4], vec![5; 100], vec![]];
        let items = |list: &Vec<i64>| Some(list.iter().map(|item| Some(*item)).collect::<Vec<_>>());
        let floats = |list: &Vec<i64>| Some(list.iter().map(|item| Some(*item as f64)).collect::<Vec<_>>());
        let words = |list: &Vec<i64>| Some(list.iter().map(|item| Some(*item as u32)).collect::<Vec<_>>());
        let columns: [ArrayRef; 3] = [
            Arc::new(ListArray::from_iter_primitive::<Int64, _, _>(lists.iter().map(items))),
            Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>(lists.iter().map(floats))),
            Arc::new(ListArray::from_iter_primitive::<UInt32Type, _, _>(lists.iter().map(words))),
        ];
        for (number, column) in columns.into_iter().enumerate() {
            let (floats, indices) = read(column);
            let (ends, floats) = floats.unwrap();
            assert_eq!(ends, [0, 3, 3, 4, 104, 104]);
            assert_eq!(floats, lists.concat().iter().map(|item| *item as f32).collect::<Vec<_>>());
            match indices {
                Ok(indices) => {
                    assert_eq!(indices, lists.concat().iter().map(|item| *item as u32).collect::<Vec<_>>());
                }
                Err(error) => {
                    assert_eq!(number, 1);
                    assert!(error.to_string().ends_with("should hold lists of indices and holds fractions"));
                }
            }
        }
    }

    #[test]
    fn what_is_missing_is_told() {
        let without_an_item = [Some(vec![Some(1), None])];
        let without_a_list = [Some(vec![Some(1)]), None];
        for column in [
            ListArray::from_iter_primitive::<Int64, _, _>(without_an_item),
            ListArray::from_iter_primitive::<Int64, _, _>(without_a_list),
        ] {
            let error = read(Arc::new(column)).0.unwrap_err().to_string();
            assert!(error.ends_with("the column `c` lacks some lists or values"), "{error}");
        }
    }

    #[test]
    fn negative_indices_are_beyond_all_others() {
        let column = ListArray::from_iter_primitive::<Int64, _, _>([Some(vec![Some(-1), Some(1 << 40)])]);
        assert_eq!(read(Arc::new(column)).1.unwrap(), [u32::MAX; 2]);
    }
}
