//! File operations that report every error, even that of a close.
//!
//! The standard library ignores the result of `close` and panics when `closedir` fails; on network file
//! systems `close` is where a full disk is first reported. Nothing here retries a failed fsync: after a
//! failure the kernel may have dropped the pages, and a second call would falsely succeed.

use crate::threads;
use rustix::fs::{AtFlags, CWD, FileType, Mode, RawDir, RenameFlags};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

/// How many files are synced at the same time.
const SYNCED_AT_ONCE: usize = 8;

/// A failed file operation.
#[derive(Debug)]
pub struct Fault {
    /// What was attempted, as a participle: `writing`.
    pub doing: &'static str,
    /// The path that it was attempted on.
    pub path: PathBuf,
    /// How many bytes it needed, if known.
    pub bytes: Option<u64>,
    /// The system's error.
    pub source: io::Error,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fault { doing, path, bytes, source } = self;
        write!(f, "{doing} {}", path.display())?;
        if let Some(bytes) = bytes {
            write!(f, " ({bytes} bytes)")?;
        }
        write!(f, ": {}", reason(source))
    }
}

// The message includes the system's error, so it is not a source as well: a chain would print it twice.
impl std::error::Error for Fault {}

/// The system's error message, without the number that the standard library adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// The result of a file operation.
pub type Result<T> = std::result::Result<T, Fault>;

/// Adds the operation and the path to an error.
pub fn fault(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Fault {
    Fault { doing, path: path.to_owned(), bytes: None, source: source.into() }
}

/// Closes a file and reports the kernel's error, if any.
pub fn close(file: File, path: &Path) -> Result<()> {
    nix::unistd::close(file).map_err(|error| fault("closing", path, error))
}

/// The whole content of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(|error| fault("opening", path, error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| fault("reading", path, error))?;
    close(file, path)?;
    Ok(bytes)
}

/// The whole content of a file, or `None` if it does not exist.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes and syncs a new file. It survives a power cut once its folder is synced too.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let file = create(path, bytes, mode)?;
    file.sync_all().map_err(|error| fault("syncing", path, error))?;
    close(file, path)
}

/// Writes a new read-only file. It may be lost in a power cut until it is synced.
pub fn write_sealed(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = create(path, bytes, 0o444)?;
    close(file, path)
}

/// Writes a new file that may be lost in a power cut.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = create(path, bytes, 0o644)?;
    close(file, path)
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<File> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|error| fault("creating", path, error))?;
    file.write_all(bytes)
        .map_err(|error| Fault { bytes: Some(bytes.len() as u64), ..fault("writing", path, error) })?;
    Ok(file)
}

/// Syncs files and folders, several at a time: most of an fsync is waiting for the disk, and the disk handles
/// waiting requests together.
pub fn sync_all(paths: Vec<PathBuf>) -> Result<()> {
    let count = paths.len();
    let (sender, receiver) = channel();
    let queue = Arc::new((paths, AtomicUsize::new(0)));
    let work = move |queue: &(Vec<PathBuf>, AtomicUsize), sender: Sender<Result<()>>| {
        let (paths, next) = queue;
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            // Sending cannot fail: the receiver waits for the result of every path.
            drop(sender.send(sync(path)));
        }
    };
    for _ in 1..count.min(SYNCED_AT_ONCE) {
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        // If a thread cannot be started, it only takes longer.
        drop(threads::spawn(move || work(&queue, sender)));
    }
    work(&queue, sender);
    // Nothing may count as durable if another thread panicked.
    let results = (0..count).map(|_| receiver.recv().expect("syncing does not panic"));
    results.fold(Ok(()), Result::and)
}

/// Syncs a folder, which makes the names in it durable.
pub fn sync_folder(path: &Path) -> Result<()> {
    sync(path)
}

fn sync(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|error| fault("opening", path, error))?;
    file.sync_all().map_err(|error| fault("syncing", path, error))?;
    close(file, path)
}

/// Creates a folder and its missing parents.
pub fn create_folders(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| fault("creating", path, error))
}

/// Creates one folder; returns whether it is new.
pub fn create_folder(path: &Path) -> Result<bool> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(fault("creating", path, error)),
    }
}

/// The type of an entry in a folder. Links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a device, a socket or a pipe.
    Other,
}

/// The names in a folder, sorted, without `.` and `..`.
pub fn list(path: &Path) -> Result<Vec<(OsString, EntryType)>> {
    let folder = File::open(path).map_err(|error| fault("opening", path, error))?;
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&folder, &mut buffer);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| fault("listing", path, error))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
        if name == "." || name == ".." {
            continue;
        }
        let entry_type = match entry.file_type() {
            FileType::RegularFile => EntryType::File,
            FileType::Directory => EntryType::Folder,
            FileType::Unknown => type_of(&path.join(&name))?,
            _ => EntryType::Other,
        };
        found.push((name, entry_type));
    }
    close(folder, path)?;
    found.sort_unstable();
    Ok(found)
}

