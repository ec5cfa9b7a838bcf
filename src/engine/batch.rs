//! Batches: steps given to a scheduler together, recorded in the cache before the scheduler is asked.
//!
//! ```text
//! jobs/<name>/batch.json       what was asked for, and the keys; the name is made from their hash
//! jobs/<name>/<i>.json         the assignment of the step at place i (assignment.rs)
//! jobs/<name>/<i>.journal      what its worker says (journal.rs)
//! jobs/<name>/<i>.out          what its job printed outside the step
//! jobs/<name>/<i>.settled      nobody waits for this step any more
//! jobs/<name>/script           what the scheduler runs for each step
//! jobs/<name>/lock             held, by kernel lock, while the scheduler is asked to take the batch
//! jobs/<name>/submitted        the scheduler's id for it
//! jobs/<name>/closed           every step is settled; only this file is left, so that the name is not used again soon
//! ```
//!
//! The folder appears by one rename, complete. Whoever wants a key that an open batch lists waits for that batch
//! instead of submitting the key again.

use crate::assignment::Assignment;
use crate::clock;
use crate::error::{Error, Result};
use crate::key::{Digest, Key};
use crate::spec::Resources;
use crate::store::{Attempt, Lock, Store};
use contract::disk;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const FORMAT: u32 = 1;
/// Separates the parts of a worker's name. No batch's name holds it.
const SEPARATOR: char = '~';
/// How long a closed batch's name stays taken: longer than a scheduler remembers jobs that have ended.
const KEPT: Duration = Duration::from_secs(86_400);

/// The record of a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The value of `FORMAT`.
    pub format: u32,
    /// The key at each place.
    pub keys: Vec<Key>,
    /// The step at each place, for display.
    pub steps: Vec<String>,
    /// The scheduler's options.
    pub options: Vec<String>,
    /// The resources behind these options.
    pub resources: Resources,
    /// What was tried before.
    pub tries: Tries,
    /// The machine that made it.
    pub host: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// How often steps were submitted again, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tries {
    /// Because they ran out of memory.
    pub memory: u32,
    /// Because they ran out of time.
    pub time: u32,
    /// Because their job was lost.
    pub lost: u32,
}

/// A batch in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its name, which is also the name of its jobs.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// What was asked for.
    pub record: Record,
}

impl Batch {
    /// Makes a batch durable. `None` if another run made one of the same name meanwhile.
    pub fn create(
        store: &Store,
        run: &str,
        record: Record,
        assignments: &[Assignment],
        script: impl FnOnce(&Path) -> String,
    ) -> Result<Option<Batch>> {
        disk::create_folders(&store.jobs())?;
        let name = free_name(store, &record.keys);
        let folder = store.jobs().join(&name);
        let draft = store.draft_folder(&format!("{run}.{name}"));
        disk::create_folders(&draft)?;
        let mut files = vec![
            ("batch.json".to_owned(), serde_json::to_vec(&record).expect("a record is plain data")),
            ("script".to_owned(), script(&folder).into_bytes()),
        ];
        files.extend(assignments.iter().enumerate().map(|(i, it)| (format!("{i}.json"), it.to_bytes())));
        for (file, bytes) in &files {
            disk::write(&draft.join(file), bytes)?;
        }
        let mut unsynced: Vec<PathBuf> = files.iter().map(|(file, _)| draft.join(file)).collect();
        unsynced.push(draft.clone());
        disk::sync_all(unsynced)?;
        if !disk::rename_new(&draft, &folder)? {
            disk::remove_folder(&draft)?;
            return Ok(None);
        }
        disk::sync_folder(&store.jobs())?;
        Ok(Some(Batch { name, folder, record }))
    }

    /// The batch in a folder, unless it is closed.
    fn read(folder: PathBuf) -> Result<Option<Batch>> {
        if folder.join("closed").exists() {
            return Ok(None);
        }
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let path = folder.join("batch.json");
        let Some(bytes) = disk::read_if_there(&path)? else { return Ok(None) };
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let found =
            value["format"].as_u64().and_then(|format| u32::try_from(format).ok()).unwrap_or_default();
        if found > FORMAT {
            return Err(Error::Newer { path, found, expected: FORMAT });
        }
        let record = serde_json::from_value(value).map_err(|error| {
            Error::Device(format!(
                "{} is damaged ({error}); remove its folder if no job of it runs",
                path.display()
            ))
        })?;
        Ok(Some(Batch { name, folder, record }))
    }

