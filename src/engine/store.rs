//! Artifacts on disk: looked up by key, made in a draft, committed by one rename.
//!
//! ```text
//! v1/entries/<2 hex>/<key>/{recipe.json, manifest.json, out/…}   always complete; files read-only
//! v1/tmp/<run>.<n>/                                              drafts; those of dead runs are swept
//! v1/tmp/<run>.work.<n>/                                         scratch folders, swept likewise
//! v1/locks/<key>                                                 kernel locks, never unlinked
//! v1/checkpoints/<key>/                                          state of interrupted steps
//! v1/quarantine/<key>.<n>/                                       damaged artifacts, for diagnosis
//! v1/memo/                                                       see memo.rs
//! runs/<run>.jsonl                                               see runlog.rs
//! ```

mod artifact;
mod draft;
mod gc;
mod lock;
mod manifest;
mod scratch;
mod verify;

pub use artifact::Artifact;
pub use draft::{Committed, Draft, Origin, SealError};
pub use gc::Limits;
pub use lock::{Attempt, Lock};
pub use manifest::{FileRecord, Manifest};
pub use scratch::{Scratch, Scratches};
pub use verify::Verdict;

use crate::error::Result;
use crate::key::{Digest, Key, Recipe};
use crate::memo::Memo;
use contract::disk;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FOLDERS: [&str; 6] = ["entries", "tmp", "locks", "checkpoints", "quarantine", "memo"];
/// The lock that garbage collection holds exclusively and lookups share.
const COLLECTION_LOCK: &str = "collection";

/// A cache folder.
#[derive(Debug, Clone)]
pub struct Store {
    root: Arc<Path>,
}

/// The result of looking up a key.
pub enum Lookup {
    /// It is here.
    Hit(Artifact),
    /// It is not.
    Miss,
    /// It exists but is damaged; [`Store::claim`] moves it to quarantine.
    Damaged(String),
}

/// The result of claiming a key.
pub enum Claim {
    /// Another run made the artifact meanwhile.
    Hit(Artifact),
    /// The key is claimed; its artifact can be made here.
    Draft(Draft),
    /// Another run is making it; the process, where this machine can tell.
    Busy(Option<u32>),
}

impl Store {
    /// The cache in a folder, which need not exist. Reading from it writes nothing.
    pub fn at(root: &Path) -> Store {
        Store { root: root.into() }
    }

    /// Creates missing folders, for commands that write.
    pub fn prepare(&self) -> Result<()> {
        let missing = |folder: &PathBuf| !folder.is_dir();
        let folders: Vec<PathBuf> =
            FOLDERS.iter().map(|name| self.folder(name)).chain([self.runs()]).filter(missing).collect();
        for folder in &folders {
            disk::create_folders(folder)?;
        }
        if !folders.is_empty() {
            // Entries are only as durable as the folders above them.
            disk::sync_folder(&self.version_folder())?;
            disk::sync_folder(&self.root)?;
            if let Some(parent) = self.root.parent() {
                disk::sync_folder(parent)?;
            }
        }
        Ok(())
    }

    /// The cache folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where runs are recorded.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Where memos are kept.
    pub fn memos(&self) -> PathBuf {
        self.folder("memo")
    }

    /// Where a step's checkpoints are kept.
    pub fn checkpoints(&self, key: Key) -> PathBuf {
        self.folder("checkpoints").join(key.to_string())
    }

    fn version_folder(&self) -> PathBuf {
        self.root.join("v1")
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.version_folder().join(name)
    }

    /// The folder of an artifact, which need not exist.
    fn entry(&self, key: Key) -> PathBuf {
        self.folder("entries").join(entry_name(key))
    }

    /// The artifact of a key. If the memo has it as verified and unchanged, its files are not read again;
    /// otherwise they are verified and the verdict is returned, for the memo to learn.
    pub fn look_up(&self, key: Key, memo: &Memo) -> Result<(Lookup, Option<Verdict>)> {
        if let Some((digest, warnings)) = memo.artifact(key, &entry_name(key)) {
            tracing::trace!(%key, "unchanged since it was verified");
            return Ok((Lookup::Hit(self.verified(key, digest, warnings)), None));
        }
        let verdict = verify::entry(&self.entry(key), key)?;
        let lookup = match &verdict {
            Verdict::Whole { manifest, .. } => Lookup::Hit(self.whole(key, manifest)),
            Verdict::Absent => Lookup::Miss,
            Verdict::Damaged(found) => Lookup::Damaged(found.clone()),
        };
        Ok((lookup, Some(verdict)))
    }

