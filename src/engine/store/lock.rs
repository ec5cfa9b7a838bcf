//! Kernel locks, which the kernel releases however their holder ends.

use contract::disk::{self, fault};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A held lock. Its file is never unlinked: otherwise a second process could lock a new file of the same name
/// while the first still holds the old one.
#[derive(Debug)]
pub struct Lock {
    /// `None` once released.
    file: Option<File>,
    path: PathBuf,
}

/// The result of trying to lock.
pub enum Attempt {
    /// The lock was acquired.
    Taken(Lock),
    /// Another process holds it; its id, where this machine can tell.
    Busy(Option<u32>),
}

/// Set once a file system turned out to have no working locks, so that the warning is shown once.
static UNSUPPORTED: AtomicBool = AtomicBool::new(false);

impl Lock {
    /// Takes the lock exclusively if it is free.
    pub fn try_alone(path: &Path) -> disk::Result<Attempt> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Attempt::Taken(Lock { file: Some(file), path: path.to_owned() })),
            Err(TryLockError::WouldBlock) => {
                let process = holder(&file);
                disk::close(file, path)?;
                Ok(Attempt::Busy(process))
            }
            Err(TryLockError::Error(error)) => without(file, path, error).map(Attempt::Taken),
        }
    }

    /// Takes the lock shared; waits while another process holds it exclusively.
    pub fn shared(path: &Path) -> disk::Result<Lock> {
        Lock::wait(path, File::lock_shared)
    }

    /// Takes the lock exclusively; waits until it is free.
    pub fn alone(path: &Path) -> disk::Result<Lock> {
        Lock::wait(path, File::lock)
    }

    fn wait(path: &Path, take: fn(&File) -> io::Result<()>) -> disk::Result<Lock> {
        let file = open(path)?;
        match take(&file) {
            Ok(()) => Ok(Lock { file: Some(file), path: path.to_owned() }),
            Err(error) => without(file, path, error),
        }
    }

    /// Releases it. Dropping does so too, but cannot report an error.
    pub fn release(mut self) -> disk::Result<()> {
        match self.file.take() {
            Some(file) => disk::close(file, &self.path),
            None => Ok(()),
        }
    }
}

/// Whether locks were found not to work. Then a step may be computed twice, but results stay correct.
pub fn unsupported() -> bool {
    UNSUPPORTED.load(Ordering::Relaxed)
}

/// Opens for reading and writing: some network file systems need that for an exclusive lock.
fn open(path: &Path) -> disk::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| fault("opening the lock", path, error))
}

/// Continues without a lock if the file system has none.
fn without(file: File, path: &Path, error: io::Error) -> disk::Result<Lock> {
    use rustix::io::Errno;
    let unsupported = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS, Errno::BADF];
    if !unsupported.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        return Err(fault("locking", path, error));
    }
    UNSUPPORTED.store(true, Ordering::Relaxed);
    Ok(Lock { file: Some(file), path: path.to_owned() })
}

/// Looks up the holder of a file's lock in the kernel's table.
fn holder(file: &File) -> Option<u32> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    let fields = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut holders =
        fields.filter(|fields| fields.len() > 5 && fields[1] == "FLOCK" && fields[5].ends_with(&inode));
    holders.find_map(|fields| fields[4].parse().ok())
}