    /// The record of a new batch.
    pub fn record(
        keys: Vec<Key>,
        steps: Vec<String>,
        options: Vec<String>,
        resources: Resources,
        tries: Tries,
    ) -> Record {
        Record {
            format: FORMAT,
            keys,
            steps,
            options,
            resources,
            tries,
            host: host(),
            at: clock::unix_seconds(),
        }
    }

    /// Where the worker of a place writes its journal.
    pub fn journal(&self, place: usize) -> PathBuf {
        self.folder.join(format!("{place}.journal"))
    }

    /// What the job of a place printed outside its step.
    pub fn output(&self, place: usize) -> PathBuf {
        self.folder.join(format!("{place}.out"))
    }

    /// What the scheduler runs.
    pub fn script(&self) -> PathBuf {
        self.folder.join("script")
    }

    /// The task of a place.
    pub fn assignment(&self, place: usize) -> Result<Assignment> {
        Assignment::read(&self.folder.join(format!("{place}.json")))
    }

    /// The scheduler's id, once it has answered.
    pub fn id(&self) -> Result<Option<String>> {
        let bytes = disk::read_if_there(&self.folder.join("submitted"))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Records the scheduler's id. If it is lost, the jobs are found by the batch's name.
    pub fn write_id(&self, id: &str) -> Result<()> {
        let path = self.folder.join("submitted");
        match path.exists() {
            true => Ok(()),
            false => Ok(disk::write(&path, id.as_bytes())?),
        }
    }

    /// Tries to take the right to ask the scheduler for this batch.
    pub fn try_lock(&self) -> Result<Attempt> {
        Ok(Lock::try_alone(&self.folder.join("lock"))?)
    }

    /// Whether nobody waits for a place any more.
    pub fn settled(&self, place: usize) -> bool {
        settled(&self.folder, place)
    }

    /// Whether some run closed it.
    pub fn closed(&self) -> bool {
        self.folder.join("closed").exists() || !self.folder.exists()
    }

    /// Settles a place; the last one closes the batch.
    pub fn settle(&self, place: usize) -> Result<()> {
        if !self.closed() && !self.settled(place) {
            touch(&self.folder.join(format!("{place}.settled")))?;
        }
        if (0..self.record.keys.len()).all(|place| self.settled(place)) {
            touch(&self.folder.join("closed"))?;
            for (name, _) in disk::list_if_there(&self.folder)? {
                if name != "closed" {
                    disk::remove_file(&self.folder.join(name))?;
                }
            }
        }
        Ok(())
    }
}

/// Creates an empty file. Another run may do so at the same time, or remove the folder.
fn touch(path: &Path) -> Result<()> {
    match disk::write(path, b"") {
        Err(fault)
            if matches!(
                fault.source.kind(),
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        other => Ok(other?),
    }
}

fn settled(folder: &Path, place: usize) -> bool {
    folder.join("closed").exists() || folder.join(format!("{place}.settled")).exists()
}

/// The first name for these keys that no batch has, open or closed.
fn free_name(store: &Store, keys: &[Key]) -> String {
    let list: Vec<String> = keys.iter().map(Key::to_string).collect();
    let hash = Digest::of(list.join("\n").as_bytes()).to_string();
    let names = (1..).map(|number| format!("pipeline-{}-{number}", &hash[..16]));
    let mut free = names.skip_while(|name| store.jobs().join(name).exists());
    free.next().expect("numbers do not end")
}

/// Every open batch whose name is not known.
pub fn open(store: &Store, known: impl Fn(&str) -> bool) -> Result<Vec<Batch>> {
    let mut batches = Vec::new();
    for (name, _) in disk::list_if_there(&store.jobs())? {
        let new = name.to_str().is_some_and(|name| !known(name));
        if new && let Some(batch) = Batch::read(store.jobs().join(name))? {
            batches.push(batch);
        }
    }
    Ok(batches)
}

/// The batch and the place that an assignment's file belongs to, if it is in an open batch of its cache.
pub fn place_of(store: &Store, file: &Path) -> Result<Option<(Batch, usize)>> {
    let place = file.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
    let (Some(folder), Some(place)) = (file.parent(), place) else { return Ok(None) };
    if folder.parent() != Some(&*store.jobs()) {
        return Ok(None);
    }
    let batch = Batch::read(folder.to_owned())?;
    Ok(batch.filter(|batch| place < batch.record.keys.len()).map(|batch| (batch, place)))
}

/// The name under which the worker of a place makes drafts: unique, and shows whom they belong to.
pub fn worker_name(batch: &Batch, place: usize) -> String {
    let host: String = host().chars().filter(char::is_ascii_alphanumeric).collect();
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let process = std::process::id();
    [&batch.name, &*place.to_string(), &host, &format!("{process:x}-{at:x}")].join(&SEPARATOR.to_string())
}

/// Whether drafts of this name belong to a worker whose step somebody waits for. No lock tells: where locks do
/// not reach other machines, a live worker would look dead.
pub fn awaits(store: &Store, name: &str) -> bool {
    let mut parts = name.split(SEPARATOR);
    let (Some(batch), Some(place)) = (parts.next(), parts.next().and_then(|place| place.parse().ok())) else {
        return false;
    };
    let folder = store.jobs().join(batch);
    folder.exists() && !settled(&folder, place)
}

/// Every key that an open batch makes or reads.
pub fn needed(store: &Store) -> Result<HashSet<Key>> {
    let mut keys = HashSet::new();
    for batch in open(store, |_| false)? {
        for place in (0..batch.record.keys.len()).filter(|place| !batch.settled(*place)) {
            let Ok(assignment) = batch.assignment(place) else { continue };
            keys.insert(assignment.task.key);
            keys.extend(assignment.task.artifacts());
        }
    }
    Ok(keys)
}

/// Removes what is left of batches that were closed long ago.
pub fn forget_closed(store: &Store) -> Result<()> {
    for (name, _) in disk::list_if_there(&store.jobs())? {
        let folder = store.jobs().join(name);
        let closed = std::fs::metadata(folder.join("closed")).and_then(|closed| closed.modified());
        if closed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT)) {
            disk::remove_folder(&folder)?;
        }
    }
    Ok(())
}

