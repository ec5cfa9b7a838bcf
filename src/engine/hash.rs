//! Digests of files and folders, computed on several threads.
//!
//! A large file is hashed as blake3's own tree; each thread reads the leaves that it hashes. This is as fast
//! as a memory map, and it survives a file being truncated meanwhile: a map would kill the process with
//! SIGBUS.

use crate::key::Digest;
use crate::parallel;
use blake3::hazmat::{self, ChainingValue, HasherExt, Mode};
use contract::disk::{self, Fault, fault};
use contract::stage::StopFlag;
use rustix::fs::AtFlags;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How much one thread reads and hashes at a time; it fits in a core's cache.
const LEAF_BYTES: u64 = 1 << 20;
/// Deeper nesting of folders is taken for a loop of links.
const MAX_DEPTH: usize = 64;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The metadata that shows whether a file changed without reading its content. Equal stamps mean an unchanged
/// file, unless the file was changed at the very moment the stamp was taken (see memo.rs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp in metadata at hand.
    pub fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// The stamp of a path, links followed.
    pub fn read(path: &Path) -> disk::Result<Stamp> {
        let metadata = std::fs::metadata(path).map_err(|error| fault("looking at", path, error))?;
        Ok(Stamp::of(&metadata))
    }

    /// The stamp of a path below an open folder, links followed; `None` if it cannot be read.
    pub fn read_below(folder: &impl AsFd, path: &[u8]) -> Option<Stamp> {
        let stat = rustix::fs::statat(folder, path, AtFlags::empty()).ok()?;
        Some(Stamp {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).ok()?,
            modified: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).ok()?),
            changed: (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).ok()?),
        })
    }

    /// The number of integers in a stamp.
    pub const NUMBERS: usize = 7;

    /// The stamp as integers, for the memo.
    pub fn to_numbers(self) -> [i64; Stamp::NUMBERS] {
        let Stamp { device, inode, size, modified, changed } = self;
        let [device, inode, size] = [device, inode, size].map(u64::cast_signed);
        [device, inode, size, modified.0, modified.1, changed.0, changed.1]
    }

    /// The inverse of `to_numbers`.
    pub fn from_numbers(numbers: [i64; Stamp::NUMBERS]) -> Stamp {
        let [device, inode, size, modified, modified_nanos, changed, changed_nanos] = numbers;
        let [device, inode, size] = [device, inode, size].map(i64::cast_unsigned);
        Stamp { device, inode, size, modified: (modified, modified_nanos), changed: (changed, changed_nanos) }
    }

    /// Whether the file was not written to since the other stamp; its links and permissions may differ.
    fn written_as(&self, other: &Stamp) -> bool {
        Stamp { changed: other.changed, ..*self } == *other
    }

    /// The later of its modification and change times, in seconds.
    pub fn newest_second(&self) -> i64 {
        self.modified.0.max(self.changed.0)
    }

    /// The size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

/// A file or folder outside the cache, as it was when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The digest of the content.
    pub digest: Digest,
    /// The stamp of every file and folder that was read. For a single file, just that one.
    pub stamps: Vec<(PathBuf, Stamp)>,
}

impl Seen {
    /// Whether every stamp is still the same.
    pub fn unchanged(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| Stamp::read(path).is_ok_and(|now| now == *stamp))
    }

    /// Whether nothing was written since, judging by size and modification time.
    pub fn unwritten(&self) -> bool {
        self.stamps.iter().all(|(path, stamp)| Stamp::read(path).is_ok_and(|now| now.written_as(stamp)))
    }
}

/// Hashes the file or folder at `path`, following links.
pub fn input(path: &Path, stop: &StopFlag) -> disk::Result<Seen> {
    let metadata = std::fs::metadata(path).map_err(|error| fault("looking at", path, error))?;
    if !metadata.is_dir() {
        let (digest, stamp) = path_digest(path, stop)?;
        return Ok(Seen { digest, stamps: vec![(path.to_owned(), stamp)] });
    }
    let mut stamps = Vec::new();
    let files = walk(path, &mut stamps)?;
    let hashed = parallel::map(&files, |name| path_digest(&path.join(name), stop));
    let hashed: Vec<(Digest, Stamp)> = hashed.into_iter().collect::<disk::Result<_>>()?;
    stamps.extend(files.iter().zip(&hashed).map(|(name, (_, stamp))| (path.join(name), *stamp)));
    let digest =
        folder_digest(files.iter().map(String::as_str).zip(hashed.iter().map(|(digest, _)| *digest)));
    Ok(Seen { digest, stamps })
}

/// The digest of a folder whose files are these, sorted by path.
pub fn folder_digest<'a>(files: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"folder\0");
    for (path, digest) in files {
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(digest.as_bytes());
    }
    hasher.finalize().into()
}

