//! Writes the record of a run: one JSON Lines file per run, locked while the run is alive. `record.rs` reads
//! it.
//!
//! `runs/<run>.jsonl` holds the events of [`crate::event`], each with `t`, the seconds since the run began.
//! The lock shows that the run is alive: its drafts are not swept, and no key that it has named is collected.
//! A record is history, not state, so damaged lines are skipped.

use crate::clock;
use crate::error::Result;
use crate::event::{Event, Sink};
use crate::store::Store;
use contract::disk::{self, fault};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The record being written; holds the run's lock.
#[derive(Debug)]
pub struct RunLog {
    run: String,
    path: PathBuf,
    file: File,
    began: Instant,
    /// Lines not yet written to the file.
    pending: Vec<u8>,
}

/// One line of a record.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line<E> {
    /// Seconds since the run began.
    pub t: f64,
    /// What happened then.
    #[serde(flatten)]
    pub event: E,
}

impl RunLog {
    /// Creates the record of a new run.
    pub fn create(store: &Store) -> Result<RunLog> {
        let stamp = clock::compact(clock::unix_seconds());
        for attempt in 0.. {
            let nonce = (u64::from(std::process::id()) << 8) ^ attempt;
            let run = format!("{stamp}-{nonce:08x}");
            let path = path_of(store, &run);
            let opened = File::options().append(true).create_new(true).open(&path);
            match opened {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(fault("creating", &path, error).into()),
                Ok(file) => {
                    // Blocks only while another process tests this lock. Without working locks every run
                    // seems alive, and its drafts are never swept.
                    let _ = file.lock();
                    return Ok(RunLog { run, path, file, began: Instant::now(), pending: Vec::new() });
                }
            }
        }
        unreachable!("some number is free")
    }

    /// The run's name.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The folder for the output of steps.
    pub fn output_folder(&self) -> PathBuf {
        self.path.with_extension("logs")
    }

    /// When the run began.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Flushes and closes the record.
    pub fn close(mut self) -> Result<()> {
        self.flush()?;
        Ok(disk::close(self.file, &self.path)?)
    }
}

impl Sink for RunLog {
    fn hear(&mut self, event: &Event) -> Result<()> {
        if !matches!(event, Event::Note { .. } | Event::Progress { .. }) {
            let t = (self.began.elapsed().as_secs_f64() * 1e6).round() / 1e6;
            serde_json::to_writer(&mut self.pending, &Line { t, event })
                .map_err(|error| fault("writing", &self.path, error))?;
            self.pending.push(b'\n');
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = Some(self.pending.len() as u64);
        self.file
            .write_all(&self.pending)
            .map_err(|error| disk::Fault { bytes, ..fault("writing", &self.path, error) })?;
        self.pending.clear();
        Ok(())
    }
}

/// Where the record of a run lies.
pub fn path_of(store: &Store, run: &str) -> PathBuf {
    store.runs().join(format!("{run}.jsonl"))
}

/// Every run, oldest first.
pub fn runs(store: &Store) -> Result<Vec<String>> {
    let names = disk::list_if_there(&store.runs())?;
    Ok(names.iter().filter_map(|(name, _)| Some(name.to_str()?.strip_suffix(".jsonl")?.to_owned())).collect())
}

/// Whether the run is still going on.
pub fn lives(store: &Store, run: &str) -> Result<bool> {
    is_locked(&path_of(store, run))
}

fn is_locked(path: &Path) -> Result<bool> {
    let file = match File::options().read(true).append(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(fault("opening", path, error).into()),
    };
    let locked = file.try_lock().is_err();
    disk::close(file, path)?;
    Ok(locked)
}

/// Pins or unpins a run, whose artifacts are then kept. The mark is an empty file beside the record.
pub fn pin(store: &Store, run: &str, pinned: bool) -> Result<()> {
    let path = pin_path(store, run);
    match pinned {
        true if path.exists() => {}
        true => disk::write_durably(&path, b"", 0o644)?,
        false => drop(disk::remove_file(&path)?),
    }
    Ok(disk::sync_folder(&store.runs())?)
}

/// Whether a run is pinned.
pub fn is_pinned(store: &Store, run: &str) -> bool {
    pin_path(store, run).exists()
}

fn pin_path(store: &Store, run: &str) -> PathBuf {
    store.runs().join(format!("{run}.pin"))
}

/// Removes the records of ended runs, except for pinned ones and the `newest` most recent.
pub fn forget_all_but(store: &Store, newest: usize) -> Result<usize> {
    let runs = runs(store)?;
    let mut forgotten = 0;
    for run in &runs[..runs.len().saturating_sub(newest)] {
        if !is_pinned(store, run) && !lives(store, run)? {
            disk::remove_folder(&path_of(store, run).with_extension("logs"))?;
            disk::remove_file(&path_of(store, run))?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_lives_as_long_as_its_record_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        store.prepare().unwrap();
        let log = RunLog::create(&store).unwrap();
        let run = log.run().to_owned();
        assert!(lives(&store, &run).unwrap());
        log.close().unwrap();
        assert!(!lives(&store, &run).unwrap());
        assert!(!lives(&store, "never").unwrap());
    }
}