/// This machine's name.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let key = Key::parse(&Digest::of(b"recipe").to_string()).unwrap();
        let time = Some(Duration::from_millis(90_500));
        let resources = Resources { cpus: 2, memory: Some(5_000_000_001), gpus: 1, time };
        let tries = Tries { memory: 1, ..Tries::default() };
        let record = Batch::record(vec![key], vec!["a".into()], vec!["--mem=1M".into()], resources, tries);
        let bytes = serde_json::to_vec(&record).unwrap();
        assert_eq!(serde_json::from_slice::<Record>(&bytes).unwrap(), record);
    }

    #[test]
    fn a_name_is_made_of_the_keys_and_never_used_again_soon() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        store.prepare().unwrap();
        let key = |text: &[u8]| Key::parse(&Digest::of(text).to_string()).unwrap();
        let make = |keys: Vec<Key>| {
            let record =
                Batch::record(keys, vec!["a".into()], Vec::new(), Resources::default(), Tries::default());
            Batch::create(&store, "run", record, &[], |_| String::new()).unwrap().unwrap()
        };
        let first = make(vec![key(b"a")]);
        let other = make(vec![key(b"b")]);
        assert_ne!(first.name[..25], other.name[..25]);
        assert_eq!(open(&store, |_| false).unwrap().len(), 2);
        first.settle(0).unwrap();
        assert!(first.closed() && first.settled(0));
        let open: Vec<String> =
            open(&store, |_| false).unwrap().into_iter().map(|batch| batch.name).collect();
        assert_eq!(open, [other.name]);
        let again = make(vec![key(b"a")]);
        assert_eq!(again.name, first.name.replace("-1", "-2"));
    }

    #[test]
    fn drafts_of_a_worker_are_spared_until_its_step_is_settled() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path());
        store.prepare().unwrap();
        let key = Key::parse(&Digest::of(b"a").to_string()).unwrap();
        let record =
            Batch::record(vec![key], vec!["a".into()], Vec::new(), Resources::default(), Tries::default());
        let batch = Batch::create(&store, "run", record, &[], |_| String::new()).unwrap().unwrap();
        let name = worker_name(&batch, 0);
        assert!(!name.contains('.'), "the owner of a draft is its name up to the first dot");
        assert!(awaits(&store, &name));
        assert!(!awaits(&store, "20260101-000000-1"), "a run is none");
        batch.settle(0).unwrap();
        assert!(!awaits(&store, &name));
    }
}