    /// The same for callers that do not update a memo.
    pub fn open(&self, key: Key, memo: &Memo) -> Result<Lookup> {
        Ok(self.look_up(key, memo)?.0)
    }

    /// A handle on an artifact that the caller knows to be verified.
    pub fn verified(&self, key: Key, digest: Digest, warnings: usize) -> Artifact {
        Artifact::new(self.clone(), key, digest, warnings)
    }

    fn whole(&self, key: Key, manifest: &Manifest) -> Artifact {
        self.verified(key, manifest.output, manifest.warnings.len())
    }

    /// The folder with all files of an artifact.
    pub fn output_folder(&self, key: Key) -> PathBuf {
        self.entry(key).join("out")
    }

    /// Claims the key in order to make its artifact. A damaged artifact is moved to quarantine. With `anew`,
    /// a draft is given out even if a whole one exists.
    pub fn claim(&self, key: Key, draft: &str, anew: bool) -> Result<Claim> {
        let path = self.folder("locks").join(key.to_string());
        let lock = match Lock::try_alone(&path)? {
            lock::Attempt::Taken(lock) => lock,
            lock::Attempt::Busy(process) => return Ok(Claim::Busy(process)),
        };
        let entry = self.entry(key);
        match verify::entry(&entry, key)? {
            Verdict::Whole { manifest, .. } if !anew => {
                lock.release()?;
                return Ok(Claim::Hit(self.whole(key, &manifest)));
            }
            Verdict::Whole { .. } | Verdict::Absent => {}
            Verdict::Damaged(_) => self.quarantine(key)?,
        }
        Ok(Claim::Draft(Draft::create(self.clone(), key, lock, &self.folder("tmp").join(draft), anew)?))
    }

    /// Blocks garbage collection until the lock is released. The holder records the keys that it looked up
    /// before releasing it, so a collection either sees the record or has removed the artifact before the
    /// lookup.
    pub fn keep_collection_away(&self) -> Result<Lock> {
        Ok(Lock::shared(&self.folder("locks").join(COLLECTION_LOCK))?)
    }

    /// The manifest of an artifact, without reading its files.
    pub fn manifest(&self, key: Key) -> Result<Option<Manifest>> {
        let Some(bytes) = disk::read_if_there(&self.entry(key).join("manifest.json"))? else {
            return Ok(None);
        };
        Ok(Manifest::parse(&bytes).ok())
    }

    /// The recipe of an existing artifact.
    pub fn recipe(&self, key: Key) -> Result<Option<Recipe>> {
        let Some(bytes) = disk::read_if_there(&self.entry(key).join("recipe.json"))? else { return Ok(None) };
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// Moves a damaged artifact to quarantine. Prereq: the caller holds the key's lock.
    fn quarantine(&self, key: Key) -> Result<()> {
        let folder = self.folder("quarantine");
        for number in 0.. {
            if disk::rename_new(&self.entry(key), &folder.join(format!("{key}.{number}")))? {
                break;
            }
        }
        Ok(())
    }

    /// Removes the drafts of dead runs from `tmp`.
    pub fn sweep(&self, lives: impl Fn(&str) -> bool) -> Result<()> {
        let tmp = self.folder("tmp");
        for (name, _) in disk::list_if_there(&tmp)? {
            let run = name.to_str().and_then(|name| name.split('.').next());
            if !run.is_some_and(&lives) {
                disk::remove_folder(&tmp.join(&name))?;
            }
        }
        Ok(())
    }
}

/// The folder of an artifact, relative to that of all artifacts.
fn entry_name(key: Key) -> String {
    let name = key.to_string();
    [&name[..2], "/", &name].concat()
}

/// The warning to print if locks turned out not to work.
pub fn lock_warning() -> Option<String> {
    lock::unsupported().then(|| {
        "this file system has no working locks: runs at the same time may compute a step twice, and what \
         killed runs leave in the cache's tmp folder must be removed by hand"
            .to_owned()
    })
}
