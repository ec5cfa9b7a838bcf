//! Repeated passes over `cells.parquet`, each with several threads.

use super::{CellBatch, CellGroups, VALUES_PER_BATCH, VALUES_PER_GROUP};
use anyhow::Result;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{self, SyncSender};

/// How many batches a thread may decode ahead while another thread's row group is used: a whole row group of our files.
const BATCHES_OF_GROUP: usize = VALUES_PER_GROUP / VALUES_PER_BATCH;
/// Limited because each thread may hold the batches of a row group.
const MOST_THREADS: usize = 8;

/// A file of cells that several threads read, each its own row groups.
pub struct CellFile {
    groups: CellGroups,
    /// How many cells precede each row group.
    starts: Vec<usize>,
}

impl CellFile {
    /// Prereq: as for [`super::CellReader::open`].
    pub fn open(path: &Path, genes: usize) -> Result<CellFile> {
        let groups = CellGroups::open(path, genes)?;
        let mut cells = 0_usize;
        let begins = |group| {
            let start = cells;
            cells = cells.saturating_add(groups.groups.rows(group));
            start
        };
        let starts = (0..groups.count()).map(begins).collect();
        Ok(CellFile { groups, starts })
    }

    /// Passes each batch to `make` and the results, in the file's order, to `take`.
    ///
    /// `make` runs on several threads and is told how many cells precede the batch. It fills a result that was used
    /// before, because fresh memory costs as much as the work that is done in it.
    pub fn each_batch<T: Default + Send>(
        &self,
        make: impl Fn(usize, &CellBatch, &mut T) -> Result<()> + Sync,
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

    /// Accumulates the batches of each row group with `add` and passes the results, in the file's order, to `take`.
    ///
    /// `add` runs on several threads and is told how many cells precede the batch. The results do not depend on the
    /// number of threads.
    pub fn fold_groups<T: Default + Send>(
        &self,
        add: impl Fn(usize, &CellBatch, &mut T) -> Result<()> + Sync,
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

    /// Receives what the threads send for their row groups, in the file's order. Sending returns false once the
    /// receiver is gone.
    fn each_group<T: Send>(
        &self,
        send_group: impl Fn(usize, &dyn Fn(T) -> bool) -> Result<()> + Sync,
        mut take: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        let threads = rayon::current_num_threads().min(self.groups.count()).clamp(1, MOST_THREADS);
        // `None` or an error marks the end of a row group.
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
                // If a thread panicked, its channel closes, and leaving the scope panics too.
                while let Ok(Some(made)) = receivers[group % threads].recv() {
                    take(made?)?;
                }
            }
            Ok(())
        })
    }

    /// Passes on the batches of a row group, with the number of preceding cells, until the callee wants no more.
    fn each_batch_of(
        &self,
        group: usize,
        mut batch_is: impl FnMut(usize, &CellBatch) -> Result<bool>,
    ) -> Result<()> {
        let mut first = self.starts[group];
        let (mut cells, mut batch) = (self.groups.read(group)?, CellBatch::default());
        while cells.next(&mut batch)? && batch_is(first, &batch)? {
            first += batch.count();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::CellWriter;

    type Owned = (String, Vec<u32>, Vec<f32>);

    /// Contains counts, fractions and a large index, and fills several row groups.
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
        let make = |first, cells: &CellBatch, made: &mut (usize, Vec<Owned>)| {
            let owned =
                |(id, genes, values): crate::cells::Cell| (id.to_owned(), genes.to_vec(), values.to_vec());
            *made = (first, cells.cells().map(owned).collect());
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
    fn every_pass_gives_the_cells_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.parquet");
        let cells = example();
        let mut writer = CellWriter::create(&path).unwrap();
        cells.iter().for_each(|(id, genes, values)| writer.push(id, genes, values).unwrap());
        writer.finish().unwrap();
        let file = CellFile::open(&path, 1 << 18).unwrap();
        assert!(file.groups.count() > 2);
        assert!(pass(&file) == cells && pass(&file) == cells);
        let mut counted = Vec::new();
        let add = |_, cells: &CellBatch, count: &mut usize| {
            *count += cells.count();
            Ok(())
        };
        file.fold_groups(add, |count: usize| {
            counted.push(count);
            Ok(())
        })
        .unwrap();
        let groups: Vec<usize> =
            (0..file.groups.count()).map(|group| file.groups.groups.rows(group)).collect();
        assert_eq!(counted, groups);
    }
}
