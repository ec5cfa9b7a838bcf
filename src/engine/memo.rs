//! Remembers what was hashed, so that an unchanged file is not read again.
//!
//! One file per pipeline file, `memo/<digest of its path>`: `Facts` in the binary form of `encoding`,
//! followed by its own blake3 hash. It is a shortcut and never a record: when it is missing or damaged, files are hashed again. A file
//! changed within two seconds of being hashed is not remembered, because a second change in the same
//! tick of the file system's clock would leave no trace. That clock is asked by touching a file beside
//! the memo, so that neither a jump of this machine's clock nor a file server's own time matters.

mod encoding;

use crate::hash::{Seen, Stamp};
use crate::key::{Digest, Key};
use contract::disk::{self, fault};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How old a change must be before a stamp can be trusted to show the next one.
const SETTLED_SECONDS: i64 = 2;
const HASH_BYTES: usize = 32;

/// What is remembered of one pipeline file's inputs and artifacts.
#[derive(Debug)]
pub struct Memo {
    path: PathBuf,
    /// The folder of all artifacts, if there is one: a name below it is found faster than a whole path.
    entries: Option<OwnedFd>,
    now: i64,
    facts: Facts,
    fresh: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Facts {
    inputs: HashMap<PathBuf, Remembered>,
    artifacts: HashMap<Key, Artifact>,
}

/// An artifact that was verified.
#[derive(Debug, Clone, PartialEq)]
struct Artifact {
    files: Remembered,
    /// How many warnings its manifest holds.
    warnings: usize,
}

/// A digest, and the stamps under which it holds.
#[derive(Debug, Clone, PartialEq)]
struct Remembered {
    digest: Digest,
    stamps: Vec<(PathBuf, Stamp)>,
}

impl Memo {
    /// The memo of a pipeline file, empty where there is none.
    pub fn open(folder: &Path, pipeline: &Path) -> disk::Result<Memo> {
        disk::create_folder(folder)?;
        Ok(Memo { now: file_system_second(folder)?, ..Memo::open_to_look(folder, pipeline)? })
    }

    /// The same for commands that only look: they write nothing, so that they work on a full disk.
    pub fn open_to_look(folder: &Path, pipeline: &Path) -> disk::Result<Memo> {
        let path = path_of(folder, pipeline);
        let facts = disk::read_if_there(&path)?.and_then(|bytes| parse(&bytes)).unwrap_or_default();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries = rustix::fs::open(folder.with_file_name("entries"), flags, Mode::empty()).ok();
        Ok(Memo { path, entries, now: i64::MIN, facts, fresh: false })
    }

    /// The input as it was hashed before, if nothing about it has changed since.
    pub fn input(&self, path: &Path) -> Option<Seen> {
        let Remembered { digest, stamps } = self.facts.inputs.get(path)?;
        let seen = Seen { digest: *digest, stamps: stamps.clone() };
        seen.unchanged().then_some(seen)
    }

    /// The digest of an artifact that was verified before, and how many warnings it has, if no file of it has
    /// changed since. `entry` is its folder below that of all artifacts.
    pub fn artifact(&self, key: Key, entry: &str) -> Option<(Digest, usize)> {
        let Artifact { files: Remembered { digest, stamps }, warnings } = self.facts.artifacts.get(&key)?;
        let entries = self.entries.as_ref()?;
        let mut path = entry.as_bytes().to_vec();
        let holds = |(name, stamp): &(PathBuf, Stamp)| {
            path.truncate(entry.len());
            path.push(b'/');
            path.extend_from_slice(name.as_os_str().as_bytes());
            Stamp::read_below(entries, &path) == Some(*stamp)
        };
        stamps.iter().all(holds).then_some((*digest, *warnings))
    }

    /// Remembers an input.
    pub fn learn_input(&mut self, path: &Path, seen: &Seen) {
        if self.settled(&seen.stamps) {
            let fact = Remembered { digest: seen.digest, stamps: seen.stamps.clone() };
            self.fresh |=
                self.facts.inputs.insert(path.to_owned(), fact).is_none_or(|old| old.stamps != seen.stamps);
        }
    }

