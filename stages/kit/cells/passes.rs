//! Several passes over `cells.parquet`, each by several threads.

use super::{CellBatch, Cells, Checked, VALUES_PER_BATCH, VALUES_PER_GROUP};
use crate::kit::table::Groups;
use anyhow::Result;
use arrow::array::StringArray;
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, OnceLock};

/// Batches that may wait while another thread's row group is used: those of a row group of ours.
const BATCHES_OF_GROUP: usize = VALUES_PER_GROUP / VALUES_PER_BATCH;
/// Each thread may hold the batches of a row group.
const MOST_THREADS: usize = 8;

/// A file of cells that several threads read, each other row groups.
pub struct CellFile {
    groups: Groups,
    checked: Checked,
    /// How many cells come before each row group.
    starts: Vec<usize>,
    /// The first row groups, which stay in memory once they are unpacked.
    held: Vec<OnceLock<Vec<Held>>>,
}

impl CellFile {
    /// Prereq: as for [`super::CellReader::open`]. Most of a pass is unpacking, so that `held_values` of the cells stay
    /// for the next one.
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
        make: impl Fn(usize, Cells, &mut T) -> Result<()> + Sync,
        mut take: impl FnMut(&T) -> Result<()>,
    ) -> Result<()> {
        let used: Mutex<Vec<T>> = Mutex::default();
        let reuse = || used.lock().ok().and_then(|mut used| used.pop()).unwrap_or_default();
        self.each_group(
            |group, send| {
                self.each_batch_of(group, |first, cells| {
                    let mut made = reuse();
                    make(first, cells, &mut made)?;
                    Ok(send(made))
                })
            },
            |made| {
                take(&made)?;
                used.lock().map(|mut used| used.push(made)).unwrap_or_default();
                Ok(())
            },
        )
    }

    /// Gives what `add` gathers of each row group, in the file's order, to `take`.
    ///
    /// `add` runs on several threads and is told how many cells come before the batch. What it gathers does not depend
    /// on how many there are.
    pub fn fold_groups<T: Default + Send>(
        &self,
        add: impl Fn(usize, Cells, &mut T) -> Result<()> + Sync,
        take: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        self.each_group(
            |group, send| {
                let mut gathered = T::default();
                self.each_batch_of(group, |first, cells| add(first, cells, &mut gathered).map(|()| true))?;
                send(gathered);
                Ok(())
            },
            take,
        )
    }

    /// Takes what the threads send of their row groups, in the file's order. What sends is told false once nobody
    /// listens.
    fn each_group<T: Send>(
        &self,
        send_group: impl Fn(usize, &dyn Fn(T) -> bool) -> Result<()> + Sync,
        mut take: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let threads = rayon::current_num_threads().min(self.groups.count()).clamp(1, MOST_THREADS);
        // Nothing follows what is sent of a row group.
        let send_whole = |group: usize, sender: &SyncSender<Option<Result<T>>>| {
            let send = |made| sender.send(Some(Ok(made))).is_ok();
            let last = send_group(group, &send).err().map(Err);
            sender.send(last).is_ok()
        };
        std::thread::scope(|scope| {
            let start_thread = |thread: usize| {
                let (sender, receiver) = mpsc::sync_channel(BATCHES_OF_GROUP);
                let (send_whole, mut own) = (&send_whole, (thread..self.groups.count()).step_by(threads));
                scope.spawn(move || own.all(|group| send_whole(group, &sender)));
                receiver
            };
            let receivers: Vec<_> = (0..threads).map(start_thread).collect();
            for group in 0..self.groups.count() {
                // A thread that panicked sends no more, and the scope panics in its turn.
                while let Ok(Some(made)) = receivers[group % threads].recv() {
                    take(made?)?;
                }
            }
            Ok(())
        })
    }

    /// Gives the batches of a row group, with how many cells come before each, until one is not wanted.
    fn each_batch_of(
        &self,
        group: usize,
        mut batch_is: impl FnMut(usize, Cells) -> Result<bool>,
    ) -> Result<()> {
        let mut first = self.starts[group];
        let mut give = |cells: Cells| {
            let before = first;
            first += cells.count();
            batch_is(before, cells)
        };
        let place = self.held.get(group);
        if let Some(held) = place.and_then(OnceLock::get) {
            let (mut genes, mut values) = (Vec::new(), Vec::new());
            for batch in held {
                if !give(batch.unpack(&mut genes, &mut values))? {
                    break;
                }
            }
            return Ok(());
        }
        let mut held = Vec::new();
        for batch in self.groups.read(group)? {
            let batch = self.checked.check(&batch?)?;
            if place.is_some() {
                held.push(Held::pack(&batch));
            }
            if !give(batch.all())? {
                return Ok(());
            }
        }
        if let Some(place) = place {
            place.get_or_init(|| held);
        }
        Ok(())
    }
}

