//! Finds the params and wires that distinguish rows.

use engine::graph::{Graph, Source};
use engine::text;
use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// All values of each param and wire, by stage, over all stages upstream of a row.
pub type Facts<'g> = IndexMap<&'g str, IndexMap<String, BTreeSet<String>>>;

/// Collects everything that determines the result of some steps.
pub fn facts<'g>(graph: &'g Graph, nodes: &[NodeIndex]) -> Facts<'g> {
    let mut facts = Facts::new();
    let mut above = nodes.to_vec();
    let mut seen: HashSet<NodeIndex> = nodes.iter().copied().collect();
    while let Some(node) = above.pop() {
        let step = &graph.steps[node];
        let of_stage = facts.entry(step.stage.as_str()).or_default();
        let mut learn = |name: String, value: String| {
            of_stage.entry(name).or_default().insert(value);
        };
        learn("kind".to_owned(), step.kind.name.to_owned());
        flatten(String::new(), &step.prepared.params, &mut learn);
        for input in &step.inputs {
            let from = match &input.source {
                Source::Step(producer) => graph.steps[*producer].stage.clone(),
                Source::File { shown, .. } => shown.clone(),
                Source::Unset { .. } => "none".to_owned(),
            };
            learn(format!("in.{}", input.slot), from);
        }
        for producer in graph.steps.neighbors_directed(node, Direction::Incoming) {
            if seen.insert(producer) {
                above.push(producer);
            }
        }
    }
    facts
}

fn flatten(path: String, value: &Value, learn: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(path, value, learn);
            }
        }
        Value::String(text) => learn(path, text.trim().replace('\n', "⏎ ")),
        other => learn(path, other.to_string()),
    }
}

/// In stages that the reference lacks, the params and wires that are not the same in all rows: they distinguish rows
/// that were reached by the same new wire.
pub fn beyond<'g>(reference: &Facts<'g>, rows: &[Facts<'g>]) -> HashSet<(&'g str, String)> {
    let mut values: HashMap<(&'g str, &str), HashSet<&BTreeSet<String>>> = HashMap::new();
    for (stage, facts) in rows.iter().flatten().filter(|(stage, _)| !reference.contains_key(*stage)) {
        for (name, value) in facts {
            values.entry((*stage, name)).or_default().insert(value);
        }
    }
    let differing = values.into_iter().filter(|(_, values)| values.len() > 1);
    differing.map(|((stage, name), _)| (stage, name.to_owned())).collect()
}

/// What differs from a reference, then what is in `beyond`. If a stage has another kind, its params are not listed.
pub fn differences<'g>(
    reference: &Facts<'g>,
    own: &Facts<'g>,
    beyond: &HashSet<(&'g str, String)>,
    label: Option<&str>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut tell = |stage: &str, name: &str, was: &str, is: &str| {
        // The row may be named after this value.
        if label != Some(is) {
            found.push((format!("{stage}.{name}"), text::difference(was, is).1));
        }
    };
    for (stage, theirs) in reference {
        let Some(ours) = own.get(stage) else { continue };
        let kinds_differ = theirs.get("kind") != ours.get("kind");
        let mut names: Vec<&String> =
            theirs.keys().chain(ours.keys().filter(|name| !theirs.contains_key(*name))).collect();
        names.sort_by_key(|name| name.starts_with("in."));
        for name in names {
            if kinds_differ && name != "kind" && !name.starts_with("in.") {
                continue;
            }
            let (was, is) = (theirs.get(name), ours.get(name));
            if was != is {
                tell(stage, name, first(was, is), first(is, was));
            }
        }
    }
    for (stage, ours) in own {
        for (name, values) in ours.iter().filter(|(name, _)| beyond.contains(&(*stage, (*name).clone()))) {
            tell(stage, name, "", first(Some(values), None));
        }
    }
    found
}

/// Represents values that vary within a row, for example with the seed, by the first one that the other row lacks.
fn first<'v>(of: Option<&'v BTreeSet<String>>, not: Option<&BTreeSet<String>>) -> &'v str {
    let own = of.into_iter().flatten().find(|value| not.is_none_or(|not| !not.contains(*value)));
    own.or_else(|| of?.first()).map_or("none", String::as_str)
}
