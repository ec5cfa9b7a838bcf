//! The machine's resources, and how much of them running steps have leased.

use crate::error::Result;
use crate::graph::Resources;
use crate::store::{Attempt, Lock};
use contract::disk;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The resources of the machine and how much is free.
#[derive(Debug)]
pub struct Pools {
    all_cpus: usize,
    all_memory: u64,
    cpus: usize,
    memory: u64,
    gpus: BTreeSet<u32>,
    /// The folder where runs on this machine lock the GPUs that they lease.
    shared_in: Option<PathBuf>,
    /// The name of each GPU's lock file, if it has a name besides its id.
    identities: BTreeMap<u32, String>,
}

/// The resources leased to one step; returned with [`Pools::give_back`].
#[derive(Debug)]
pub struct Lease {
    /// CPUs, which is also the number of threads it may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// GPUs, by id.
    pub gpus: Vec<u32>,
    /// One kernel lock per GPU: its holder owns the GPU, and the kernel frees it however the run ends.
    locks: Vec<Lock>,
}

/// The result of asking for resources.
#[derive(Debug)]
pub enum Taken {
    /// It is leased.
    Lease(Lease),
    /// Other steps of this run hold what is missing.
    Later,
    /// Another run holds a GPU that is missing; the process, if known.
    Elsewhere(Option<u32>),
}

impl Pools {
    /// Pools with everything free.
    pub fn new(cpus: usize, memory: u64, gpus: impl IntoIterator<Item = u32>) -> Pools {
        let gpus = gpus.into_iter().collect();
        Pools {
            all_cpus: cpus,
            all_memory: memory,
            cpus,
            memory,
            gpus,
            shared_in: None,
            identities: BTreeMap::new(),
        }
    }

    /// Leases each GPU to one run on the machine at a time, by locks in this folder.
    pub fn shared_in(self, folder: PathBuf, identities: BTreeMap<u32, String>) -> Pools {
        Pools { shared_in: Some(folder), identities, ..self }
    }

    /// How many GPUs are free.
    pub fn gpus(&self) -> usize {
        self.gpus.len()
    }

    /// How many CPUs there are, free or not.
    pub fn all_cpus(&self) -> usize {
        self.all_cpus
    }

    /// Whether no further step can start now.
    pub fn exhausted(&self) -> bool {
        self.cpus == 0
    }

    /// Leases what a step asks for, if it is free. A step that asks for more CPUs or memory than the machine
    /// has gets all of it and runs alone.
    pub fn take(&mut self, wanted: &Resources) -> Result<Taken> {
        let cpus = wanted.cpus.clamp(1, self.all_cpus);
        let memory = wanted.memory.unwrap_or(0).min(self.all_memory);
        if cpus > self.cpus || memory > self.memory || wanted.gpus > self.gpus.len() {
            return Ok(Taken::Later);
        }
        let (mut gpus, mut locks, mut elsewhere) = (Vec::new(), Vec::new(), None);
        for id in &self.gpus {
            if gpus.len() == wanted.gpus {
                break;
            }
            match self.lock(*id)? {
                None => gpus.push(*id),
                Some(Attempt::Taken(lock)) => {
                    gpus.push(*id);
                    locks.push(lock);
                }
                Some(Attempt::Busy(process)) => elsewhere = process,
            }
        }
        if gpus.len() < wanted.gpus {
            return Ok(Taken::Elsewhere(elsewhere));
        }
        self.cpus -= cpus;
        self.memory -= memory;
        for id in &gpus {
            self.gpus.remove(id);
        }
        Ok(Taken::Lease(Lease { cpus, memory, gpus, locks }))
    }

    /// Tries to lock a GPU; `None` if GPUs are not shared with other runs.
    fn lock(&self, id: u32) -> Result<Option<Attempt>> {
        let Some(folder) = &self.shared_in else { return Ok(None) };
        disk::create_folders(folder)?;
        let identity = self.identities.get(&id).cloned().unwrap_or_else(|| id.to_string());
        Ok(Some(Lock::try_alone(&folder.join(identity))?))
    }

    /// Returns a lease to the pools.
    pub fn give_back(&mut self, lease: Lease) {
        let Lease { cpus, memory, gpus, locks } = lease;
        drop(locks);
        self.cpus += cpus;
        self.memory += memory;
        self.gpus.extend(gpus);
    }
}

/// The memory of this machine in bytes.
pub fn machine_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.map_or(u64::MAX, |kibibytes| kibibytes * 1024)
}

/// The folder for locks between this user's runs on this machine: it is emptied by a reboot, which also ends
/// the processes.
pub fn runtime_folder() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| Path::new(folder).is_dir());
    let root = own.map_or_else(std::env::temp_dir, PathBuf::from);
    root.join(format!("pipeline-gpus-{}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(cpus: usize, memory: u64, gpus: usize) -> Resources {
        Resources { cpus, memory: Some(memory), gpus, time: None }
    }

    fn take(pools: &mut Pools, wanted: &Resources) -> Option<Lease> {
        match pools.take(wanted).unwrap() {
            Taken::Lease(lease) => Some(lease),
            Taken::Later | Taken::Elsewhere(_) => None,
        }
    }

    #[test]
    fn gpus_are_leased_by_id() {
        let mut pools = Pools::new(4, 100, [0, 1, 3]);
        let first = take(&mut pools, &wanted(1, 0, 2)).unwrap();
        assert_eq!(first.gpus, [0, 1]);
        assert!(take(&mut pools, &wanted(1, 0, 2)).is_none());
        assert_eq!(take(&mut pools, &wanted(1, 0, 1)).unwrap().gpus, [3]);
        pools.give_back(first);
        assert_eq!(take(&mut pools, &wanted(1, 0, 1)).unwrap().gpus, [0]);
    }

    #[test]
    fn a_gpu_belongs_to_one_run_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let shared = || Pools::new(4, 100, [6, 7]).shared_in(folder.path().to_owned(), BTreeMap::new());
        let (mut one, mut other) = (shared(), shared());
        let first = take(&mut one, &wanted(1, 0, 1)).unwrap();
        assert_eq!(first.gpus, [6]);
        let second = take(&mut other, &wanted(1, 0, 1)).unwrap();
        assert_eq!(second.gpus, [7], "a card that another run has is passed over");
        let both = other.take(&wanted(1, 0, 1)).unwrap();
        assert!(matches!(both, Taken::Elsewhere(Some(_))), "{both:?}");
        one.give_back(first);
        assert_eq!(take(&mut other, &wanted(1, 0, 1)).unwrap().gpus, [6]);
    }

    #[test]
    fn a_step_larger_than_the_machine_runs_alone() {
        let mut pools = Pools::new(2, 100, []);
        let lease = take(&mut pools, &wanted(64, 1_000_000, 0)).unwrap();
        assert_eq!((lease.cpus, lease.memory), (2, 100));
        assert!(take(&mut pools, &wanted(1, 0, 0)).is_none());
        pools.give_back(lease);
        assert!(take(&mut pools, &wanted(1, 0, 0)).is_some());
    }
}
