//! `gc`: removes old artifacts and says how long recomputing them would take.

use super::Cache;
use clap::Args;
use engine::error::{Error, Result};
use engine::quantity;
use engine::record;
use engine::runlog;
use engine::store::Limits;
use engine::text;
use results::output;
use serde_json::json;

/// Only this many run records are kept; older ones are removed together with the artifacts.
const RUNS_KEPT: usize = 1000;

/// Remove old artifacts
#[derive(Args)]
pub struct Gc {
    #[command(flatten)]
    cache: Cache,
    /// Remove the oldest artifacts until the rest fits this size: `20GiB`
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
    /// Remove artifacts older than this: `30d`, `12h`
    #[arg(long, value_name = "TIME")]
    older_than: Option<String>,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub fn run(self) -> Result<u8> {
        if self.max_size.is_none() && self.older_than.is_none() {
            let hint = "say what may go: --max-size 20GiB, --older-than 30d, or both";
            return Err(Error::Usage(hint.to_owned()));
        }
        let limits = Limits {
            older_than: self
                .older_than
                .as_deref()
                .map(quantity::duration)
                .transpose()
                .map_err(|why| Error::Usage(format!("--older-than: {why}")))?,
            max_bytes: self
                .max_size
                .as_deref()
                .map(quantity::bytes)
                .transpose()
                .map_err(|why| Error::Usage(format!("--max-size: {why}")))?,
        };
        let store = self.cache.find()?;
        store.prepare()?;
        let candidates = store.candidates(limits, &record::needed(&store)?)?;
        let removed = match self.dry_run {
            true => candidates,
            false => {
                runlog::forget_all_but(&store, RUNS_KEPT)?;
                store.sweep(|run| runlog::lives(&store, run).unwrap_or(true))?;
                store.collect(candidates, || record::needed(&store))?
            }
        };
        let bytes: u64 = removed.iter().map(|candidate| candidate.bytes).sum();
        let seconds = removed.iter().fold(0.0, |sum, candidate| sum + candidate.seconds);
        if self.json {
            output::write_json(
                &json!({"dry_run": self.dry_run, "bytes": bytes, "seconds": seconds, "removed": removed}),
            )?;
            return Ok(0);
        }
        let word = if self.dry_run { "would remove" } else { "removed" };
        let mut report = String::new();
        for candidate in &removed {
            let age = text::seconds(candidate.age_seconds as f64);
            report.push_str(&format!(
                "{word} {} ({}, {age} old)\n",
                candidate.step,
                text::bytes(candidate.bytes)
            ));
        }
        let count = text::count(removed.len(), "artifact");
        let size = text::bytes(bytes);
        report.push_str(&format!("{word} {count}, {size}; to compute again: {}\n", text::seconds(seconds)));
        output::write(&report)?;
        Ok(0)
    }
}
