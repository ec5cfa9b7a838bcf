//! Compares the current results with those of an earlier run: row by row, point by point.

use super::table::{Grid, difference};
use super::{Column, Comparison};
use crate::metrics;
use crate::statistics::{self, Difference};
use engine::error::Result;
use engine::key::Key;
use engine::record::Record;
use engine::store::Lookup;
use engine::survey::Survey;
use engine::text::number;
use indexmap::{IndexMap, IndexSet};
use petgraph::graph::NodeIndex;
use serde_json::{Value, json};
use std::collections::HashMap;

/// The comparison of current results with an earlier run.
pub struct Against {
    /// The run.
    pub run: String,
    /// One for each row of the comparison.
    pub rows: Vec<Pair>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A row now and in the earlier run.
pub struct Pair {
    /// The block and the row.
    pub name: Vec<String>,
    /// For each metric: the earlier mean, the current mean, and the difference at the points that both have.
    pub cells: Vec<(Option<f64>, Option<f64>, Option<Difference>)>,
}

/// What a step found in the run.
type Past = HashMap<NodeIndex, IndexMap<String, f64>>;

/// Compares the current results with an earlier run.
pub fn against(comparison: &Comparison, survey: &Survey<'_>, record: &Record) -> Result<Against> {
    let run = &record.run;
    let keys: HashMap<&str, Key> = record.artifacts().collect();
    let mut notes = Vec::new();
    let past = past(comparison, survey, run, &keys, &mut notes)?;
    notes.extend(changes(comparison, survey, &keys)?);
    let mut rows = Vec::new();
    for block in &comparison.blocks {
        for row in &block.rows {
            let cells = comparison.metrics.iter().zip(&row.cells).map(|(Column { name, .. }, cell)| {
                let then = |node: &NodeIndex| past.get(node)?.get(name).copied();
                let before: Vec<f64> = row.steps.iter().filter_map(then).collect();
                let differences: Vec<f64> = cell
                    .readings
                    .iter()
                    .filter_map(|reading| Some(reading.value - then(&reading.step)?))
                    .collect();
                (statistics::mean(&before), cell.mean(), Difference::of(&differences))
            });
            let axes = block.axes.iter().map(|(_, value)| value.clone());
            rows.push(Pair { name: axes.chain([row.name.clone()]).collect(), cells: cells.collect() });
        }
    }
    Ok(Against { run: run.to_owned(), rows, notes })
}

fn past(
    comparison: &Comparison,
    survey: &Survey<'_>,
    run: &str,
    keys: &HashMap<&str, Key>,
    notes: &mut Vec<String>,
) -> Result<Past> {
    let graph = survey.plan.graph();
    let mut past = Past::new();
    let steps: IndexSet<NodeIndex> = comparison
        .blocks
        .iter()
        .flat_map(|block| &block.rows)
        .flat_map(|row| row.steps.iter().copied())
        .collect();
    for node in steps {
        let name = graph.steps[node].name.as_str();
        let Some(key) = keys.get(name) else {
            notes.push(format!("{name} was not part of run {run}"));
            continue;
        };
        let found = match survey.open(*key)? {
            Lookup::Hit(artifact) => artifact,
            Lookup::Miss => {
                notes.push(format!("the artifact of {name} in run {run} is gone"));
                continue;
            }
            Lookup::Damaged(found) => {
                notes.push(format!("the artifact of {name} in run {run} is damaged: {found}"));
                continue;
            }
        };
        match metrics::find(&found).map(|path| metrics::read(&path)) {
            Some(Ok(metrics)) => {
                let values = metrics.into_iter().filter_map(|metric| Some((metric.name, metric.value?)));
                past.insert(node, values.collect());
            }
            Some(Err(error)) => {
                notes.push(format!("what {name} found in run {run} cannot be read: {error:#}"))
            }
            None => notes.push(format!("{name} held no metrics in run {run}")),
        }
    }
    Ok(past)
}

/// What changed in the evaluating steps' own recipes. Earlier changes show up there as changed inputs.
fn changes(comparison: &Comparison, survey: &Survey<'_>, keys: &HashMap<&str, Key>) -> Result<Vec<String>> {
    let graph = survey.plan.graph();
    let mut counted: IndexMap<String, usize> = IndexMap::new();
    let rows = comparison.blocks.iter().flat_map(|block| &block.rows);
    let steps: IndexSet<NodeIndex> = rows.flat_map(|row| row.steps.iter().copied()).collect();
    let mut compared = 0;
    for node in steps {
        let Some(key) = keys.get(graph.steps[node].name.as_str()) else { continue };
        let (Some(recipe), Some(older)) = (survey.recipe(node), survey.store.recipe(*key)?) else {
            continue;
        };
        compared += 1;
        for change in recipe.changes_since(&older) {
            *counted.entry(format!("{} {}", change.component, change.name)).or_default() += 1;
        }
    }
    let told =
        counted.iter().map(|(what, count)| format!("{what} changed in {count} of {compared} judging steps"));
    Ok(told.collect())
}

impl Against {
    /// The comparison as a table.
    pub fn grid(&self, comparison: &Comparison) -> Grid {
        let axes = comparison.blocks.first().map_or(0, |block| block.axes.len());
        let mut heading: Vec<String> = comparison
            .blocks
            .first()
            .into_iter()
            .flat_map(|block| &block.axes)
            .map(|(axis, _)| axis.clone())
            .collect();
        heading.push(comparison.rows_by.clone());
        heading.extend(comparison.metrics.iter().map(|column| column.name.clone()));
        let shown = |value: &Option<f64>| value.map_or_else(|| "–".to_owned(), number);
        let row = |pair: &Pair| {
            let mut names = pair.name.clone();
            names.resize(axes + 1, String::new());
            let cells = pair.cells.iter().map(|(then, now, found)| {
                let change = found
                    .as_ref()
                    .map_or_else(String::new, |found| format!(" ({})", difference(found, None)));
                format!("{} → {}{change}", shown(then), shown(now))
            });
            names.into_iter().chain(cells).map(|text| (text, false)).collect()
        };
        let title = format!("run {} → now, with the paired difference", self.run);
        Grid { title, heading, rows: self.rows.iter().map(row).collect() }
    }

    /// The comparison as JSON.
    pub fn to_json(&self, comparison: &Comparison) -> Value {
        let row = |pair: &Pair| {
            let cells: serde_json::Map<String, Value> = comparison
                .metrics
                .iter()
                .zip(&pair.cells)
                .map(|(column, (then, now, found))| {
                    let difference = found.as_ref().map(|Difference { pairs, mean, interval, p }| {
                        json!({"pairs": pairs, "mean": mean, "low": interval.map(|(low, _)| low),
                            "high": interval.map(|(_, high)| high), "p": p})
                    });
                    (column.name.clone(), json!({"then": then, "now": now, "difference": difference}))
                })
                .collect();
            json!({"name": pair.name, "metrics": cells})
        };
        json!({"run": self.run, "rows": self.rows.iter().map(row).collect::<Vec<_>>(), "notes": self.notes})
    }
}
