//! What the machine has, and what running steps have taken of it.

use crate::graph::Resources;
use stages::disk;
use std::collections::BTreeSet;
use std::path::Path;

/// What is free.
#[derive(Debug, Clone)]
pub struct Pools {
    all_cpus: usize,
    all_memory: u64,
    cpus: usize,
    memory: u64,
    gpus: BTreeSet<u32>,
}

/// What one step has taken; given back with [`Pools::give_back`].
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    /// Processors, which is also how many threads it may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// GPUs, by id.
    pub gpus: Vec<u32>,
}

impl Pools {
    /// All is free.
    pub fn new(cpus: usize, memory: u64, gpus: impl IntoIterator<Item = u32>) -> Pools {
        Pools { all_cpus: cpus, all_memory: memory, cpus, memory, gpus: gpus.into_iter().collect() }
    }

    /// How many GPUs are free.
    pub fn gpus(&self) -> usize {
        self.gpus.len()
    }

    /// Whether no step at all can start now.
    pub fn exhausted(&self) -> bool {
        self.cpus == 0
    }

    /// Takes what a step asks for, if it is free. A step that asks for more processors or memory than
    /// there are gets all of them: it runs alone.
    pub fn take(&mut self, wanted: &Resources) -> Option<Lease> {
        let cpus = wanted.cpus.clamp(1, self.all_cpus);
        let memory = wanted.memory.unwrap_or(0).min(self.all_memory);
        if cpus > self.cpus || memory > self.memory || wanted.gpus > self.gpus.len() {
            return None;
        }
        self.cpus -= cpus;
        self.memory -= memory;
        let gpus: Vec<u32> = self.gpus.iter().copied().take(wanted.gpus).collect();
        for id in &gpus {
            self.gpus.remove(id);
        }
        Some(Lease { cpus, memory, gpus })
    }

    /// Makes a lease free again.
    pub fn give_back(&mut self, lease: Lease) {
        let Lease { cpus, memory, gpus } = lease;
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

/// The GPUs of this machine: those that `CUDA_VISIBLE_DEVICES` leaves, else every one with a device node.
pub fn machine_gpus() -> Vec<u32> {
    if let Ok(visible) = std::env::var("CUDA_VISIBLE_DEVICES") {
        return visible.split(',').filter_map(|id| id.trim().parse().ok()).collect();
    }
    let nodes = disk::list(Path::new("/dev")).unwrap_or_default();
    let mut ids: Vec<u32> =
        nodes.iter().filter_map(|(name, _)| name.to_str()?.strip_prefix("nvidia")?.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(cpus: usize, memory: u64, gpus: usize) -> Resources {
        Resources { cpus, memory: Some(memory), gpus, time: None }
    }

    #[test]
    fn gpus_are_leased_by_id() {
        let mut pools = Pools::new(4, 100, [0, 1, 3]);
        let first = pools.take(&wanted(1, 0, 2)).unwrap();
        assert_eq!(first.gpus, [0, 1]);
        assert_eq!(pools.take(&wanted(1, 0, 2)), None);
        assert_eq!(pools.take(&wanted(1, 0, 1)).unwrap().gpus, [3]);
        pools.give_back(first);
        assert_eq!(pools.take(&wanted(1, 0, 1)).unwrap().gpus, [0]);
    }

    #[test]
    fn a_step_larger_than_the_machine_runs_alone() {
        let mut pools = Pools::new(2, 100, []);
        let lease = pools.take(&wanted(64, 1_000_000, 0)).unwrap();
        assert_eq!((lease.cpus, lease.memory), (2, 100));
        assert_eq!(pools.take(&wanted(1, 0, 0)), None);
        pools.give_back(lease);
        assert!(pools.take(&wanted(1, 0, 0)).is_some());
    }
}
