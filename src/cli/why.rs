//! `why`: explains why a step ran, component by component.

use super::PipelineArgs;
use clap::Args;
use contract::stage::Kind;
use engine::clock;
use engine::error::Result;
use engine::graph::{Graph, Source as Input};
use engine::history::History;
use engine::reason::{Change, Reason};
use engine::state::State;
use engine::store::Store;
use engine::survey::Survey;
use engine::text;
use petgraph::graph::NodeIndex;
use results::output;
use serde_json::{Value, json};

/// Explain why a step ran, or would run
#[derive(Args)]
pub struct Why {
    #[command(flatten)]
    source: PipelineArgs,
    /// The step, for example `top[order=up]`
    step: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Why {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let node = graph.find(&self.step)?;
        let survey = Survey::until(graph, &store, node)?;
        let (report, value) = match survey.plan.state(node) {
            State::Cached(_) => explain_cached(&survey, node)?,
            State::Due(_) => explain_due(&survey, node)?,
            State::Waiting(_) => {
                let mut report = format!("{} waits for steps that are due\n", graph.steps[node].name);
                let mut values = Vec::new();
                for due in survey.waits_for(node) {
                    let (text, value) = explain_due(&survey, due)?;
                    report.push_str(&text);
                    values.push(value);
                }
                (report, json!({"step": graph.steps[node].name, "state": "waiting", "for": values}))
            }
            State::Absent(hint) => {
                let name = &graph.steps[node].name;
                (
                    format!("{name} is absent: {hint}\n"),
                    json!({"step": name, "state": "absent", "hint": hint}),
                )
            }
            other => {
                (format!("{} is {}\n", graph.steps[node].name, other.word()), json!({"state": other.word()}))
            }
        };
        match self.json {
            true => output::write_json(&value)?,
            false => output::write(&report)?,
        }
        Ok(0)
    }
}

fn explain_due(survey: &Survey<'_>, node: NodeIndex) -> Result<(String, Value)> {
    let graph = survey.plan.graph();
    let name = &graph.steps[node].name;
    let reason = survey.reason(node)?;
    let report = match &reason {
        Reason::New => format!("{name} is due: no run on this cache has computed it\n"),
        Reason::Changed { run, changes } => {
            format!(
                "{name} is due: its recipe has changed since run {run}\n{}",
                changes_table(graph, node, changes)
            )
        }
        other => format!("{name} is due: {other}\n"),
    };
    Ok((report, json!({"step": name, "state": "due", "reason": reason})))
}

/// Explains a cached step by comparing it with what it was before the run that computed it.
fn explain_cached(survey: &Survey<'_>, node: NodeIndex) -> Result<(String, Value)> {
    let (graph, store) = (survey.plan.graph(), survey.store);
    let name = &graph.steps[node].name;
    let recipe = survey.recipe(node).expect("a step with an artifact has a recipe");
    let key = survey.plan.state(node).key().expect("a step with an artifact has a key");
    let manifest = store.manifest(key)?;
    let mut report = format!("{name} is cached{}\n", made(store, Some(key))?);
    let mut reason = None;
    if let Some(manifest) = &manifest {
        if let Some(adopted) = &manifest.adopted {
            report.push_str(&format!(
                "it was adopted from {}, from which it differs in\n",
                adopted.from.short()
            ));
            report.push_str(&changes_table(graph, node, &adopted.changes));
        }
        let before = History::read(store, &graph.file, std::iter::once(name.clone()), Some(&manifest.run))?;
        let why = before.reason(store, name, key, &recipe)?;
        report.push_str(&match &why {
            Reason::New => "it was computed because it was new to this cache\n".to_owned(),
            Reason::Changed { run, changes } => {
                format!(
                    "it was computed because its recipe had changed since run {run}\n{}",
                    changes_table(graph, node, changes)
                )
            }
            other => format!("it was computed because {other}\n"),
        });
        reason = Some(why);
    }
    Ok((report, json!({"step": name, "state": "cached", "key": key, "manifest": manifest, "reason": reason})))
}

fn made(store: &Store, key: Option<engine::key::Key>) -> Result<String> {
    let manifest = key.map(|key| store.manifest(key)).transpose()?.flatten();
    Ok(manifest.map_or_else(String::new, |manifest| {
        format!(
            ": computed in run {} at {} in {}",
            manifest.run,
            clock::date(manifest.at),
            text::seconds(manifest.seconds)
        )
    }))
}

fn changes_table(graph: &Graph, node: NodeIndex, changes: &[Change]) -> String {
    let of = |change: &Change| {
        let Change { component, name, old: _, new: _ } = change;
        let from = if component == "input" { source_of(graph, node, name) } else { String::new() };
        format!("{component} {name}{from}")
    };
    output::was_and_is(changes.iter().map(|change| (of(change), change.shown())), ["was", "is"])
}

/// Names the source of an input.
fn source_of(graph: &Graph, node: NodeIndex, slot: &str) -> String {
    let input = graph.steps[node].inputs.iter().find(|input| input.slot == slot);
    match input.map(|input| &input.source) {
        Some(Input::Step(producer)) => format!(" (from {})", graph.steps[*producer].name),
        Some(Input::File { shown, .. }) => format!(" ({shown})"),
        _ => String::new(),
    }
}
