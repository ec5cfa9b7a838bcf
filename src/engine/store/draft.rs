//! An artifact in the making: a private folder, the key's lock, and the commit that makes it durable.

use super::lock::Lock;
use super::manifest::{Adoption, FileRecord, Manifest};
use super::verify::{self, Verdict};
use super::{Artifact, Store};
use crate::clock;
use crate::error::{Error, Result};
use crate::hash;
use crate::key::{Digest, FORMAT, Key};
use crate::parallel;
use crate::reason::Change;
use contract::disk::{self, Fault, Tree, fault};
use contract::stage::StopFlag;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An artifact in the making. If dropped without a commit, it removes its folder.
#[derive(Debug)]
pub struct Draft {
    store: Store,
    key: Key,
    folder: PathBuf,
    /// Replace an existing artifact.
    anew: bool,
    /// `None` once released.
    lock: Option<Lock>,
}

/// A draft whose files do not change any more.
#[derive(Debug)]
pub struct Sealed {
    draft: Draft,
    files: Vec<FileRecord>,
    /// The folders that hold them.
    folders: Vec<PathBuf>,
}

/// Who made an artifact, and when.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The step's name.
    pub step: String,
    /// The run.
    pub run: String,
    /// Seconds since 1970.
    pub at: u64,
    /// How long it took.
    pub seconds: f64,
}

/// The result of a commit.
#[derive(Debug)]
pub struct Committed {
    /// The artifact that now serves the key.
    pub artifact: Artifact,
    /// The size of the draft's files.
    pub bytes: u64,
    /// The digest of a different result of the same recipe that existed before.
    pub other: Option<Digest>,
}

/// Why a draft could not be sealed.
#[derive(Debug)]
pub enum SealError {
    /// The stage wrote something that cannot be kept.
    Output(String),
    /// A file operation failed.
    Machine(Error),
}

impl From<Fault> for SealError {
    fn from(fault: Fault) -> SealError {
        SealError::Machine(fault.into())
    }
}

impl From<Error> for SealError {
    fn from(error: Error) -> SealError {
        SealError::Machine(error)
    }
}

