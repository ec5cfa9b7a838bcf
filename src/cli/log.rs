//! `log`: the history of runs, or the events of one.

use super::Cache;
use clap::Args;
use engine::clock;
use engine::error::Result;
use engine::event::{Ended, Event, Failed};
use engine::record::{Record, Standing};
use engine::runlog;
use engine::store::Store;
use engine::text;
use results::output::{self, table};
use serde_json::json;
use std::path::Path;

/// Show the history of runs, all or those of one pipeline file, or the events of one run
#[derive(Args)]
pub struct Log {
    #[command(flatten)]
    cache: Cache,
    /// Show the events of this run; `last` is the newest run
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Protect the artifacts of this run from garbage collection
    #[arg(long, value_name = "ID")]
    pin: Option<String>,
    /// Remove the protection that --pin gave
    #[arg(long, value_name = "ID")]
    unpin: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Log {
    pub fn run(self) -> Result<u8> {
        let store = self.cache.find()?;
        let file = self.cache.file();
        let file = file.as_deref();
        for (run, pinned) in
            self.pin.iter().map(|run| (run, true)).chain(self.unpin.iter().map(|run| (run, false)))
        {
            store.prepare()?;
            runlog::pin(&store, &Record::find(&store, run, file)?.run, pinned)?;
        }
        match &self.run {
            Some(run) => events(&Record::find(&store, run, file)?, self.json)?,
            None => history(&store, file, self.json)?,
        }
        Ok(0)
    }
}

fn history(store: &Store, file: Option<&Path>, as_json: bool) -> Result<()> {
    let heading = ["run", "began", "pipeline", "computed", "cached", "skipped", "failed", "time", ""];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut values = Vec::new();
    for run in runlog::runs(store)? {
        let record = Record::read(store, &run)?;
        let Some(begun) = record.begun().filter(|begun| file.is_none_or(|file| begun.file == file)) else {
            continue;
        };
        let (state, ended) = match record.standing(store)? {
            Standing::Ended(ended) => ("", Some(ended)),
            Standing::InProgress => ("in progress", None),
            Standing::Killed => ("killed", None),
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
        false if values.is_empty() && file.is_some() => {
            output::write("no run of this file on this cache yet\n")
        }
        false if values.is_empty() => output::write("no run on this cache yet\n"),
        false => output::write(&table(&rows)),
    }
}

fn events(record: &Record, as_json: bool) -> Result<()> {
    let mut text = String::new();
    for (seconds, event) in &record.events {
        let line = match as_json {
            true => {
                let mut value = serde_json::to_value(event).expect("events are plain data with text keys");
                value["t"] = json!(seconds);
                value.to_string()
            }
            false => format!("{seconds:>10.3}  {}", describe(event)),
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
        Event::Cached { step, key, warnings: _ } => format!("cached {step} ({})", key.short()),
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
        Event::Remark { step, text } => format!("note {step}: {text}"),
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
