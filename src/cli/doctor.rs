//! `doctor`: checks that this machine has what runs need.

use super::Cache;
use clap::Args;
use contract::disk;
use contract::gpu;
use contract::stage::Kind;
use engine::device;
use engine::error::Result;
use engine::pools;
use engine::store::{Lock, Store};
use engine::text;
use results::output::{self, table};
use serde_json::json;
use std::process::Command;

/// With less free space than this, a run is likely to fill the disk.
const LITTLE_SPACE: u64 = 1 << 30;

/// Check that this machine has what runs need
#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    cache: Cache,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

struct Check {
    name: &'static str,
    good: bool,
    found: String,
}

impl Doctor {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let store = self.cache.find()?;
        store.prepare()?;
        let checks = [shell(), locks(&store)?, space(&store)?, processors(), gpus(kinds)];
        if self.json {
            let values: Vec<_> = checks
                .iter()
                .map(|Check { name, good, found }| json!({"check": name, "good": good, "found": found}))
                .collect();
            output::write_json(&values)?;
        } else {
            let mark = |good| if good { "good" } else { "BAD" };
            let rows = checks
                .iter()
                .map(|check| vec![check.name.into(), mark(check.good).into(), check.found.clone()]);
            output::write(&table(&rows.collect::<Vec<Vec<String>>>()))?;
        }
        Ok(if checks.iter().all(|check| check.good) { 0 } else { 3 })
    }
}

fn shell() -> Check {
    let ran = Command::new("sh").args(["-c", "exit 7"]).status();
    let good = matches!(&ran, Ok(status) if status.code() == Some(7));
    let found = if good { "`sh` runs" } else { "`sh` does not run; `command` stages need it" };
    Check { name: "shell", good, found: found.to_owned() }
}

/// Really takes a lock: some file systems accept the call but lock nothing.
fn locks(store: &Store) -> Result<Check> {
    let path = store.memos().join("doctor.lock");
    let held = Lock::alone(&path)?;
    let works = matches!(Lock::try_alone(&path)?, engine::store::Attempt::Busy(_));
    held.release()?;
    let root = store.root().display();
    let found = match works {
        true => format!("kernel locks work in {root}"),
        false => format!("{root} has no working locks: runs at the same time may compute a step twice"),
    };
    Ok(Check { name: "locks", good: works, found })
}

fn space(store: &Store) -> Result<Check> {
    let free = disk::free_bytes(store.root())?;
    let found = format!("{} free in {}", text::bytes(free), store.root().display());
    Ok(Check { name: "space", good: free >= LITTLE_SPACE, found })
}

fn processors() -> Check {
    let cpus = std::thread::available_parallelism().map_or(1, Into::into);
    let found = format!("{cpus} processors, {} of memory", text::bytes(pools::machine_memory()));
    Check { name: "machine", good: true, found }
}

fn gpus(kinds: &[Kind]) -> Check {
    let able = device::kinds(kinds).join(", ");
    let found = match (device::usable(kinds), gpu::ids().as_slice()) {
        (Ok(found), _) => {
            let all: Vec<String> = found.iter().map(device::shown).collect();
            format!("{}; {able} compute there unless --device cpu says otherwise", all.join(", "))
        }
        (Err(why), []) => format!("none; every step computes on the processor: {why}"),
        (Err(why), ids) => format!("ids {ids:?}, for commands; {able} compute on the processor: {why}"),
    };
    Check { name: "GPUs", good: true, found }
}
