//! What earlier runs recorded for the same steps. Explanations compare against it.

use crate::error::Result;
use crate::key::{Key, Recipe};
use crate::reason::Reason;
use crate::record::Record;
use crate::store::Store;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The last key of each step of a pipeline file, and the run that named it.
#[derive(Debug, Default)]
pub struct History {
    last: HashMap<String, (Key, String)>,
}

impl History {
    /// Reads the newest runs of `file` until each of `steps` has been found. With `before`, only runs older
    /// than that run are read.
    pub fn read(
        store: &Store,
        file: &Path,
        steps: impl Iterator<Item = String>,
        before: Option<&str>,
    ) -> Result<History> {
        let mut wanted: HashSet<String> = steps.collect();
        let mut history = History::default();
        if wanted.is_empty() {
            return Ok(history);
        }
        for record in Record::of_file(store, file, before)? {
            let record = record?;
            for (step, key) in record.artifacts() {
                if wanted.remove(step) {
                    history.last.insert(step.to_owned(), (key, record.run.clone()));
                }
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(history)
    }

    /// The last key of a step and the run that named it.
    pub fn last(&self, step: &str) -> Option<(Key, &str)> {
        self.last.get(step).map(|(key, run)| (*key, run.as_str()))
    }

    /// Why the artifact of `recipe` is missing.
    pub fn reason(&self, store: &Store, step: &str, key: Key, recipe: &Recipe) -> Result<Reason> {
        let Some((last, run)) = self.last(step) else { return Ok(Reason::New) };
        let run = run.to_owned();
        if last == key {
            return Ok(Reason::Gone { run });
        }
        Ok(match store.recipe(last)? {
            Some(older) => Reason::Changed { run, changes: recipe.changes_since(&older) },
            None => Reason::Gone { run },
        })
    }
}
