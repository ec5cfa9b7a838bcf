//! Writes HDF5 files. Apart from the reader, nothing else depends on the library.
//!
//! A file is held in memory until it is written. Its bytes depend on its content alone: the library
//! writes no times.

use anyhow::{Context, Result, anyhow};
use contract::disk;
use hdf5_pure::{AttrValue, DatasetBuilder, FileBuilder, GroupBuilder};
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

const DEFLATE_LEVEL: u32 = 4;
/// Long enough to compress well, short enough to read a part.
const CHUNK: u64 = 1 << 15;
/// The longest side of a chunk. The library writes longer sides in four bytes. HDF5 2.0 refuses a file whose sides
/// take more bytes than the longest one needs, and 65,536 needs three.
const LONGEST_SIDE: u64 = (1 << 16) - 1;

/// A file to be written.
pub struct Hdf5Draft {
    builder: FileBuilder,
}

/// A group to be put into a file.
pub struct Group {
    builder: GroupBuilder,
}

impl Hdf5Draft {
    /// A file whose root group has these attributes.
    pub fn new(attributes: &[(&str, &str)]) -> Hdf5Draft {
        let mut builder = FileBuilder::new();
        for (name, value) in attributes {
            builder.set_attr(name, text(value));
        }
        Hdf5Draft { builder }
    }

    /// Adds a group below the root.
    pub fn add(&mut self, group: Group) {
        self.builder.add_group(group.builder.finish());
    }

    /// Writes the file. Prereq: nothing is at `path`.
    pub fn write(self, path: &Path) -> Result<()> {
        let file = File::create_new(path).map_err(|error| disk::fault("creating", path, error))?;
        let mut writer = BufWriter::new(file);
        self.builder
            .finish_to(&mut writer)
            .map_err(|error| anyhow!("writing {}: {error}", path.display()))?;
        let file = writer.into_inner().with_context(|| format!("writing {}", path.display()))?;
        Ok(disk::close(file, path)?)
    }
}

impl Group {
    /// An empty group with these attributes.
    pub fn new(name: &str, attributes: &[(&str, &str)]) -> Group {
        let mut builder = FileBuilder::new().create_group(name);
        for (name, value) in attributes {
            builder.set_attr(name, text(value));
        }
        Group { builder }
    }

    /// Adds an attribute of text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.builder.set_attr(name, text(value));
    }

    /// Adds an attribute that holds integers.
    pub fn sizes(&mut self, name: &str, values: &[i64]) {
        self.builder.set_attr(name, AttrValue::I64Array(values.to_vec()));
    }

    /// Adds a group below this one.
    pub fn add(&mut self, group: Group) {
        self.builder.add_group(group.builder.finish());
    }

    /// Adds an attribute that holds a list of text.
    pub fn texts(&mut self, name: &str, values: &[&str]) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.builder.set_attr(name, AttrValue::VarLenStringArray(values));
    }

    /// Adds an attribute that is true or false, as a single byte: HDF5 has no such type.
    pub fn flag(&mut self, name: &str, value: bool) {
        self.builder.set_attr(name, AttrValue::U8(u8::from(value)));
    }

    /// Adds an empty numeric attribute, which is how h5py writes an empty list.
    pub fn no_numbers(&mut self, name: &str) {
        self.builder.set_attr(name, AttrValue::F64Array(Vec::new()));
    }

    /// Adds an array of numbers.
    pub fn floats(&mut self, name: &str, values: &[f32], shape: &[u64], attributes: &[(&str, &str)]) {
        let array = self.builder.create_dataset(name).with_f32_data(values).with_shape(shape);
        for (name, value) in attributes {
            array.set_attr(name, text(value));
        }
        if !values.is_empty() {
            let row: u64 = shape[1..].iter().product();
            let mut chunk: Vec<u64> = shape.iter().map(|side| (*side).min(LONGEST_SIDE)).collect();
            chunk[0] = (CHUNK / row.max(1)).clamp(1, shape[0]);
            array.with_chunks(&chunk).with_deflate(DEFLATE_LEVEL);
        }
    }

    /// Adds a list of integers.
    pub fn integers(&mut self, name: &str, values: &[i32]) {
        self.integers_with(name, values, &[]);
    }

    /// Adds a list of integers with attributes.
    pub fn integers_with(&mut self, name: &str, values: &[i32], attributes: &[(&str, &str)]) {
        let array = self.builder.create_dataset(name).with_i32_data(values);
        for (name, value) in attributes {
            array.set_attr(name, text(value));
        }
        pack_list(array, values.len());
    }

    /// Adds a list of 64-bit integers.
    pub fn long_integers(&mut self, name: &str, values: &[i64]) {
        let array = self.builder.create_dataset(name).with_i64_data(values);
        pack_list(array, values.len());
    }

    /// Adds `indices`, the columns of all values of a sparse matrix, and `indptr`, the offset at which each row starts.
    pub fn compressed_rows(&mut self, indices: &[i32], indptr: &[i64]) {
        self.compressed_rows_of(indices, indptr, i32::MAX as usize);
    }

    /// Both get the same type, as in SciPy, because scanpy fails if they differ: 32 bits for up to `most_narrow`
    /// values, else 64.
    fn compressed_rows_of(&mut self, indices: &[i32], indptr: &[i64], most_narrow: usize) {
        if indices.len() <= most_narrow {
            self.integers("indices", indices);
            self.integers("indptr", &indptr.iter().map(|place| *place as i32).collect::<Vec<_>>());
        } else {
            self.long_integers(
                "indices",
                &indices.iter().map(|column| i64::from(*column)).collect::<Vec<_>>(),
            );
            self.long_integers("indptr", indptr);
        }
    }

    /// Adds a list of strings.
    pub fn strings(&mut self, name: &str, values: &[String], attributes: &[(&str, &str)]) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let array = self.builder.create_dataset(name).with_vlen_strings(&values);
        for (name, value) in attributes {
            array.set_attr(name, text(value));
        }
    }
}

fn pack_list(array: &mut DatasetBuilder, length: usize) {
    if length > 0 {
        array.with_chunks(&[CHUNK.min(length as u64)]).with_deflate(DEFLATE_LEVEL);
    }
}

fn text(value: &str) -> AttrValue {
    AttrValue::VarLenString(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Group, Hdf5Draft};
    use crate::hdf5::Hdf5;

    #[test]
    fn places_beyond_32_bits_are_written_as_64() {
        let folder = tempfile::tempdir().unwrap();
        for (most_narrow, bytes) in [(3, 4), (2, 8)] {
            let path = folder.path().join(format!("{most_narrow}.h5"));
            let (mut draft, mut matrix) = (Hdf5Draft::new(&[]), Group::new("X", &[]));
            matrix.compressed_rows_of(&[7, 0, 5], &[0, 1, 3], most_narrow);
            draft.add(matrix);
            draft.write(&path).unwrap();
            let file = Hdf5::open(&path).unwrap();
            for (name, expected) in [("X/indices", [7, 0, 5]), ("X/indptr", [0, 1, 3])] {
                let array = file.array(name).unwrap();
                assert_eq!(array.integers(0, 3).unwrap(), expected, "{name}");
                assert_eq!(array.element_bytes(), bytes, "{name}");
            }
        }
    }
}
