//! The GPUs of this machine.

use crate::disk;
use std::path::Path;

/// A GPU that this program can compute on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// The id by which `CUDA_VISIBLE_DEVICES` and leases name it.
    pub id: u32,
    /// Its product name.
    pub name: String,
    /// Its memory in bytes.
    pub memory: u64,
    /// Major and minor number of its compute capability.
    pub capability: (i32, i32),
    /// Its UUID, which stays the same whichever ids a job is given.
    pub identity: String,
}

/// Finds the GPUs that a kind can use, at least one, or says in one sentence why there are none. The result
/// is cached.
pub type Finder = fn() -> &'static Result<Vec<Gpu>, String>;

/// The ids of all GPUs of the machine, usable or not: those in `CUDA_VISIBLE_DEVICES` if it is set, else
/// every GPU with a device node.
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

/// The ids in `CUDA_VISIBLE_DEVICES`, in the order in which the driver numbers them; `None` if it is unset.
pub fn visible() -> Option<Vec<u32>> {
    let list = std::env::var("CUDA_VISIBLE_DEVICES").ok()?;
    Some(list.split(',').filter_map(|id| id.trim().parse().ok()).collect())
}
