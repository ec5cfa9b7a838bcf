//! Garbage collection, which never removes an artifact that a run is using.

use super::lock::{Attempt, Lock};
use super::{COLLECTION_LOCK, Store};
use crate::clock;
use crate::error::Result;
use crate::key::Key;
use contract::disk;
use std::collections::HashSet;
use std::time::Duration;

/// How much to keep.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Remove artifacts older than this.
    pub older_than: Option<Duration>,
    /// Remove the oldest artifacts until the rest is no larger.
    pub max_bytes: Option<u64>,
}

/// An artifact that may be removed.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Candidate {
    /// Its key.
    pub key: Key,
    /// The step that it was made for.
    pub step: String,
    /// Its size.
    pub bytes: u64,
    /// How long it took to compute, and would take again.
    pub seconds: f64,
    /// How long ago it was made.
    pub age_seconds: u64,
}

impl Store {
    /// The artifacts to remove to meet the limits, oldest first, without those in `needed`.
    pub fn candidates(&self, limits: Limits, needed: &HashSet<Key>) -> Result<Vec<Candidate>> {
        let now = clock::unix_seconds();
        let mut all = Vec::new();
        for key in self.entries()?.0 {
            let Some(manifest) = self.manifest(key)? else { continue };
            let age_seconds = now.saturating_sub(manifest.at);
            let bytes = manifest.bytes();
            all.push(Candidate { key, step: manifest.step, bytes, seconds: manifest.seconds, age_seconds });
        }
        all.sort_by_key(|candidate| std::cmp::Reverse(candidate.age_seconds));
        let mut total: u64 = all.iter().map(|candidate| candidate.bytes).sum();
        all.retain(|candidate| {
            let old = limits.older_than.is_some_and(|limit| candidate.age_seconds >= limit.as_secs());
            let large = limits.max_bytes.is_some_and(|limit| total > limit);
            let goes = (old || large) && !needed.contains(&candidate.key);
            total -= if goes { candidate.bytes } else { 0 };
            goes
        });
        Ok(all)
    }

    /// Removes artifacts. `needed` is asked again while no run can look anything up. A run records the keys
    /// that it looks up before it allows a collection, so a key not on record then is not in use.
    pub fn collect(
        &self,
        candidates: Vec<Candidate>,
        needed: impl Fn() -> Result<HashSet<Key>>,
    ) -> Result<Vec<Candidate>> {
        let alone = Lock::alone(&self.folder("locks").join(COLLECTION_LOCK))?;
        let spared = needed()?;
        let mut removed = Vec::new();
        for candidate in candidates {
            if !spared.contains(&candidate.key) && self.take_away(candidate.key)? {
                removed.push(candidate);
            }
        }
        alone.release()?;
        for candidate in &removed {
            disk::remove_folder(&self.trash(candidate.key))?;
        }
        Ok(removed)
    }

    /// Uses one rename, so that nobody ever sees half an artifact.
    fn take_away(&self, key: Key) -> Result<bool> {
        match Lock::try_alone(&self.folder("locks").join(key.to_string()))? {
            Attempt::Busy(_) => Ok(false),
            Attempt::Taken(lock) => {
                let gone = disk::rename_new(&self.entry(key), &self.trash(key));
                lock.release()?;
                match gone {
                    Err(fault) if fault.source.kind() == std::io::ErrorKind::NotFound => Ok(false),
                    other => Ok(other?),
                }
            }
        }
    }

    /// A folder in `tmp`; if the collection is killed, it is swept like the draft of a dead run.
    fn trash(&self, key: Key) -> std::path::PathBuf {
        self.folder("tmp").join(format!("collected.{key}"))
    }
}
