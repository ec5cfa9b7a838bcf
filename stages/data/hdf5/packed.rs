//! Decompresses one-dimensional arrays whose only filter is deflate straight into numbers.
//!
//! Most large arrays of AnnData are stored like this, and decompression is most of the work of reading them. A chunk is
//! decompressed in one call, which takes two thirds of the time of a stream, and copied once. Everything unusual is
//! left to the library, which also words the errors for damaged files.

use libdeflater::Decompressor;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The location of an array's chunks.
pub struct Packed {
    file: File,
    chunks: Vec<Chunk>,
    rows_per_chunk: u64,
    number: Number,
}

/// The location of a chunk in the file.
pub struct Chunk {
    /// Its first byte.
    pub address: u64,
    /// Its length.
    pub bytes: u64,
}

/// The type of the numbers, all little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// 32-bit integers; negative ones read as very large ones.
    I32,
    /// 64-bit integers.
    I64,
}

impl Packed {
    /// Prereq: the chunks are in order and without gaps, and have `rows_per_chunk` numbers each.
    pub fn new(file: File, chunks: Vec<Chunk>, rows_per_chunk: u64, number: Number) -> Packed {
        Packed { file, chunks, rows_per_chunk, number }
    }

    /// A range of the numbers as floats.
    pub fn floats(&self, start: u64, count: u64) -> Option<Vec<f32>> {
        match self.number {
            Number::F32 => self.read(start, count, f32::from_le_bytes),
            Number::F64 => self.read(start, count, |bytes| f64::from_le_bytes(bytes) as f32),
            Number::I32 | Number::I64 => None,
        }
    }

    /// A range of the numbers as indices; negative ones become larger than any count of genes.
    pub fn indices(&self, start: u64, count: u64) -> Option<Vec<u32>> {
        let narrow = |wide: i64| u32::try_from(wide).unwrap_or(u32::MAX);
        match self.number {
            Number::I32 => self.read(start, count, u32::from_le_bytes),
            Number::I64 => self.read(start, count, |bytes| narrow(i64::from_le_bytes(bytes))),
            Number::F32 | Number::F64 => None,
        }
    }

    fn read<T, const WIDTH: usize>(
        &self,
        start: u64,
        count: u64,
        number: impl Fn([u8; WIDTH]) -> T,
    ) -> Option<Vec<T>> {
        let end = start.checked_add(count)?;
        let rows = usize::try_from(self.rows_per_chunk).ok()?;
        let mut unpacker = Decompressor::new();
        let (mut packed, mut unpacked) = (Vec::new(), vec![0; rows.checked_mul(WIDTH)?]);
        let mut numbers = Vec::with_capacity(usize::try_from(count).ok()?);
        let mut next = start;
        while next < end {
            let index = next / self.rows_per_chunk;
            let chunk = self.chunks.get(usize::try_from(index).ok()?)?;
            packed.resize(usize::try_from(chunk.bytes).ok()?, 0);
            self.file.read_exact_at(&mut packed, chunk.address).ok()?;
            if unpacker.zlib_decompress(&packed, &mut unpacked).ok()? != unpacked.len() {
                return None;
            }
            let first = index * self.rows_per_chunk;
            let range = (next - first) as usize..(end - first).min(self.rows_per_chunk) as usize;
            let (wanted, _) = unpacked.as_chunks::<WIDTH>();
            numbers.extend(wanted[range].iter().map(|bytes| number(*bytes)));
            next = first + self.rows_per_chunk;
        }
        Some(numbers)
    }
}