impl Draft {
    /// Prereq: the key's lock is held, and no folder with the draft's name exists.
    pub(super) fn create(
        store: Store,
        key: Key,
        lock: Lock,
        folder: &Path,
        anew: bool,
    ) -> disk::Result<Draft> {
        let draft = Draft { store, key, folder: folder.to_owned(), anew, lock: Some(lock) };
        for folder in [folder.to_owned(), draft.out()] {
            let mut builder = std::fs::DirBuilder::new();
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&folder).map_err(|error| fault("creating", &folder, error))?;
        }
        Ok(draft)
    }

    /// The folder for the artifact's files.
    pub fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// Makes the files that the stage wrote read-only, and hashes them.
    pub fn seal(self) -> std::result::Result<Sealed, SealError> {
        let (files, folders) = seal(&self.out())?;
        Ok(Sealed { draft: self, files, folders })
    }

    /// Makes the draft the artifact of its key.
    fn commit(
        mut self,
        recipe: &str,
        files: Vec<FileRecord>,
        folders: Vec<PathBuf>,
        origin: Origin,
        warnings: Vec<String>,
    ) -> Result<Committed> {
        let sealed = files.iter().map(|file| self.out().join(&file.path));
        let unsynced: Vec<PathBuf> = sealed.chain(folders).collect();
        let Origin { step, run, at, seconds } = origin;
        let manifest = Manifest {
            format: FORMAT,
            key: self.key,
            output: hash::folder_digest(files.iter().map(|file| (file.path.as_str(), file.digest))),
            files,
            step,
            run,
            at,
            seconds,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            warnings,
            adopted: None,
        };
        self.record(recipe, &manifest, unsynced)?;
        let committed = self.publish(&manifest)?;
        disk::remove_folder(&self.store.checkpoints(self.key))?;
        self.release()?;
        Ok(committed)
    }

    /// Makes an artifact of another recipe serve this key too, and records that it was adopted.
    pub fn adopt(mut self, from: Key, recipe: &str, changes: Vec<Change>) -> Result<()> {
        let source = self.store.entry(from);
        let Verdict::Whole { manifest, .. } = verify::entry(&source, from)? else {
            return Err(Error::Usage(format!(
                "the artifact {} is damaged or gone; run the step",
                from.short()
            )));
        };
        let mut unsynced = BTreeSet::from([self.out()]);
        for file in &manifest.files {
            let (there, here) = (source.join("out").join(&file.path), self.out().join(&file.path));
            let folder = here.parent().expect("a file lies in a folder");
            disk::create_folders(folder)?;
            unsynced.extend(folder.ancestors().take_while(|above| *above != self.out()).map(Path::to_owned));
            // Committed files never change, so two artifacts may share them by hard links.
            if std::fs::hard_link(&there, &here).is_err() {
                std::fs::copy(&there, &here).map_err(|error| fault("copying", &there, error))?;
                unsynced.insert(here);
            }
        }
        let adopted = Some(Adoption { from, changes, at: clock::unix_seconds() });
        let manifest = Manifest { format: FORMAT, key: self.key, adopted, ..*manifest };
        self.record(recipe, &manifest, unsynced.into_iter().collect())?;
        self.publish(&manifest)?;
        self.release()
    }

    /// Writes both records, creates the folder for the key's first two digits if it is missing, and syncs
    /// everything: the files, their folders, and the folder above a new one.
    fn record(&self, recipe: &str, manifest: &Manifest, mut unsynced: Vec<PathBuf>) -> disk::Result<()> {
        let [recipe_file, manifest_file] =
            ["recipe.json", "manifest.json"].map(|name| self.folder.join(name));
        disk::write_sealed(&recipe_file, recipe.as_bytes())?;
        disk::write_sealed(&manifest_file, &manifest.to_bytes())?;
        unsynced.extend([recipe_file, manifest_file, self.folder.clone()]);
        let entry = self.store.entry(self.key);
        let shelf = entry.parent().expect("an entry lies on a shelf of two digits");
        if disk::create_folder(shelf)? {
            unsynced.push(shelf.parent().expect("shelves lie in `entries`").to_owned());
        }
        disk::sync_all(unsynced)
    }

    fn release(&mut self) -> Result<()> {
        self.lock.take().map_or(Ok(()), |lock| Ok(lock.release()?))
    }

    /// Renames the draft to its place among the entries. An artifact that is already there stays if it is
    /// whole, unless `anew`.
    fn publish(&self, manifest: &Manifest) -> Result<Committed> {
        let entry = self.store.entry(self.key);
        let shelf = entry.parent().expect("an entry lies on a shelf of two digits");
        let mut other = None;
        while !disk::rename_new(&self.folder, &entry)? {
            match verify::entry(&entry, self.key)? {
                Verdict::Whole { manifest: there, .. } if !self.anew => {
                    // Without working locks two runs can make the same artifact; the first one stays.
                    other = (there.output != manifest.output).then_some(manifest.output);
                    disk::remove_folder(&self.folder)?;
                    return Ok(self.committed(&there, other));
                }
                Verdict::Whole { manifest: there, .. } => {
                    other = (there.output != manifest.output).then_some(there.output);
                    let aside = self.folder.with_extension("replaced");
                    disk::rename(&entry, &aside)?;
                    disk::remove_folder(&aside)?;
                }
                Verdict::Damaged(_) => self.store.quarantine(self.key)?,
                Verdict::Absent => {}
            }
        }
        disk::sync_folder(shelf)?;
        Ok(self.committed(manifest, other))
    }

    fn committed(&self, manifest: &Manifest, other: Option<Digest>) -> Committed {
        let artifact = self.store.verified(self.key, manifest.output, manifest.warnings.len());
        Committed { artifact, bytes: manifest.bytes(), other }
    }
}

