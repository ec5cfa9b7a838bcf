//! The GPUs of this machine.

use crate::disk;
use std::path::Path;

/// A GPU that this program can compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// As `CUDA_VISIBLE_DEVICES` counts them, and a lease names it.
    pub id: u32,
    /// What it calls itself.
    pub name: String,
    /// Its memory in bytes.
    pub memory: u64,
    /// Major and minor number of its compute capability.
    pub capability: (i32, i32),
    /// Its UUID: the same whatever ids a job is given.
    pub identity: String,
}

/// Finds the GPUs that a kind can compute on, at least one, or says in one sentence why there are none. Asks once.
pub type Finder = fn() -> &'static Result<Vec<Gpu>, String>;

/// The ids of all that the machine has, usable or not: those that `CUDA_VISIBLE_DEVICES` leaves, else every one with a
/// device node.
pub fn ids() -> Vec<u32> {
    visible().unwrap_or_else(|| {
        let nodes = disk::list(Path::new("/dev")).unwrap_or_default();
        let numbers =
            nodes.iter().filter_map(|(name, _)| name.to_str()?.strip_prefix("nvidia")?.parse().ok());
        let mut ids: Vec<u32> = numbers.collect();
        ids.sort_unstable();
        ids
    })
}

/// The ids that `CUDA_VISIBLE_DEVICES` leaves, in the order in which the driver then counts them; none where it is unset.
pub fn visible() -> Option<Vec<u32>> {
    let list = std::env::var("CUDA_VISIBLE_DEVICES").ok()?;
    Some(list.split(',').filter_map(|id| id.trim().parse().ok()).collect())
}
