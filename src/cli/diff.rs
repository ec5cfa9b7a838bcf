//! `diff`: compares two steps or two runs.

use super::PipelineArgs;
use clap::Args;
use contract::stage::Kind;
use engine::error::{Error, Result};
use engine::graph::Graph;
use engine::key::Key;
use engine::memo::Memo;
use engine::reason::Change;
use engine::record::Record;
use engine::runlog;
use engine::store::{Artifact, Lookup, Manifest, Store};
use engine::survey::Survey;
use indexmap::IndexMap;
use results::diff;
use results::output::{self, table};
use serde_json::json;

/// Show how two steps, or two runs, differ: first their recipes, then their tables
#[derive(Args)]
pub struct Diff {
    #[command(flatten)]
    source: PipelineArgs,
    /// A step, or a run; `last` is the newest run
    first: String,
    /// The step or run to compare it with
    second: String,
    /// When comparing two runs, compare only this step, table by table
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// How many differing rows to show of each table
    #[arg(long, default_value_t = 3)]
    rows: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let runs = runlog::runs(&store)?;
        let is_run = |name: &str| name == "last" || runs.iter().any(|run| run == name);
        match (is_run(&self.first), is_run(&self.second)) {
            (true, true) => self.runs(graph, &store),
            (false, false) => {
                let [one, other] = [&self.first, &self.second].map(|name| current(graph, &store, name));
                let names = [self.first.clone(), self.second.clone()];
                self.artifacts(&store, names, one?, other?)
            }
            _ => Err(Error::Usage(format!(
                "diff {} {}: one is a run and the other is not; name two steps or two runs",
                self.first, self.second
            ))),
        }
    }

    fn runs(&self, graph: &Graph, store: &Store) -> Result<u8> {
        let [one, other] = [&self.first, &self.second].map(|run| keys(graph, store, run));
        let (one, other) = (one?, other?);
        if let Some(step) = &self.step {
            let name = &graph.steps[graph.find(step)?].name;
            let [a, b] = [(&one, &self.first), (&other, &self.second)].map(|(keys, run)| {
                keys.get(name)
                    .copied()
                    .ok_or_else(|| Error::Usage(format!("{name} was not part of run {run}")))
            });
            let [a, b] = [past(graph, store, a?, name)?, past(graph, store, b?, name)?];
            return self.artifacts(store, [self.first.clone(), self.second.clone()], a, b);
        }
        let mut rows = Vec::new();
        let mut values = Vec::new();
        let mut same = 0;
        let added = other.keys().filter(|step| !one.contains_key(*step));
        for step in one.keys().chain(added) {
            let (state, changes) = match (one.get(step), other.get(step)) {
                (Some(a), Some(b)) if a == b => {
                    same += 1;
                    continue;
                }
                (Some(a), Some(b)) => {
                    let outputs = [store.manifest(*a)?, store.manifest(*b)?]
                        .map(|manifest| manifest.map(|manifest| manifest.output));
                    let state = match outputs {
                        [Some(a), Some(b)] if a == b => "same output",
                        [Some(_), Some(_)] => "other output",
                        _ => "an artifact is gone",
                    };
                    (state, changed(store, *a, *b)?)
                }
                (Some(_), None) => ("only in the first", Vec::new()),
                (None, _) => ("only in the second", Vec::new()),
            };
            let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
            rows.push(vec![step.clone(), state.to_owned(), told.join("; ")]);
            values.push(json!({"step": step, "state": state, "changes": changes}));
        }
        if self.json {
            output::write_json(
                &json!({"first": self.first, "second": self.second, "same": same, "steps": values}),
            )?;
            return Ok(0);
        }
        output::write(&format!(
            "{}{} the same in both\n",
            table(&rows),
            match same {
                1 => "1 step is".to_owned(),
                same => format!("{same} steps are"),
            }
        ))?;
        Ok(0)
    }

    fn artifacts(&self, store: &Store, names: [String; 2], one: Found, other: Found) -> Result<u8> {
        let changes = changed(store, one.0.key(), other.0.key())?;
        let found = diff::artifacts((&one.0, &one.1), (&other.0, &other.1), self.rows)
            .map_err(|error| Error::Device(format!("{error:#}")))?;
        if self.json {
            output::write_json(
                &json!({"first": names[0], "second": names[1], "recipe": changes, "files": found}),
            )?;
            return Ok(0);
        }
        let [first, second] = names;
        let mut text = match changes.is_empty() {
            true => format!("{first} and {second} have the same recipe\n"),
            false => {
                let of = |change: &Change| (format!("{} {}", change.component, change.name), change.shown());
                output::was_and_is(changes.iter().map(of), [&first, &second])
            }
        };
        text.push('\n');
        text.push_str(&found.to_text());
        output::write(&text)?;
        Ok(0)
    }
}

fn changed(store: &Store, one: Key, other: Key) -> Result<Vec<Change>> {
    let (Some(older), Some(newer)) = (store.recipe(one)?, store.recipe(other)?) else {
        return Ok(Vec::new());
    };
    Ok(newer.changes_since(&older))
}

/// An artifact and its manifest.
type Found = (Artifact, Manifest);

/// The artifact of a step of the current pipeline file.
fn current(graph: &Graph, store: &Store, name: &str) -> Result<Found> {
    let node = graph.find(name)?;
    let survey = Survey::until(graph, store, node)?;
    let state = survey.plan.state(node);
    let artifact = state.artifact().ok_or_else(|| {
        let step = &graph.steps[node].name;
        Error::Usage(format!(
            "{step} has no artifact (it is {}); compute it with: pipeline run {} --until '{step}'",
            state.word(),
            graph.file.display()
        ))
    })?;
    Ok((artifact.clone(), artifact.manifest()?.ok_or_else(|| gone(name))?))
}

/// The artifact of a step in an earlier run.
fn past(graph: &Graph, store: &Store, key: Key, name: &str) -> Result<Found> {
    match store.open(key, &Memo::open_to_look(&store.memos(), &graph.file)?)? {
        Lookup::Hit(artifact) => {
            let manifest = artifact.manifest()?.ok_or_else(|| gone(name))?;
            Ok((artifact, manifest))
        }
        Lookup::Miss => Err(gone(name)),
        Lookup::Damaged(found) => Err(Error::Usage(format!("the artifact of {name} is damaged: {found}"))),
    }
}

fn gone(step: &str) -> Error {
    Error::Usage(format!("the artifact of {step} is gone; run the pipeline again"))
}

/// The key of every step that a run computed or found in the cache.
fn keys(graph: &Graph, store: &Store, run: &str) -> Result<IndexMap<String, Key>> {
    let record = Record::find(store, run, Some(&graph.file))?;
    Ok(record.artifacts().map(|(step, key)| (step.to_owned(), key)).collect())
}
