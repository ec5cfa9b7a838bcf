//! Detects damage: a manifest covers every byte of its artifact, and its checksum covers the manifest.

use super::Store;
use super::lock::{Attempt, Lock};
use super::manifest::Manifest;
use crate::error::{Error, Result};
use crate::hash::{self, Stamp};
use crate::key::{Digest, FORMAT, Key};
use crate::memo;
use crate::parallel;
use contract::checkpoint;
use contract::disk::{self, EntryType, Fault, Tree};
use contract::stage::StopFlag;
use std::io;
use std::path::{Path, PathBuf};

/// The result of verifying an entry.
pub enum Verdict {
    /// The entry does not exist.
    Absent,
    /// Every byte is as it was committed.
    Whole {
        /// Its record.
        manifest: Box<Manifest>,
        /// The stamp of every file and folder when it was read; paths are relative to the entry.
        stamps: Vec<(PathBuf, Stamp)>,
    },
    /// Something is missing, added or changed, as described.
    Damaged(String),
}

/// A damaged item in the cache.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Damage {
    /// The entry, checkpoint or memo.
    pub path: PathBuf,
    /// What is wrong.
    pub found: String,
    /// The step that it was made for, if that can be read.
    pub step: Option<String>,
    /// Whether `repair` dealt with it.
    pub repaired: bool,
}

/// Reads and verifies an entry completely.
pub fn entry(folder: &Path, key: Key) -> Result<Verdict> {
    match check(folder, key) {
        Ok(Ok((manifest, stamps))) => Ok(Verdict::Whole { manifest: Box::new(manifest), stamps }),
        Ok(Err(found)) => Ok(Verdict::Damaged(found)),
        Err(Error::Machine(fault)) if fault.source.kind() == io::ErrorKind::NotFound => {
            match std::fs::symlink_metadata(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Verdict::Absent),
                _ => Ok(Verdict::Damaged(format!("{} is missing", in_entry(&fault.path, folder)))),
            }
        }
        Err(Error::Machine(fault)) if is_rot(&fault) => Ok(Verdict::Damaged(format!(
            "{} cannot be read: {}",
            in_entry(&fault.path, folder),
            fault.source
        ))),
        Err(error) => Err(error),
    }
}

/// Whether the error comes from damaged data on disk, not from this process or the machine's state.
fn is_rot(fault: &Fault) -> bool {
    use rustix::io::Errno;
    let rot =
        [Errno::IO, Errno::BADMSG, Errno::UCLEAN, Errno::NOTDIR, Errno::ISDIR, Errno::LOOP, Errno::ACCESS];
    fault.doing != "closing"
        && rot.iter().any(|errno| fault.source.raw_os_error() == Some(errno.raw_os_error()))
}

fn in_entry(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
}

type Checked = std::result::Result<(Manifest, Vec<(PathBuf, Stamp)>), String>;

/// The items that an entry consists of.
const PARTS: [(&str, EntryType); 3] =
    [("manifest.json", EntryType::File), ("out", EntryType::Folder), ("recipe.json", EntryType::File)];

fn check(folder: &Path, key: Key) -> Result<Checked> {
    for (name, entry_type) in disk::list(folder)? {
        if !PARTS.iter().any(|(part, of_type)| name == *part && entry_type == *of_type) {
            return Ok(Err(format!("{} does not belong to it", name.to_string_lossy())));
        }
    }
    let manifest = match Manifest::parse(&disk::read(&folder.join("manifest.json"))?) {
        Ok(manifest) => manifest,
        Err(found) => return Ok(Err(found)),
    };
    if manifest.is_newer() {
        let path = folder.join("manifest.json");
        return Err(Error::Newer { path, found: manifest.format, expected: FORMAT });
    }
    if manifest.key != key {
        return Ok(Err(format!("manifest.json is that of {}", manifest.key.short())));
    }
    let recipe = disk::read(&folder.join("recipe.json"))?;
    if Digest::of(&recipe).to_string() != key.to_string() {
        return Ok(Err("recipe.json does not match its digest".to_owned()));
    }
    let out = folder.join("out");
    let Tree { files, folders, others } = disk::walk(&out)?;
    let recorded = |file: &Path| {
        let file = file.to_string_lossy();
        manifest.files.binary_search_by(|record| record.path.as_str().cmp(&file)).is_ok()
    };
    if let Some(extra) = files.iter().find(|file| !recorded(file)).or(others.first()) {
        return Ok(Err(format!("out/{} does not belong to it", extra.display())));
    }
    let results = parallel::map(&manifest.files, |record| -> disk::Result<_> {
        let path = out.join(&record.path);
        let seen = hash::input(&path, &StopFlag::default())?;
        let (_, stamp) = seen.stamps[0];
        Ok(if seen.digest == record.digest {
            Ok(stamp)
        } else {
            Err(format!("out/{} does not match its digest", record.path))
        })
    });
    let mut stamps = Vec::with_capacity(results.len() + folders.len() + 3);
    for (record, result) in manifest.files.iter().zip(results) {
        match result? {
            Ok(stamp) => stamps.push((Path::new("out").join(&record.path), stamp)),
            Err(found) => return Ok(Err(found)),
        }
    }
    let listed = manifest.files.iter().map(|record| (record.path.as_str(), record.digest));
    if hash::folder_digest(listed) != manifest.output {
        return Ok(Err("manifest.json names another digest than that of its files".to_owned()));
    }
    let around = [PathBuf::new(), "manifest.json".into(), "recipe.json".into()];
    for name in around.into_iter().chain(folders.into_iter().map(|folder| Path::new("out").join(folder))) {
        stamps.push((name.clone(), Stamp::read(&folder.join(&name))?));
    }
    Ok(Ok((manifest, stamps)))
}

