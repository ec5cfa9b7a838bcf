//! Checkpoints of a running step that survive kills: two generations, each complete or absent.
//!
//! On disk, in `checkpoints/<key>/`: files named by a counter (`0000000012`), each with the state as the
//! stage wrote it followed by the 32 bytes of its blake3 hash. A file is renamed to its number only after
//! fsync, so a numbered file is complete; the hash detects rot. The folder is removed when the step's
//! artifact is committed.

use crate::disk::{self, Fault, fault};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many are kept: the newest, and the one before it in case the newest is damaged.
const GENERATIONS: usize = 2;
const HASH_BYTES: u64 = 32;
const DRAFT: &str = "draft";

/// The checkpoints of one step.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    folder: PathBuf,
    /// Set by the first use; the engine then waits longer for the step after a signal.
    in_use: Arc<AtomicBool>,
}

/// The checkpoint found when a step resumes.
pub struct Found {
    /// The newest undamaged state.
    pub state: Vec<u8>,
    /// Newer checkpoints that were damaged and skipped.
    pub damaged: Vec<PathBuf>,
}

impl Checkpoints {
    /// The checkpoints in `folder`, which is created by the first save.
    pub fn in_folder(folder: PathBuf) -> Checkpoints {
        Checkpoints { folder, in_use: Arc::default() }
    }

    /// Whether the step has saved or loaded a state.
    pub fn in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// A folder that survives kills of the step, for an external program's own checkpoints.
    pub fn program_folder(&self) -> disk::Result<PathBuf> {
        let folder = self.folder.join("program");
        disk::create_folders(&folder)?;
        Ok(folder)
    }

    /// Makes a state durable. Once this returns, `load` finds it even after a power cut.
    pub fn save(&self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> disk::Result<()> {
        self.in_use.store(true, Ordering::Relaxed);
        disk::create_folders(&self.folder)?;
        let draft = self.folder.join(DRAFT);
        disk::remove_file(&draft)?;
        let number = self.numbers()?.last().map_or(0, |newest| newest + 1);
        let path = self.folder.join(format!("{number:010}"));
        let file = File::create_new(&draft).map_err(|error| fault("creating", &draft, error))?;
        let mut writer =
            Hashing { inner: BufWriter::with_capacity(1 << 20, file), hasher: blake3::Hasher::new() };
        let written = write(&mut writer).and_then(|()| {
            let hash = writer.hasher.finalize();
            writer.inner.write_all(hash.as_bytes())
        });
        let file = written
            .and_then(|()| writer.inner.into_inner().map_err(std::io::IntoInnerError::into_error))
            .map_err(|error| fault("writing the checkpoint", &draft, error))?;
        file.sync_all().map_err(|error| fault("syncing the checkpoint", &draft, error))?;
        disk::close(file, &draft)?;
        disk::rename(&draft, &path)?;
        disk::sync_folder(&self.folder)?;
        let numbers = self.numbers()?;
        for old in &numbers[..numbers.len().saturating_sub(GENERATIONS)] {
            disk::remove_file(&self.folder.join(format!("{old:010}")))?;
        }
        Ok(())
    }

    /// The newest undamaged state, if there is one.
    pub fn load(&self) -> disk::Result<Option<Found>> {
        self.in_use.store(true, Ordering::Relaxed);
        let mut damaged = Vec::new();
        for number in self.numbers()?.into_iter().rev() {
            let path = self.folder.join(format!("{number:010}"));
            match read_whole(&path)? {
                Some(state) => return Ok(Some(Found { state, damaged })),
                None => damaged.push(path),
            }
        }
        Ok(None)
    }

    fn numbers(&self) -> disk::Result<Vec<u64>> {
        let names = disk::list_if_there(&self.folder)?;
        Ok(names.iter().filter_map(|(name, _)| name.to_str()?.parse().ok()).collect())
    }
}

/// The state in a checkpoint file; `None` if the file is damaged.
pub fn read_whole(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let mut file = File::open(path).map_err(|error| fault("opening", path, error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| fault("reading", path, error))?;
    disk::close(file, path)?;
    let Some(length) = bytes.len().checked_sub(HASH_BYTES as usize) else { return Ok(None) };
    let hash = blake3::hash(&bytes[..length]);
    if hash.as_bytes() != &bytes[length..] {
        return Ok(None);
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}

struct Hashing<W> {
    inner: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save(checkpoints: &Checkpoints, state: &[u8]) {
        checkpoints.save(|writer| writer.write_all(state)).unwrap();
    }

    #[test]
    fn the_newest_whole_state_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::in_folder(folder.path().join("key"));
        assert!(checkpoints.load().unwrap().is_none());
        for state in [b"one", b"two", b"six"] {
            save(&checkpoints, state);
        }
        assert_eq!(checkpoints.load().unwrap().unwrap().state, b"six");
        assert_eq!(checkpoints.numbers().unwrap(), [1, 2]);

        let newest = folder.path().join("key/0000000002");
        let mut bytes = std::fs::read(&newest).unwrap();
        bytes[1] ^= 1;
        std::fs::write(&newest, bytes).unwrap();
        let found = checkpoints.load().unwrap().unwrap();
        assert_eq!((found.state.as_slice(), found.damaged), (b"two".as_slice(), vec![newest]));
    }

    #[test]
    fn a_failed_write_leaves_the_older_state() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::in_folder(folder.path().to_owned());
        save(&checkpoints, b"old");
        let refused = checkpoints.save(|writer| {
            writer.write_all(b"ne")?;
            Err(std::io::Error::other("no"))
        });
        assert!(refused.is_err());
        assert_eq!(checkpoints.load().unwrap().unwrap().state, b"old");
    }
}
