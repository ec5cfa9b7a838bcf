//! Reads the records of runs: the only code that interprets their lines.
//!
//! A record is history, not state, so damaged lines are skipped.

use crate::error::{Error, Result};
use crate::event::{Begun, Ended, Event};
use crate::key::Key;
use crate::runlog::{self, Line};
use crate::store::Store;
use contract::disk;
use std::collections::HashSet;
use std::path::Path;

/// How many runs of one pipeline file are searched.
const SEARCHED: usize = 100;

/// What a run did.
#[derive(Debug)]
pub struct Record {
    /// The run's name.
    pub run: String,
    /// The events, each with the seconds since the run began.
    pub events: Vec<(f64, Event)>,
}

/// The status of a run.
#[derive(Debug)]
pub enum Standing {
    /// It ended.
    Ended(Ended),
    /// It is going on.
    InProgress,
    /// It died without ending its record.
    Killed,
}

impl Record {
    /// The record of a run; empty if the run's record was removed meanwhile.
    pub fn read(store: &Store, run: &str) -> Result<Record> {
        let bytes = disk::read_if_there(&runlog::path_of(store, run))?.unwrap_or_default();
        Ok(Record { run: run.to_owned(), events: parse(&bytes) })
    }

    /// The record of the run with this name; `last` means the newest run, of this pipeline file if one is
    /// given.
    pub fn find(store: &Store, name: &str, file: Option<&Path>) -> Result<Record> {
        let runs = runlog::runs(store)?;
        if let Some(run) = runs.iter().find(|run| *run == name) {
            return Record::read(store, run);
        }
        let newest = match file {
            Some(file) => Record::of_file(store, file, None)?.next().transpose()?,
            None => runs.last().map(|run| Record::read(store, run)).transpose()?,
        };
        match newest {
            Some(newest) if name == "last" => Ok(newest),
            newest => {
                let of = if file.is_some() { "of this file " } else { "" };
                Err(Error::Usage(match newest {
                    Some(newest) => {
                        format!("there is no run {name} on this cache; the newest {of}is {}", newest.run)
                    }
                    None if name == "last" => format!("there is no run {of}on this cache yet"),
                    None => format!("there is no run {name} on this cache"),
                }))
            }
        }
    }

    /// The newest runs of a pipeline file, newest first. With `before`, only runs older than that one.
    pub fn of_file<'s>(
        store: &'s Store,
        file: &'s Path,
        before: Option<&'s str>,
    ) -> Result<impl Iterator<Item = Result<Record>> + 's> {
        let read = move |run: String| -> Result<Option<Record>> {
            let bytes = disk::read_if_there(&runlog::path_of(store, &run))?.unwrap_or_default();
            // The first line names the pipeline file; parse the rest only if it matches.
            let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let ours = matches!(&parse(first)[..], [(_, Event::Begun(begun))] if begun.file == file);
            Ok(ours.then(|| Record { run, events: parse(&bytes) }))
        };
        let older = move |run: &String| before.is_none_or(|before| run.as_str() < before);
        let runs = runlog::runs(store)?.into_iter().rev().filter(older);
        Ok(runs.filter_map(move |run| read(run).transpose()).take(SEARCHED))
    }

    /// The run's first event.
    pub fn begun(&self) -> Option<&Begun> {
        match self.events.first() {
            Some((_, Event::Begun(begun))) => Some(begun),
            _ => None,
        }
    }

    /// The run's status.
    pub fn standing(&self, store: &Store) -> Result<Standing> {
        Ok(match self.events.last() {
            Some((_, Event::Ended(ended))) => Standing::Ended(ended.clone()),
            _ if runlog::lives(store, &self.run)? => Standing::InProgress,
            _ => Standing::Killed,
        })
    }

    /// Every artifact that the run made or found, by step. Keys that were merely due are left out.
    pub fn artifacts(&self) -> impl Iterator<Item = (&str, Key)> {
        let made = self.events.iter().filter(|(_, event)| !matches!(event, Event::Due { .. }));
        made.filter_map(|(_, event)| event.key())
    }

    /// The steps that the run computed.
    pub fn computed(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter_map(|(_, event)| match event {
            Event::Computed { step, .. } => Some(step.as_str()),
            _ => None,
        })
    }
}

fn parse(bytes: &[u8]) -> Vec<(f64, Event)> {
    let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    lines.map(|Line { t, event }| (t, event)).collect()
}

/// Every key named by a run that is pinned or in progress, including keys that were merely due.
pub fn needed(store: &Store) -> Result<HashSet<Key>> {
    let mut keys = HashSet::new();
    for run in runlog::runs(store)? {
        if runlog::is_pinned(store, &run) || runlog::lives(store, &run)? {
            let record = Record::read(store, &run)?;
            keys.extend(record.events.iter().filter_map(|(_, event)| Some(event.key()?.1)));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_line_is_passed_over() {
        let text = concat!(
            r#"{"t":0,"event":"stopping","signal":2}"#,
            "\n{\"t\":1,\"event\":\"comp\n",
            r#"{"t":2.5,"event":"stopping","signal":15}"#,
            "\n"
        );
        let events = [(0.0, Event::Stopping { signal: 2 }), (2.5, Event::Stopping { signal: 15 })];
        assert_eq!(parse(text.as_bytes()), events);
    }
}
