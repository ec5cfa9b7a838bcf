//! Why a step is due: the difference between its recipe and the one it had before.

use crate::key::{Digest, Recipe};
use crate::text;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Why a step is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Reason {
    /// No earlier run on this cache contains this step.
    New,
    /// An earlier run used a different recipe.
    Changed {
        /// The run that used the older artifact.
        run: String,
        /// What differs.
        changes: Vec<Change>,
    },
    /// The same recipe was computed before, but its artifact was removed.
    Gone {
        /// The run that had it.
        run: String,
    },
    /// The artifact was damaged.
    Damaged {
        /// What was found.
        found: String,
    },
    /// `--force` asked for it.
    Forced,
}

impl Reason {
    /// Whether an earlier recipe exists and differs only in these components.
    pub fn only_differs_in(&self, components: &[&str]) -> bool {
        match self {
            Reason::Changed { changes, .. } => {
                changes.iter().all(|change| components.contains(&change.component.as_str()))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::New => f.write_str("new"),
            Reason::Changed { changes, .. } => {
                for (i, change) in changes.iter().enumerate() {
                    write!(f, "{}{change}", if i > 0 { "; " } else { "" })?;
                }
                Ok(())
            }
            Reason::Gone { run } => write!(f, "its artifact of run {run} is gone"),
            Reason::Damaged { found } => write!(f, "its artifact was damaged: {found}"),
            Reason::Forced => f.write_str("forced"),
        }
    }
}

/// One component of a recipe that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `param`, `input`, `code`, `device`, `platform`, `kind` or `format`.
    pub component: String,
    /// The name within the component, if it has several entries.
    pub name: String,
    /// The old value; `None` if the entry is new.
    pub old: Option<String>,
    /// The new value; `None` if the entry was removed.
    pub new: Option<String>,
}

impl Change {
    fn new(component: &str, name: &str, old: Option<impl ToString>, new: Option<impl ToString>) -> Change {
        Change {
            component: component.to_owned(),
            name: name.to_owned(),
            old: old.map(|value| value.to_string()),
            new: new.map(|value| value.to_string()),
        }
    }
}

impl Change {
    /// Both values for display: digests shortened, long texts cut to where they differ, `-` for a missing
    /// value.
    pub fn shown(&self) -> (String, String) {
        // To a person a digest only says that something differs, so a few characters are enough.
        let short = |value: &Option<String>| match value {
            Some(text) => Digest::parse(text).map_or_else(|| text.clone(), |digest| digest.short()),
            None => "-".to_owned(),
        };
        text::difference(&short(&self.old), &short(&self.new))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { component, name, old, new } = self;
        f.write_str(component)?;
        if !name.is_empty() {
            write!(f, " {name}")?;
        }
        let (was, is) = self.shown();
        match (old, new) {
            (Some(_), Some(_)) => write!(f, ": {was} → {is}"),
            (None, Some(_)) => write!(f, ": new ({is})"),
            (Some(_), None) => write!(f, ": gone (was {was})"),
            (None, None) => Ok(()),
        }
    }
}

fn compare_maps<T: ToString + PartialEq>(
    component: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    changes: &mut Vec<Change>,
) {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let (before, after) = (old.get(name), new.get(name));
        if before != after {
            changes.push(Change::new(
                component,
                name,
                before.map(ToString::to_string),
                after.map(ToString::to_string),
            ));
        }
    }
}

/// Descends into maps, to name the exact param that differs.
fn compare_params(path: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    if let (Value::Object(before), Value::Object(after)) = (old, new) {
        let added = after.keys().filter(|name| !before.contains_key(*name));
        for name in before.keys().chain(added) {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match (before.get(name), after.get(name)) {
                (Some(old), Some(new)) => compare_params(&inner, old, new, changes),
                (old, new) => changes.push(Change::new("param", &inner, old, new)),
            }
        }
    } else if old != new {
        changes.push(Change::new("param", path, Some(old), Some(new)));
    }
}

impl Recipe {
    /// The differences from an older recipe.
    pub fn changes_since(&self, older: &Recipe) -> Vec<Change> {
        let Recipe { format, kind, code, params, device, inputs, platform } = self;
        let mut changes = Vec::new();
        if *format != older.format {
            changes.push(Change::new("format", "", Some(older.format), Some(format)));
        }
        if *kind != older.kind {
            changes.push(Change::new("kind", "", Some(&older.kind), Some(kind)));
        }
        if *device != older.device {
            changes.push(Change::new("device", "", older.device.as_ref(), device.as_ref()));
        }
        compare_params("", &older.params, params, &mut changes);
        compare_maps("input", &older.inputs, inputs, &mut changes);
        compare_maps("platform", &older.platform, platform, &mut changes);
        compare_maps("code", &older.code, code, &mut changes);
        if *device != older.device {
            // Code that only one of the two devices runs is already explained by the change of device.
            changes
                .retain(|change| change.component != "code" || change.old.is_some() && change.new.is_some());
        }
        changes
    }
}