impl Store {
    /// The key of every entry, and every path among the entries that is not named by a key.
    pub fn entries(&self) -> Result<(Vec<Key>, Vec<PathBuf>)> {
        let (mut keys, mut strange) = (Vec::new(), Vec::new());
        let top = self.folder("entries");
        for (shelf, _) in disk::list_if_there(&top)? {
            let shelf = top.join(shelf);
            if !shelf.is_dir() {
                strange.push(shelf);
                continue;
            }
            for (name, _) in disk::list(&shelf)? {
                let key = name.to_str().and_then(Key::parse);
                match key.filter(|key| self.entry(*key) == shelf.join(&name)) {
                    Some(key) => keys.push(key),
                    None => strange.push(shelf.join(&name)),
                }
            }
        }
        Ok((keys, strange))
    }

    /// Reads everything in the cache. With `repair`, damaged items are moved to quarantine, so that the next
    /// run computes them again. Only what can be made again is ever deleted.
    pub fn verify(&self, repair: bool) -> Result<(usize, Vec<Damage>)> {
        let (keys, strange) = self.entries()?;
        let mut damages = Vec::new();
        for (number, path) in strange.into_iter().enumerate() {
            let aside = self.folder("quarantine").join(format!("stray.{}.{number}", std::process::id()));
            let repaired = repair && disk::rename_new(&path, &aside)?;
            damages.push(Damage { path, found: "does not belong here".to_owned(), step: None, repaired });
        }
        for &key in &keys {
            let folder = self.entry(key);
            if let Verdict::Damaged(found) = entry(&folder, key)? {
                let step = self.manifest(key)?.map(|manifest| manifest.step);
                let repaired = repair && self.quarantine_locked(key)?;
                damages.push(Damage { path: folder, found, step, repaired });
            }
        }
        self.verify_memos(repair, &mut damages)?;
        self.verify_checkpoints(repair, &mut damages)?;
        Ok((keys.len(), damages))
    }

    fn quarantine_locked(&self, key: Key) -> Result<bool> {
        match Lock::try_alone(&self.folder("locks").join(key.to_string()))? {
            Attempt::Busy(_) => Ok(false), // The holder of the lock repairs it.
            Attempt::Taken(lock) => {
                self.quarantine(key)?;
                lock.release()?;
                Ok(true)
            }
        }
    }

    fn verify_memos(&self, repair: bool, damages: &mut Vec<Damage>) -> Result<()> {
        for (name, _) in disk::list_if_there(&self.memos())? {
            let path = self.memos().join(&name);
            // A name with a dot is a file being written. The clock file has no content to check.
            if name == memo::CLOCK
                || name.to_string_lossy().contains('.')
                || memo::is_whole(&disk::read(&path)?)
            {
                continue;
            }
            let repaired = repair && disk::remove_file(&path)?;
            let found = "the memo does not match its checksum".to_owned();
            damages.push(Damage { path, found, step: None, repaired });
        }
        Ok(())
    }

    fn verify_checkpoints(&self, repair: bool, damages: &mut Vec<Damage>) -> Result<()> {
        let top = self.folder("checkpoints");
        for (key, _) in disk::list_if_there(&top)? {
            for (name, entry_type) in disk::list(&top.join(&key))? {
                let path = top.join(&key).join(&name);
                let numbered = name.to_str().is_some_and(|name| name.parse::<u64>().is_ok());
                if entry_type != EntryType::File || !numbered || checkpoint::read_whole(&path)?.is_some() {
                    continue;
                }
                let aside = self.folder("quarantine").join(format!("{}.checkpoint", key.to_string_lossy()));
                let repaired = repair && disk::rename(&path, &aside).is_ok();
                let found = "the checkpoint does not match its checksum".to_owned();
                damages.push(Damage { path, found, step: None, repaired });
            }
        }
        Ok(())
    }
}
