//! `log`: the history of runs, or the events of one.

use super::Cache;
use clap::Args;
use engine::clock;
use engine::error::{Error, Result};
use engine::event::{Ended, Event, Failed};
use engine::runlog;
use engine::store::Store;
use engine::text;
use results::output::{self, table};
use serde_json::json;

/// Show the history of runs, or what happened in one
#[derive(Args)]
pub struct Log {
    #[command(flatten)]
    cache: Cache,
    /// The events of this run; `last` is the newest
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Keep the artifacts of this run from garbage collection
    #[arg(long, value_name = "ID")]
    pin: Option<String>,
    /// Take such a mark back
    #[arg(long, value_name = "ID")]
    unpin: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Log {
    pub fn run(self) -> Result<u8> {
        let store = self.cache.find()?;
        for (run, pinned) in
            self.pin.iter().map(|run| (run, true)).chain(self.unpin.iter().map(|run| (run, false)))
        {
            store.prepare()?;
            runlog::pin(&store, &known_run(&store, run)?, pinned)?;
        }
        match &self.run {
            Some(run) => events(&store, &known_run(&store, run)?, self.json)?,
            None => history(&store, self.json)?,
        }
        Ok(0)
    }
}

/// The name of a run that there is.
pub fn known_run(store: &Store, run: &str) -> Result<String> {
    let runs = runlog::runs(store)?;
    let found = match run {
        "last" => runs.last(),
        _ => runs.iter().find(|name| *name == run),
    };
    found.cloned().ok_or_else(|| {
        let newest = runs.last().map_or_else(String::new, |newest| format!("; the newest is {newest}"));
        Error::Usage(format!("there is no run {run} on this cache{newest}"))
    })
}

fn history(store: &Store, as_json: bool) -> Result<()> {
    let heading = ["run", "began", "pipeline", "computed", "cached", "skipped", "failed", "time", ""];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut values = Vec::new();
    for run in runlog::runs(store)? {
        let events = runlog::read(store, &run)?.unwrap_or_default();
        let Some((_, Event::Begun(begun))) = events.first() else { continue };
        let ended = match events.last() {
            Some((_, Event::Ended(ended))) => Some(ended.clone()),
            _ => None,
        };
        let state = match &ended {
            Some(_) => "",
            None if runlog::lives(store, &run)? => "in progress",
            None => "killed",
        };
        let pinned = runlog::is_pinned(store, &run);
        values.push(json!({"begun": begun, "ended": ended, "state": state, "pinned": pinned}));
        let mut row = vec![run.clone(), clock::date(begun.at), begun.name.clone()];
        match ended {
            Some(Ended { run: _, computed, cached, skipped, failed, seconds }) => {
                row.extend([computed, cached, skipped, failed].map(|count| count.to_string()));
                row.push(text::seconds(seconds));
            }
            None => row.extend(["-"; 5].map(str::to_owned)),
        }
        row.push(format!("{state}{}", if pinned { " pinned" } else { "" }));
        rows.push(row);
    }
    match as_json {
        true => output::write_json(&values),
        false => output::write(&table(&rows)),
    }
}

fn events(store: &Store, run: &str, as_json: bool) -> Result<()> {
    let events = runlog::read(store, run)?.unwrap_or_default();
    let mut text = String::new();
    for (seconds, event) in events {
        let line = match as_json {
            true => {
                let mut value = serde_json::to_value(&event).expect("events are plain data with text keys");
                value["t"] = json!(seconds);
                value.to_string()
            }
            false => format!("{seconds:>10.3}  {}", describe(&event)),
        };
        text.push_str(&line);
        text.push('\n');
    }
    output::write(&text)
}

fn describe(event: &Event) -> String {
    match event {
        Event::Begun(begun) => {
            format!("began {} on {}, version {}", begun.file.display(), begun.host, begun.version)
        }
        Event::Cached { step, key } => format!("cached {step} ({})", key.short()),
        Event::Due { step, key, reason } => format!("due {step} ({}): {reason}", key.short()),
        Event::Started { step, attempt, gpus } => match gpus.is_empty() {
            true => format!("started {step}, attempt {attempt}"),
            false => format!("started {step}, attempt {attempt}, GPUs {gpus:?}"),
        },
        Event::Waiting { step, process } => format!("waiting for {step}, held by process {process:?}"),
        Event::WaitingForGpu { step, process } => {
            format!("{step} waits for a GPU, held by process {process:?}")
        }
        Event::Note { step, text } => format!("{step}: {text}"),
        Event::Progress { step, done, total } => format!("{step}: {done}/{total}"),
        Event::Warning { step, text } => {
            format!("warning {}: {text}", step.as_deref().unwrap_or("of the run"))
        }
        Event::Computed { step, key, seconds, bytes } => {
            format!(
                "computed {step} ({}): {} in {}",
                key.short(),
                text::bytes(*bytes),
                text::seconds(*seconds)
            )
        }
        Event::Failed(Failed { step, why, log, attempt, .. }) => {
            let log = log.as_ref().map(|log| format!("; output in {}", log.display())).unwrap_or_default();
            format!("failed {step}, attempt {attempt}: {why}{log}")
        }
        Event::Skipped { step, why } => format!("skipped {step}: {why}"),
        Event::Absent { step, hint } => format!("absent {step}: {hint}"),
        Event::Stopping { signal } => format!("stopping: signal {signal}"),
        Event::Ended(ended) => format!("ended: {} computed, {} cached", ended.computed, ended.cached),
    }
}
