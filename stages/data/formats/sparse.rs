//! Compressed sparse matrices in HDF5: `indptr`, `indices`, `data`.

use super::Sink;
use super::transpose::Transposer;
use crate::cells::rise;
use crate::hdf5::{Array, Hdf5};
use anyhow::{Result, bail};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::mpsc;

/// How many values, 8 bytes each, are read at a time: enough to keep the cores busy, but little compared with the rest.
const VALUES_PER_BLOCK: u64 = 1 << 17;
/// The least that one core reads at a time: small enough that its memory is reused.
const VALUES_PER_PART: u64 = 1 << 14;

/// A matrix whose major dimension is compressed: the rows of CSR, the columns of CSC.
pub struct Sparse {
    indptr: Vec<u64>,
    indices: Array,
    data: Array,
    minor: u64,
}

impl Sparse {
    /// Opens the three arrays of a group and checks that they fit together.
    pub fn open(file: &Hdf5, group: &str, major: usize, minor: usize) -> Result<Sparse> {
        let [indptr, indices, data] =
            ["indptr", "indices", "data"].map(|name| file.array(&format!("{group}/{name}")));
        let (indptr, indices, data) = (indptr?, indices?, data?);
        let pointers = indptr.shape().first().copied().unwrap_or(0);
        if pointers != major as u64 + 1 {
            bail!("{} has {pointers} entries, one more than the {major} names was expected", indptr.place());
        }
        let values = data.shape().first().copied().unwrap_or(0);
        if indices.shape() != data.shape() || data.shape().len() != 1 {
            bail!("{} has not as many entries as {}", indices.place(), data.place());
        }
        let place = indptr.place().to_owned();
        let indptr: Option<Vec<u64>> =
            indptr.integers(0, pointers)?.into_iter().map(|pointer| u64::try_from(pointer).ok()).collect();
        match indptr {
            Some(indptr) if indptr.is_sorted() && indptr[0] == 0 && indptr[major] == values => {
                Ok(Sparse { indptr, indices, data, minor: minor as u64 })
            }
            _ => bail!("{place} does not rise from 0 to the {values} values that there are"),
        }
    }

    /// Passes on each major line (a row of CSR, a column of CSC) as a cell.
    pub fn cells(&self, ids: &[String], sink: &mut dyn Sink) -> Result<()> {
        self.each_line(|major, genes, values| {
            let id = &ids[major];
            if rise(genes) {
                self.check(genes, id)?;
                return sink.cell(id, genes, values);
            }
            let mut sorted: Vec<(u32, f32)> = genes.iter().copied().zip(values.iter().copied()).collect();
            sorted.sort_by_key(|(gene, _)| *gene);
            let (genes, values): (Vec<u32>, Vec<f32>) = sorted.into_iter().unzip();
            if !rise(&genes) {
                bail!("{} has two values for the same gene in cell `{id}`", self.indices.place());
            }
            self.check(&genes, id)?;
            sink.cell(id, &genes, &values)
        })
    }

    /// Passes on each minor line as a cell.
    pub fn cells_across(&self, ids: &[String], sink: &mut dyn Sink) -> Result<()> {
        let mut transposer = Transposer::new(ids.len());
        self.each_line(|major, cells, values| {
            sink.poll()?;
            for (cell, value) in cells.iter().zip(values) {
                if u64::from(*cell) >= self.minor {
                    bail!(
                        "{} holds the index {cell}, and there are {} cells",
                        self.indices.place(),
                        self.minor
                    );
                }
                transposer.push(*cell as usize, major as u32, *value);
            }
            Ok(())
        })?;
        transposer.emit(ids, self.indices.place(), sink)
    }

    /// Passes on each major line with its indices and values, while the next block is being read.
    fn each_line(&self, mut line_is: impl FnMut(usize, &[u32], &[f32]) -> Result<()>) -> Result<()> {
        let lines = self.indptr.len() - 1;
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(1);
            scope.spawn(move || {
                for block in self.blocks() {
                    let read = self.read(block);
                    let failed = read.is_err();
                    if sender.send(read).is_err() || failed {
                        break;
                    }
                }
            });
            // Values of lines that are not complete yet, and their position in the file.
            let (mut indices, mut data): (Vec<u32>, Vec<f32>) = (Vec::new(), Vec::new());
            let mut first = 0;
            let mut major = 0;
            for read in receiver {
                let (more_indices, more_data) = read?;
                more_indices.iter().for_each(|part| indices.extend_from_slice(part));
                more_data.iter().for_each(|part| data.extend_from_slice(part));
                let place = |pointer: u64| (pointer - first) as usize;
                while major < lines && place(self.indptr[major + 1]) <= indices.len() {
                    let range = place(self.indptr[major])..place(self.indptr[major + 1]);
                    line_is(major, &indices[range.clone()], &data[range])?;
                    major += 1;
                }
                let given = place(self.indptr[major]);
                indices.drain(..given);
                data.drain(..given);
                first += given as u64;
            }
            // A matrix without values has no blocks, but its lines must still be passed on.
            (major..lines).try_for_each(|major| line_is(major, &[], &[]))
        })
    }

    /// Prereq: `genes` ascend.
    fn check(&self, genes: &[u32], id: &str) -> Result<()> {
        match genes.last() {
            Some(last) if u64::from(*last) >= self.minor => {
                bail!(
                    "{} holds the index {last} in cell `{id}`, and there are {} genes",
                    self.indices.place(),
                    self.minor
                )
            }
            _ => Ok(()),
        }
    }

    /// Ranges of values that end at chunk boundaries, so that no chunk is decompressed twice.
    fn blocks(&self) -> impl Iterator<Item = Range<u64>> {
        let values = self.indptr[self.indptr.len() - 1];
        let chunk = self.data.chunk_rows().unwrap_or(1);
        let length = VALUES_PER_BLOCK.div_ceil(chunk).saturating_mul(chunk);
        let starts = std::iter::successors(Some(0), move |start: &u64| start.checked_add(length));
        starts
            .take_while(move |start| *start < values)
            .map(move |start| start..values.min(start.saturating_add(length)))
    }

    fn read(&self, range: Range<u64>) -> Result<(Parts<u32>, Parts<f32>)> {
        let (indices, data) = rayon::join(
            || in_parts(&self.indices, range.clone(), Array::indices),
            || in_parts(&self.data, range.clone(), Array::floats),
        );
        Ok((indices?, data?))
    }
}

/// What each core has read, in order.
type Parts<T> = Vec<Vec<T>>;

/// Reads a range in parallel; the parts end at chunk boundaries.
fn in_parts<T: Send>(
    array: &Array,
    range: Range<u64>,
    read: impl Fn(&Array, u64, u64) -> Result<Vec<T>> + Sync,
) -> Result<Parts<T>> {
    let chunk = array.chunk_rows().unwrap_or(1);
    let length = VALUES_PER_PART.div_ceil(chunk).saturating_mul(chunk);
    let mut bounds = vec![range.start];
    let mut next = (range.start / chunk * chunk).saturating_add(length);
    while next < range.end {
        bounds.push(next);
        next = next.saturating_add(length);
    }
    bounds.push(range.end);
    let parts: Parts<T> =
        bounds.par_windows(2).map(|ends| read(array, ends[0], ends[1] - ends[0])).collect::<Result<_>>()?;
    let (found, expected) = (parts.iter().map(Vec::len).sum::<usize>(), range.end - range.start);
    if found as u64 != expected {
        bail!("{} gave {found} values of {expected}; the file may be cut off", array.place());
    }
    Ok(parts)
}
