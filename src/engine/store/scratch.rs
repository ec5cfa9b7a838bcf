//! Private scratch folders for steps. One that a step leaves empty is handed to the next step.
//!
//! Making and removing a folder for each step costs more than it seems: an ext4 without a journal skips every
//! inode that was removed in the last minutes, one by one, whenever it creates a file. After 500 steps that
//! was a tenth of the time of a short step.

use super::Store;
use contract::disk::{self, fault};
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const MODE: u32 = 0o700;

/// The scratch folders of a run; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Scratches(Arc<Mutex<Folders>>);

#[derive(Debug, Default)]
struct Folders {
    /// How many were made so far.
    made: usize,
    /// Those that no step has.
    idle: Vec<PathBuf>,
}

/// The scratch folder of one step, empty at first.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    all: Scratches,
}

impl Scratches {
    /// An empty folder among the drafts of a run.
    pub fn take(&self, store: &Store, run: &str) -> disk::Result<Scratch> {
        let mut folders = self.lock();
        let path = match folders.idle.pop() {
            Some(path) => path,
            None => {
                let path = store.folder("tmp").join(format!("{run}.work.{}", folders.made));
                let made = DirBuilder::new().mode(MODE).create(&path);
                made.map_err(|error| fault("creating", &path, error))?;
                folders.made += 1;
                path
            }
        };
        Ok(Scratch { path, all: self.clone() })
    }

    /// Removes those that no step has.
    pub fn remove(&self) {
        for path in std::mem::take(&mut self.lock().idle) {
            // If it cannot be removed now, a later run sweeps it.
            let _ = disk::remove_folder(&path);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Folders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if is_as_new(&self.path) {
            self.all.lock().idle.push(std::mem::take(&mut self.path));
        } else {
            // If it cannot be removed now, a later run sweeps it.
            let _ = disk::remove_folder(&self.path);
        }
    }
}

/// Whether nothing is in a folder and its owner has not changed who may use it.
fn is_as_new(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|it| it.is_dir() && it.mode() & 0o7777 == MODE)
        && disk::list(path).is_ok_and(|entries| entries.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_a_folder_that_is_as_new_is_handed_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        store.prepare().unwrap();
        let all = Scratches::default();
        let take = || all.take(&store, "run").unwrap();
        let first = take();
        let path = first.path().to_owned();
        assert_ne!(take().path(), path, "two steps at once have different folders");
        drop(first);
        let again = take();
        assert_eq!(again.path(), path);
        std::fs::write(path.join("left"), "x").unwrap();
        drop(again);
        assert!(!path.exists(), "what a step left is removed");
        let other = take();
        let path = other.path().to_owned();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        drop(other);
        assert!(!path.exists(), "others may have opened it");
        drop(take());
        all.remove();
        assert_eq!(std::fs::read_dir(store.folder("tmp")).unwrap().count(), 0);
    }
}