    /// Remembers a verified artifact; the paths are relative to its folder.
    pub fn learn_artifact(
        &mut self,
        key: Key,
        digest: Digest,
        warnings: usize,
        stamps: Vec<(PathBuf, Stamp)>,
    ) {
        if self.settled(&stamps) {
            let files = Remembered { digest, stamps };
            self.facts.artifacts.insert(key, Artifact { files, warnings });
            self.fresh = true;
        }
    }

    /// Keeps what was learnt for the next run.
    pub fn save(&mut self) -> disk::Result<()> {
        // Closed here, where an error has somebody to hear it.
        if let Some(entries) = self.entries.take() {
            disk::close(entries.into(), &self.path)?;
        }
        if !self.fresh {
            return Ok(());
        }
        write(&self.path, encoding::write(&self.facts))?;
        self.fresh = false;
        Ok(())
    }

    /// Whether these stamps are old enough to show every later change.
    pub fn settled(&self, stamps: &[(PathBuf, Stamp)]) -> bool {
        stamps.iter().all(|(_, stamp)| stamp.newest_second() + SETTLED_SECONDS < self.now)
    }
}

fn path_of(folder: &Path, pipeline: &Path) -> PathBuf {
    folder.join(Digest::of(pipeline.as_os_str().as_encoded_bytes()).short())
}

/// Whether a memo file is whole; for `verify`.
pub fn is_whole(bytes: &[u8]) -> bool {
    body(bytes).is_some()
}

/// Writes what is to be remembered, followed by its hash, in place of what was.
pub fn write(path: &Path, mut bytes: Vec<u8>) -> disk::Result<()> {
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    let draft = path.with_extension(std::process::id().to_string());
    disk::remove_file(&draft)?;
    // Synced, because a power cut between rename and write-back would leave a name without content.
    disk::write_durably(&draft, &bytes, 0o644)?;
    disk::rename(&draft, path)
}

/// What stands before the hash, if that is the hash of it.
pub fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (body, hash) = bytes.split_at_checked(bytes.len().checked_sub(HASH_BYTES)?)?;
    (blake3::hash(body).as_bytes() == hash).then_some(body)
}

/// Nothing where it is damaged, or of an older program.
fn parse(bytes: &[u8]) -> Option<Facts> {
    encoding::read(body(bytes)?)
}

/// The name of the file that is touched to read the file system's clock.
pub const CLOCK: &str = "clock";

fn file_system_second(folder: &Path) -> disk::Result<i64> {
    let path = folder.join(CLOCK);
    let mut file = File::create(&path).map_err(|error| fault("creating", &path, error))?;
    file.write_all(b"\n").map_err(|error| fault("writing", &path, error))?;
    let metadata = file.metadata().map_err(|error| fault("looking at", &path, error))?;
    disk::close(file, &path)?;
    Ok(Stamp::of(&metadata).newest_second())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;
    use contract::stage::StopFlag;

    fn memo(folder: &Path) -> Memo {
        Memo::open(&folder.join("memo"), Path::new("/p.yaml")).unwrap()
    }

    #[test]
    fn a_fresh_file_is_not_trusted_and_a_settled_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, "content").unwrap();
        let seen = hash::input(&path, &StopFlag::default()).unwrap();

        let mut early = memo(folder.path());
        early.learn_input(&path, &seen);
        assert_eq!(early.input(&path), None);

        let mut later = memo(folder.path());
        later.now += 10;
        later.learn_input(&path, &seen);
        later.save().unwrap();
        assert_eq!(memo(folder.path()).input(&path), Some(seen));
    }

    #[test]
    fn a_damaged_memo_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        std::fs::write(&path, "content").unwrap();
        let seen = hash::input(&path, &StopFlag::default()).unwrap();
        let mut first = memo(folder.path());
        first.now += 10;
        first.learn_input(&path, &seen);
        first.save().unwrap();
        let mut bytes = std::fs::read(&first.path).unwrap();
        for i in 0..bytes.len() {
            bytes[i] ^= 1;
            assert!(!is_whole(&bytes));
            bytes[i] ^= 1;
        }
        bytes[3] ^= 1;
        std::fs::write(&first.path, bytes).unwrap();
        assert_eq!(memo(folder.path()).input(&path), None);
    }
}