/// The same, but empty if the folder does not exist.
pub fn list_if_there(path: &Path) -> Result<Vec<(OsString, EntryType)>> {
    match list(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Everything below a folder, by relative path, each list sorted.
#[derive(Debug, Default)]
pub struct Tree {
    /// Regular files.
    pub files: Vec<PathBuf>,
    /// Folders, including the top one as an empty path.
    pub folders: Vec<PathBuf>,
    /// Links, devices, sockets and pipes.
    pub others: Vec<PathBuf>,
}

/// Lists a folder recursively, without following links.
pub fn walk(top: &Path) -> Result<Tree> {
    let mut tree = Tree { folders: vec![PathBuf::new()], ..Tree::default() };
    let mut next = 0;
    while next < tree.folders.len() {
        let folder = tree.folders[next].clone();
        next += 1;
        for (name, entry_type) in list(&top.join(&folder))? {
            let path = folder.join(name);
            match entry_type {
                EntryType::File => tree.files.push(path),
                EntryType::Folder => tree.folders.push(path),
                EntryType::Other => tree.others.push(path),
            }
        }
    }
    tree.files.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    tree.folders.sort_unstable();
    tree.others.sort_unstable();
    Ok(tree)
}

/// For file systems that do not report the type when listing.
fn type_of(path: &Path) -> Result<EntryType> {
    let metadata = std::fs::symlink_metadata(path).map_err(|error| fault("looking at", path, error))?;
    Ok(if metadata.is_file() {
        EntryType::File
    } else if metadata.is_dir() {
        EntryType::Folder
    } else {
        EntryType::Other
    })
}

/// Renames, unless the new name exists; returns whether it did.
pub fn rename_new(from: &Path, to: &Path) -> Result<bool> {
    use rustix::io::Errno;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        // File systems without the flag: not atomic, but the caller holds the lock of what it renames.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if std::fs::symlink_metadata(to).is_ok() {
                return Ok(false);
            }
            rename(from, to).map(|()| true)
        }
        Err(error) => Err(fault("renaming to", to, error)),
    }
}

/// Renames, replacing whatever has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|error| fault("renaming to", to, error))
}

/// Removes a file; returns whether it existed.
pub fn remove_file(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(fault("removing", path, error)),
    }
}

/// Removes a folder and everything in it, without following links. It need not exist.
pub fn remove_folder(path: &Path) -> Result<()> {
    let mut folders = vec![path.to_owned()];
    let mut next = 0;
    while next < folders.len() {
        let folder = folders[next].clone();
        next += 1;
        for (name, entry_type) in list_to_remove(&folder)? {
            let inner = folder.join(name);
            match entry_type {
                EntryType::Folder => folders.push(inner),
                EntryType::File | EntryType::Other => {
                    remove_file(&inner)?;
                }
            }
        }
    }
    for folder in folders.iter().rev() {
        match rustix::fs::unlinkat(CWD, folder, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(fault("removing", folder, error)),
        }
    }
    Ok(())
}

/// Lists a folder that is to be removed, even if a stage removed the permission to list it.
fn list_to_remove(folder: &Path) -> Result<Vec<(OsString, EntryType)>> {
    match list_if_there(folder) {
        Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => {
            rustix::fs::chmodat(CWD, folder, Mode::RWXU, AtFlags::empty())
                .map_err(|error| fault("opening up", folder, error))?;
            list_if_there(folder)
        }
        other => other,
    }
}

/// Free bytes of the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64> {
    let stat = rustix::fs::statvfs(path).map_err(|error| fault("looking at", path, error))?;
    Ok(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rename_new_keeps_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write(&a, b"new").unwrap();
        write(&b, b"old").unwrap();
        assert!(!rename_new(&a, &b).unwrap());
        assert_eq!(read(&b).unwrap(), b"old");
    }

    #[test]
    fn remove_folder_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        write(&outside, b"kept").unwrap();
        let inner = folder.path().join("a/b");
        create_folders(&inner).unwrap();
        std::os::unix::fs::symlink(&outside, inner.join("link")).unwrap();
        remove_folder(&folder.path().join("a")).unwrap();
        assert_eq!(read(&outside).unwrap(), b"kept");
        assert!(!folder.path().join("a").exists());
    }

    #[test]
    fn a_fault_names_the_path_and_the_reason() {
        let error = read(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "opening /nowhere/at/all: no such file or directory");
    }
}
