//! A handle on an artifact that was found whole.
//!
//! Whoever reads an artifact asks its handle and joins no paths: the handle is where an artifact that lies
//! elsewhere will be fetched.

use super::{Manifest, Store};
use crate::error::Result;
use crate::key::{Digest, Key};
use std::fmt;
use std::path::PathBuf;

/// An artifact that is whole.
#[derive(Clone)]
pub struct Artifact {
    store: Store,
    key: Key,
    digest: Digest,
}

impl Artifact {
    pub(super) fn new(store: Store, key: Key, digest: Digest) -> Artifact {
        Artifact { store, key, digest }
    }

    /// The recipe's hash.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The digest of its files: what consumers' keys are made of.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The folder with all of its files, for a stage that reads them.
    pub fn folder(&self) -> PathBuf {
        self.store.entry(self.key).join("out")
    }

    /// One of its files, by its path in the manifest.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    /// The first of these files that it has.
    pub fn first_of(&self, paths: &[&str]) -> Option<PathBuf> {
        paths.iter().map(|path| self.file(path)).find(|path| path.is_file())
    }

    /// What is recorded of it; nothing where it was removed a moment ago.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        self.store.manifest(self.key)
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "artifact {:?}", self.key)
    }
}