/// A batch in as little memory as can be had for no time: of fresh memory, each byte costs as much as a value's work.
struct Held {
    ids: StringArray,
    gene_ends: Vec<i32>,
    value_ends: Vec<i32>,
    genes: Genes,
    values: Values,
}

enum Genes {
    /// All are below 2^16.
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

enum Values {
    /// All are whole numbers from 0 to 255.
    Counts(Vec<u8>),
    Any(Vec<f32>),
}

impl Held {
    fn pack(batch: &CellBatch) -> Held {
        let Cells { gene_ends, value_ends, genes, values, .. } = batch.all();
        let largest = genes.iter().fold(0, |largest, gene| largest.max(*gene));
        let genes = if largest <= u32::from(u16::MAX) {
            Genes::Narrow(genes.iter().map(|gene| *gene as u16).collect())
        } else {
            Genes::Wide(genes.to_vec())
        };
        // A value that is no such count differs from what it becomes; -0 would lose its sign, and is none of ours.
        let counts = values.iter().fold(true, |counts, value| counts & (f32::from(*value as u8) == *value));
        let values = if counts {
            Values::Counts(values.iter().map(|value| *value as u8).collect())
        } else {
            Values::Any(values.to_vec())
        };
        Held {
            ids: batch.ids.clone(),
            gene_ends: gene_ends.to_vec(),
            value_ends: value_ends.to_vec(),
            genes,
            values,
        }
    }

    /// Unpacks into memory that was used before.
    fn unpack<'a>(&'a self, wide: &'a mut Vec<u32>, floats: &'a mut Vec<f32>) -> Cells<'a> {
        let genes: &[u32] = match &self.genes {
            Genes::Wide(genes) => genes,
            Genes::Narrow(genes) => {
                wide.clear();
                wide.extend(genes.iter().map(|gene| u32::from(*gene)));
                wide
            }
        };
        let values: &[f32] = match &self.values {
            Values::Any(values) => values,
            Values::Counts(values) => {
                floats.clear();
                floats.extend(values.iter().map(|value| f32::from(*value)));
                floats
            }
        };
        Cells { ids: &self.ids, gene_ends: &self.gene_ends, value_ends: &self.value_ends, genes, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::cells::CellWriter;

    type Owned = (String, Vec<u32>, Vec<f32>);

    /// Counts, fractions, an index that takes more than two bytes; several row groups.
    fn example() -> Vec<Owned> {
        let cell = |index: u32| {
            let genes: Vec<u32> = (0..1000).map(|gene| gene * 3 + index % 3).collect();
            let step = if index < 1500 { 1.0 } else { 0.5 };
            let values = genes.iter().map(|gene| (gene % 250 + 1) as f32 * step).collect();
            (format!("c{index}"), genes, values)
        };
        let last = ("last".to_owned(), vec![1 << 17], vec![7.0]);
        (0..2500).map(cell).chain([last]).collect()
    }

    fn pass(file: &CellFile) -> Vec<Owned> {
        let (mut found, mut starts) = (Vec::new(), Vec::new());
        let make = |first, cells: Cells, made: &mut (usize, Vec<Owned>)| {
            let owned = |(id, genes, values): crate::kit::cells::Cell| {
                (id.to_owned(), genes.to_vec(), values.to_vec())
            };
            *made = (first, cells.each().map(owned).collect());
            Ok(())
        };
        let take = |(first, cells): &(usize, Vec<Owned>)| {
            starts.push((*first, found.len()));
            found.extend(cells.iter().cloned());
            Ok(())
        };
        file.each_batch(make, take).unwrap();
        assert!(starts.iter().all(|(told, before)| told == before));
        found
    }

    #[test]
    fn every_pass_gives_the_cells_in_their_order_whether_they_were_held_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.parquet");
        let cells = example();
        let mut writer = CellWriter::create(&path).unwrap();
        cells.iter().for_each(|(id, genes, values)| writer.push(id, genes, values).unwrap());
        writer.finish().unwrap();
        for held_values in [0, 2_200_000, usize::MAX] {
            let file = CellFile::open(&path, 1 << 18, held_values).unwrap();
            assert!(file.groups.count() > 2);
            assert!(pass(&file) == cells && pass(&file) == cells, "{held_values} values held");
            let mut counted = Vec::new();
            let add = |_, cells: Cells, count: &mut usize| {
                *count += cells.count();
                Ok(())
            };
            file.fold_groups(add, |count: usize| {
                counted.push(count);
                Ok(())
            })
            .unwrap();
            let groups: Vec<usize> = (0..file.groups.count()).map(|group| file.groups.rows(group)).collect();
            assert_eq!(counted, groups);
        }
    }
}
