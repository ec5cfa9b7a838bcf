//! Kernel locks: released by the kernel when their holder ends, however it ends.

use contract::disk::{self, fault};
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A lock that is held. Its file is never unlinked: a second process could otherwise lock a new file of
/// the same name while the first still holds the old one.
#[derive(Debug)]
pub struct Lock {
    /// None once released.
    file: Option<File>,
    path: PathBuf,
}

/// What came of trying.
pub enum Attempt {
    /// It is ours.
    Taken(Lock),
    /// Somebody has it: the process, where this machine can tell.
    Busy(Option<u32>),
}

/// Set when a file system turned out to have no working locks, so that it is said once.
static UNSUPPORTED: AtomicBool = AtomicBool::new(false);

impl Lock {
    /// Takes the lock if nobody has it.
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

    /// Shares the lock with others who share it; waits for one who has it alone.
    pub fn shared(path: &Path) -> disk::Result<Lock> {
        Lock::wait(path, File::lock_shared)
    }

    /// Waits until the lock is ours alone.
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

    /// Gives it back. Dropping does so too, but cannot tell of an error.
    pub fn release(mut self) -> disk::Result<()> {
        match self.file.take() {
            Some(file) => disk::close(file, &self.path),
            None => Ok(()),
        }
    }
}

/// Whether locks were found not to work; then work may be done twice, and nothing is ever wrong.
pub fn unsupported() -> bool {
    UNSUPPORTED.load(Ordering::Relaxed)
}

/// Opened for reading and writing: some network file systems lock nothing else exclusively.
fn open(path: &Path) -> disk::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| fault("opening the lock", path, error))
}

/// Goes on unlocked where the file system has no locks.
fn without(file: File, path: &Path, error: io::Error) -> disk::Result<Lock> {
    use rustix::io::Errno;
    let unsupported = [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS, Errno::BADF];
    if !unsupported.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        return Err(fault("locking", path, error));
    }
    UNSUPPORTED.store(true, Ordering::Relaxed);
    Ok(Lock { file: Some(file), path: path.to_owned() })
}

/// Asks the kernel's table who holds the lock on a file.
fn holder(file: &File) -> Option<u32> {
    let inode = format!(":{}", file.metadata().ok()?.ino());
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    let fields = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let mut holders =
        fields.filter(|fields| fields.len() > 5 && fields[1] == "FLOCK" && fields[5].ends_with(&inode));
    holders.find_map(|fields| fields[4].parse().ok())
}
