//! `run`: computes what is due.

use super::{PipelineArgs, Steps};
use crate::console::{Console, Detail, JsonLines};
use clap::Args;
use contract::disk::fault;
use contract::gpu;
use contract::stage::{Kind, StopFlag};
use engine::device::{self, Wanted};
use engine::error::{Error, Result};
use engine::event::{Ended, Sink};
use engine::executor::Message;
use engine::parsed;
use engine::pools::{self, Pools};
use engine::run::{self, Options};
use engine::text;
use results::output;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

/// How long drafts have to be removed after a second signal.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// The process ends this long after the first signal, even if the loop hangs.
const LAST_RESORT: Duration = Duration::from_secs(24);

/// Compute what is due
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    source: PipelineArgs,
    #[command(flatten)]
    steps: Steps,
    /// How many processors steps may use [default: all]
    #[arg(short, long)]
    jobs: Option<usize>,
    /// The ids of the GPUs that may be leased to steps [default: all]
    #[arg(long, value_delimiter = ',', value_name = "IDS")]
    gpus: Option<Vec<u32>>,
    /// Continue with other steps after one has failed
    #[arg(short, long)]
    keep_going: bool,
    /// Show only warnings and failures
    #[arg(short, long)]
    quiet: bool,
    /// Print the events as JSON Lines
    #[arg(long)]
    json: bool,
}

impl Run {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        if self.jobs == Some(0) {
            return Err(Error::Usage("--jobs 0 leaves nobody to work; give 1 or more".to_owned()));
        }
        let (graph, store, new) = self.source.load_new(kinds)?;
        let cpus = self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into));
        if let Some(refusal) = device::refusal(graph, self.source.device) {
            return Err(Error::Device(refusal));
        }
        let gpus = match (self.gpus, self.source.device) {
            (Some(ids), _) => ids,
            (None, Wanted::Cuda(Some(id))) => vec![id],
            (None, _) => gpu::ids(),
        };
        let options = Options {
            selection: self.steps.select(graph)?,
            keep_going: self.keep_going,
            pools: Pools::new(cpus, pools::machine_memory(), gpus)
                .shared_in(pools::runtime_folder(), device::identities(device::usable(kinds))),
            arguments: std::env::args().collect(),
        };
        let stop = StopFlag::default();
        let (sender, receiver) = mpsc::channel();
        listen_to_signals(stop.clone(), sender.clone())?;
        let mut sink: Box<dyn Sink> = match self.json {
            true => Box::new(JsonLines),
            false => Box::new(Console::new(if self.quiet { Detail::Quiet } else { Detail::Normal })),
        };
        let (ended, result) = run::run(graph, kinds, &store, options, &mut *sink, stop, (sender, receiver))?;
        if let (Ok(()), Some(source)) = (&result, new) {
            parsed::remember(&store.memos(), &source)?;
        }
        if !self.json {
            match output::write(&summary(&ended)) {
                Err(Error::NobodyReads) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        result.map(|()| 0)
    }
}

fn summary(ended: &Ended) -> String {
    let Ended { run, computed, cached, skipped, failed, seconds } = ended;
    let time = text::seconds(*seconds);
    format!("run {run}: {computed} computed, {cached} cached, {skipped} skipped, {failed} failed in {time}\n")
}

/// The first signal asks the run to stop and the second one insists. A timer ends the process in any case.
fn listen_to_signals(stop: StopFlag, messages: Sender<Message>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| fault("listening for", Path::new("signals"), error))?;
    std::thread::spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            stop.raise();
            // The loop may have ended already, and then the process is about to end as well.
            let _ = messages.send(Message::Signal(signal));
            let wait = if count == 0 { LAST_RESORT } else { LAST_WORDS };
            std::thread::spawn(move || {
                std::thread::sleep(wait);
                std::process::exit(128 + signal);
            });
        }
    });
    Ok(())
}
