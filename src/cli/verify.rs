//! `verify`: reads everything in the cache and reports damage.

use super::Cache;
use clap::Args;
use engine::error::Result;
use engine::text;
use results::output;
use serde_json::json;

/// The exit code if damage remains: the fault is the machine's.
const DAMAGED: u8 = 3;

/// Read everything in the cache and report damage
#[derive(Args)]
pub struct Verify {
    #[command(flatten)]
    cache: Cache,
    /// Move damaged artifacts to quarantine, so that the next run computes them again
    #[arg(long)]
    repair: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub fn run(self) -> Result<u8> {
        let store = self.cache.find()?;
        if self.repair {
            store.prepare()?;
        }
        let (checked, damages) = store.verify(self.repair)?;
        let left = damages.iter().filter(|damage| !damage.repaired).count();
        if self.json {
            output::write_json(&json!({"checked": checked, "damaged": damages}))?;
        } else {
            let mut report = String::new();
            for damage in &damages {
                let of = damage.step.as_ref().map(|step| format!(" (of {step})")).unwrap_or_default();
                let done =
                    if damage.repaired { "; now in quarantine, computed again when needed" } else { "" };
                report.push_str(&format!("damaged {}{of}: {}{done}\n", damage.path.display(), damage.found));
            }
            let mend = if left > 0 { "; mend with: pipeline verify --repair" } else { "" };
            report.push_str(&format!(
                "{} checked, {} damaged{mend}\n",
                text::count(checked, "artifact"),
                damages.len()
            ));
            output::write(&report)?;
        }
        Ok(if left > 0 { DAMAGED } else { 0 })
    }
}
