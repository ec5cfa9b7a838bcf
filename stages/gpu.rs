//! The GPUs of this machine: which there are, and which of them this program can compute on.

use crate::disk;
use crate::kit::tensor::card;
use std::path::Path;
use std::sync::OnceLock;

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

/// Those that this program can compute on, at least one, or one sentence that says why there are none. Asks the driver
/// once.
pub fn usable() -> &'static Result<Vec<Gpu>, String> {
    static FOUND: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
    FOUND.get_or_init(card::find)
}

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

/// What a GPU is called in every process of the machine: its UUID where that is known, else its id.
pub fn identity(id: u32) -> String {
    let found = usable().as_ref().ok().and_then(|gpus| gpus.iter().find(|gpu| gpu.id == id));
    found.map_or_else(|| id.to_string(), |gpu| gpu.identity.clone())
}

/// The ids that `CUDA_VISIBLE_DEVICES` leaves, in the order in which the driver then counts them; none where it is unset.
pub(crate) fn visible() -> Option<Vec<u32>> {
    let list = std::env::var("CUDA_VISIBLE_DEVICES").ok()?;
    Some(list.split(',').filter_map(|id| id.trim().parse().ok()).collect())
}
