//! `worker`: computes one step that a run has given to a scheduler.

use clap::Args;
use contract::disk::fault;
use contract::stage::Kind;
use engine::attempt::{self, Calls};
use engine::error::{Error, Result};
use engine::journal::{End, Remark};
use results::output;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::path::{Path, PathBuf};

/// The exit code of a worker that saved a checkpoint because its job's time was almost over: the job is to be started
/// again. It is `EX_TEMPFAIL` of sysexits.h.
const AGAIN: u8 = 75;

/// Compute one step that a run has given to a scheduler
///
/// The jobs of a cluster's scheduler start it; see `run --profile`. It may be started any number of times: a step
/// whose artifact is in the cache is not computed again.
#[derive(Args)]
pub struct Worker {
    /// The step's file in the cache: jobs/BATCH/NUMBER.json
    file: PathBuf,
    /// Print what is written to the step's journal as JSON Lines
    #[arg(long)]
    json: bool,
}

impl Worker {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let file = std::path::absolute(&self.file).map_err(|error| fault("finding", &self.file, error))?;
        let calls = Calls::default();
        listen_to_signals(calls.clone())?;
        let json = self.json;
        let hear = move |remark: &Remark| {
            if json {
                let line = serde_json::to_string(remark).expect("remarks are plain data with text keys");
                // The journal has it all.
                let _ = output::write(&format!("{line}\n"));
            }
        };
        let end = attempt::run(&file, kinds, &calls, hear)?;
        if let (false, End::Failed { why, tail, .. }) = (self.json, &end) {
            eprintln!("failed: {why}");
            tail.iter().for_each(|line| eprintln!("  | {line}"));
        }
        match end {
            End::Computed { .. } | End::Hit => Ok(0),
            End::Failed { .. } => Err(Error::Stage { failed: 1 }),
            End::OutOfTime => Ok(AGAIN),
            End::Stopped => Err(Error::Signal(SIGTERM)),
        }
    }
}

fn listen_to_signals(calls: Calls) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])
        .map_err(|error| fault("listening for", Path::new("signals"), error))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => calls.warn(),
                _ => calls.stop.raise(),
            }
        }
    });
    Ok(())
}