/// The relative paths of the files below a folder, sorted; the stamps of its folders.
fn walk(top: &Path, stamps: &mut Vec<(PathBuf, Stamp)>) -> disk::Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), 0)];
    while let Some((prefix, depth)) = folders.pop() {
        let folder = top.join(&prefix);
        if depth > MAX_DEPTH {
            return Err(fault("walking", &folder, io::Error::other("folders are nested without end")));
        }
        stamps.push((folder.clone(), Stamp::read(&folder)?));
        for (name, _) in disk::list(&folder)? {
            let path = folder.join(&name);
            let Some(name) = name.to_str() else {
                return Err(fault("reading", &path, io::Error::other("the name is not valid UTF-8")));
            };
            let metadata = std::fs::metadata(&path).map_err(|error| fault("looking at", &path, error))?;
            match metadata.is_dir() {
                true => folders.push((format!("{prefix}{name}/"), depth + 1)),
                false => files.push(format!("{prefix}{name}")),
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The digest of a file's content and its stamp. Fails if the stamp changed while the file was read.
fn path_digest(path: &Path, stop: &StopFlag) -> disk::Result<(Digest, Stamp)> {
    let file = open_to_read(path)?;
    let seen = open_file_digest(&file, path, stop)?;
    disk::close(file, path)?;
    Ok(seen)
}

/// Refuses pipes and devices, whose reading might never begin or never end.
fn open_to_read(path: &Path) -> disk::Result<File> {
    let metadata = std::fs::metadata(path).map_err(|error| fault("looking at", path, error))?;
    if !metadata.is_file() {
        return Err(fault("reading", path, io::Error::other("it is not a regular file")));
    }
    File::open(path).map_err(|error| fault("opening", path, error))
}

/// The same for an open file.
pub fn open_file_digest(file: &File, path: &Path, stop: &StopFlag) -> disk::Result<(Digest, Stamp)> {
    let look = || file.metadata().map_err(|error| fault("looking at", path, error));
    let before = Stamp::of(&look()?);
    let digest = content_digest(file, path, before.size, stop)?;
    match Stamp::of(&look()?) == before {
        true => Ok((digest, before)),
        false => Err(changed(path)),
    }
}

fn changed(path: &Path) -> Fault {
    fault("reading", path, io::Error::other("it changed while it was read; run again when it is at rest"))
}

fn content_digest(file: &File, path: &Path, size: u64, stop: &StopFlag) -> disk::Result<Digest> {
    if size <= LEAF_BYTES {
        return with_bytes(file, path, 0, size, Digest::of);
    }
    let subtree = |offset, length| subtree(file, path, offset, length, stop);
    let left = hazmat::left_subtree_len(size);
    let (left, right) = rayon::join(|| subtree(0, left), || subtree(left, size - left));
    Ok(hazmat::merge_subtrees_root(&left?, &right?, Mode::Hash).into())
}

fn subtree(
    file: &File,
    path: &Path,
    offset: u64,
    length: u64,
    stop: &StopFlag,
) -> disk::Result<ChainingValue> {
    if stop.reason().is_some() {
        return Err(fault("reading", path, io::Error::from(io::ErrorKind::Interrupted)));
    }
    if length <= LEAF_BYTES {
        return with_bytes(file, path, offset, length, |bytes| {
            blake3::Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root()
        });
    }
    let left = hazmat::left_subtree_len(length);
    let (left, right) = rayon::join(
        || subtree(file, path, offset, left, stop),
        || subtree(file, path, offset + left, length - left, stop),
    );
    Ok(hazmat::merge_subtrees_non_root(&left?, &right?, Mode::Hash))
}

fn with_bytes<T>(
    file: &File,
    path: &Path,
    offset: u64,
    length: u64,
    hash: impl FnOnce(&[u8]) -> T,
) -> disk::Result<T> {
    BUFFER.with_borrow_mut(|buffer| {
        let length = length as usize;
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let bytes = &mut buffer[..length];
        file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => changed(path),
            _ => fault("reading", path, error),
        })?;
        Ok(hash(bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_bytes_whatever_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let leaf = LEAF_BYTES as usize;
        for size in [0, 1, 1024, leaf - 1, leaf, leaf + 1, 3 * leaf, 5 * leaf + 12_345] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * i % 251) as u8).collect();
            let path = folder.path().join("file");
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(input(&path, &StopFlag::default()).unwrap().digest, Digest::of(&bytes), "{size}");
        }
    }

    #[test]
    fn a_folder_has_the_digest_of_names_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let digest = || input(folder.path(), &StopFlag::default()).unwrap().digest;
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        std::fs::write(folder.path().join("inner/a"), "1").unwrap();
        let first = digest();
        std::fs::rename(folder.path().join("inner/a"), folder.path().join("inner/b")).unwrap();
        let renamed = digest();
        std::fs::write(folder.path().join("inner/b"), "2").unwrap();
        assert_ne!(first, renamed);
        assert_ne!(renamed, digest());
        std::fs::rename(folder.path().join("inner/b"), folder.path().join("inner/a")).unwrap();
        std::fs::write(folder.path().join("inner/a"), "1").unwrap();
        assert_eq!(first, digest());
    }

    #[test]
    fn a_loop_of_links_ends() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("self")).unwrap();
        assert!(input(folder.path(), &StopFlag::default()).is_err());
    }
}