impl Sealed {
    /// Makes the draft the artifact of its key, which takes no computing, only waiting for the disk. Once this
    /// returns, the artifact survives a power cut. `warnings` are what its stage warned of.
    pub fn commit(self, recipe: &str, origin: Origin, warnings: Vec<String>) -> Result<Committed> {
        let Sealed { draft, files, folders } = self;
        draft.commit(recipe, files, folders, origin, warnings)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a commit the folder no longer exists. If it cannot be removed now, a later run sweeps it.
        let _ = disk::remove_folder(&self.folder);
    }
}

/// Makes every file below `out` read-only and hashes it; returns the files and the folders.
fn seal(out: &Path) -> std::result::Result<(Vec<FileRecord>, Vec<PathBuf>), SealError> {
    let Tree { files, folders, others } = disk::walk(out)?;
    if let Some(other) = others.first() {
        let name = other.display();
        let why = format!("the output `{name}` is a link or a device; write a regular file instead");
        return Err(SealError::Output(why));
    }
    let mut names = Vec::with_capacity(files.len());
    for file in &files {
        let name = file.to_str().ok_or_else(|| {
            SealError::Output(format!("the output name {file:?} is not valid UTF-8; give it another name"))
        })?;
        names.push(name);
    }
    let top = File::open(out).map_err(|error| fault("opening", out, error))?;
    let files = parallel::map(&names, |name| seal_file(&top, out, name));
    let files = files.into_iter().collect::<disk::Result<Vec<_>>>()?;
    disk::close(top, out)?;
    Ok((files, folders.into_iter().map(|folder| out.join(folder)).collect()))
}

fn seal_file(top: &File, out: &Path, name: &str) -> disk::Result<FileRecord> {
    let path = out.join(name);
    let mut file = open_beneath(top, name, &path)?;
    let metadata = file.metadata().map_err(|error| fault("looking at", &path, error))?;
    if metadata.nlink() > 1 {
        // A hard link to a file that others may still change is replaced by a private copy.
        disk::close(file, &path)?;
        let copy = path.with_file_name(format!(".{}.copy", std::process::id()));
        std::fs::copy(&path, &copy).map_err(|error| fault("copying", &path, error))?;
        disk::rename(&copy, &path)?;
        file = open_beneath(top, name, &path)?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))
        .map_err(|error| fault("protecting", &path, error))?;
    let (digest, stamp) = hash::open_file_digest(&file, &path, &StopFlag::default())?;
    disk::close(file, &path)?;
    Ok(FileRecord { path: name.to_owned(), size: stamp.size(), digest })
}

/// Opens a file below a folder without following any link, even if names are changed concurrently.
fn open_beneath(top: &File, name: &str, path: &Path) -> disk::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let opened = match rustix::fs::openat2(top, name, flags, Mode::empty(), resolve) {
        // Kernels before 5.6 lack openat2; there at least the last component is not followed if it is a link.
        Err(rustix::io::Errno::NOSYS) => rustix::fs::openat(top, name, flags, Mode::empty()),
        other => other,
    };
    opened.map(File::from).map_err(|error| fault("opening", path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_folder_exchanged_for_a_link_leads_nowhere() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir_all(path("outside")).unwrap();
        std::fs::write(path("outside/file"), "secret").unwrap();
        let outside = Digest::of(b"secret");
        std::fs::create_dir_all(path("out/sub")).unwrap();
        std::fs::write(path("out/sub/file"), "inside").unwrap();
        symlink(path("outside"), path("link")).unwrap();
        let done = AtomicBool::new(false);
        let (mut sealed, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // Swap the folder and the link over and over.
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    let cwd = rustix::fs::CWD;
                    rustix::fs::renameat_with(cwd, path("out/sub"), cwd, path("link"), flags).unwrap();
                }
            });
            for _ in 0..10_000 {
                match seal(&path("out")) {
                    Ok((files, _)) => {
                        sealed += 1;
                        assert!(files.iter().all(|file| file.digest != outside));
                    }
                    Err(_) => refused += 1,
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert!(sealed > 0 && refused > 0, "{sealed} sealed, {refused} refused");
        let mode = std::fs::metadata(path("outside/file")).unwrap().mode();
        assert_ne!(mode & 0o777, 0o444, "a file outside was touched");
    }
}
