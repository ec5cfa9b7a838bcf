//! A handle on a verified artifact.
//!
//! Code that reads an artifact asks its handle for paths and never joins them itself, so that the handle can
//! later fetch artifacts stored elsewhere.

use super::{Manifest, Store};
use crate::error::Result;
use crate::key::{Digest, Key};
use std::fmt;
use std::path::PathBuf;

/// An artifact that was found whole.
#[derive(Clone)]
pub struct Artifact {
    store: Store,
    key: Key,
    digest: Digest,
    warnings: usize,
}

impl Artifact {
    pub(super) fn new(store: Store, key: Key, digest: Digest, warnings: usize) -> Artifact {
        Artifact { store, key, digest, warnings }
    }

    /// The recipe's hash.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The digest of its files, which enters the keys of its consumers.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many warnings its manifest holds.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// The folder with all of its files, for stages that read it.
    pub fn folder(&self) -> PathBuf {
        self.store.output_folder(self.key)
    }

    /// One of its files, by its path in the manifest.
    pub fn file(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    /// The first of these files that exists in it.
    pub fn first_of(&self, paths: &[&str]) -> Option<PathBuf> {
        paths.iter().map(|path| self.file(path)).find(|path| path.is_file())
    }

    /// Its manifest; `None` if it was removed in the meantime.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        self.store.manifest(self.key)
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "artifact {:?}", self.key)
    }
}
