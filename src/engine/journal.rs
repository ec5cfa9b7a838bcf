//! The journal of a worker: what it says of its step, in a file that only grows.
//!
//! JSON Lines beside the assignment. Each attempt begins with `began`, and one that was not killed ends with
//! `ended`. A kill may cut the last line; the next attempt then begins a new one, and the cut one is skipped.

use crate::key::Digest;
use contract::disk::{self, fault};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Remark {
    /// An attempt began.
    Began {
        /// The machine.
        host: String,
        /// The worker's process.
        process: u32,
        /// The scheduler's name for the job, if it is known.
        job: Option<String>,
        /// The GPUs that it has.
        gpus: Vec<u32>,
        /// Seconds since 1970.
        at: u64,
    },
    /// It is alive. Written at intervals, so that a journal at rest means a dead worker.
    Alive,
    /// What the step is doing now.
    Note {
        /// A short description.
        text: String,
    },
    /// The step's progress.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all.
        total: u64,
    },
    /// Something about this attempt that does not concern the result.
    Remark {
        /// The remark.
        text: String,
    },
    /// A warning about the result.
    Warning {
        /// The warning.
        text: String,
    },
    /// The attempt ended.
    Ended {
        /// How.
        end: End,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum End {
    /// The artifact is durable.
    Computed {
        /// How long it took.
        seconds: f64,
        /// The artifact's size.
        bytes: u64,
        /// A different result of the same recipe that existed before.
        other: Option<Digest>,
    },
    /// The artifact was there.
    Hit,
    /// The step failed.
    Failed {
        /// What went wrong.
        why: String,
        /// The last lines of its output.
        tail: Vec<String>,
        /// Where all of its output is.
        log: Option<PathBuf>,
    },
    /// The scheduler warned that the job's time is almost over, and the step saved a checkpoint to go on from.
    OutOfTime,
    /// It was told to stop.
    Stopped,
}

/// The journal of this process. It may be written to from several threads.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Mutex<File>,
}

impl Journal {
    /// Opens or creates a journal.
    pub fn append_to(path: &Path) -> disk::Result<Journal> {
        let opened = File::options().read(true).append(true).create(true).open(path);
        let mut file = opened.map_err(|error| fault("opening", path, error))?;
        let size = file.metadata().map_err(|error| fault("looking at", path, error))?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1).map_err(|error| fault("reading", path, error))?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n").map_err(|error| fault("writing", path, error))?;
        }
        Ok(Journal { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Appends a line.
    pub fn say(&self, remark: &Remark) -> disk::Result<()> {
        let mut line = serde_json::to_vec(remark).expect("remarks are plain data with text keys");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(&line).map_err(|error| fault("writing", &self.path, error))
    }

    /// Makes everything said so far durable.
    pub fn sync(&self) -> disk::Result<()> {
        let file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        file.sync_all().map_err(|error| fault("syncing", &self.path, error))
    }
}

/// Reads a journal as it grows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    /// How many bytes were read: up to the end of a line.
    read: u64,
}

impl Reader {
    /// A reader at the beginning of a journal, which need not exist yet.
    pub fn new(path: PathBuf) -> Reader {
        Reader { path, read: 0 }
    }

    /// The complete lines that came since the last call.
    pub fn news(&mut self) -> disk::Result<Vec<Remark>> {
        let read = |error| fault("reading", &self.path, error);
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fault("opening", &self.path, error)),
        };
        let size = file.metadata().map_err(read)?.len();
        if size <= self.read {
            return Ok(Vec::new());
        }
        file.seek(SeekFrom::Start(self.read)).map_err(read)?;
        let mut bytes = Vec::new();
        file.take(size - self.read).read_to_end(&mut bytes).map_err(read)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        let lines = bytes[..whole].split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_by_a_kill_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.journal");
        let mut reader = Reader::new(path.clone());
        assert_eq!(reader.news().unwrap(), []);
        let journal = Journal::append_to(&path).unwrap();
        let note = |text: &str| Remark::Note { text: text.into() };
        journal.say(&note("one")).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"{\"event\":\"no").unwrap();
        assert_eq!(reader.news().unwrap(), [note("one")], "half a line is not read yet");
        let next = Journal::append_to(&path).unwrap();
        next.say(&Remark::Ended { end: End::Hit }).unwrap();
        assert_eq!(reader.news().unwrap(), [Remark::Ended { end: End::Hit }]);
        assert_eq!(reader.news().unwrap(), []);
    }
}
