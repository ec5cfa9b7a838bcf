//! Compares variants: what each reaches, how certain that is, and which differences are more than chance.
//!
//! A *row* is what is compared: a variant, or a value of another axis. A row has a *reading* for each point of the
//! axes that are averaged over, and rows are compared point by point: seed with seed, never mean with mean. A *block*
//! is a separate table for each combination of the remaining axes. Nothing is computed, and missing values are not
//! filled in.

mod against;
mod axes;
mod differing;
mod ground;
mod json;
mod judging;
mod table;
mod telling;
mod upstream;
mod weighing;

pub use against::against;
pub use judging::{Judged, Missing};
pub use table::Layout;
pub use weighing::advantage;

use crate::statistics::{self, Difference};
use crate::warned::Warned;
use axes::{Axes, Use};
use engine::complaint::{known, word};
use engine::error::{Error, Result};
use engine::graph::{Compare, Graph};
use engine::survey::Survey;
use indexmap::{IndexMap, IndexSet};
use judging::Judging;
use petgraph::graph::NodeIndex;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The axis of the variants, as the command line names it.
pub const VARIANT: &str = "variant";
/// The axis of the evaluating stages.
pub const STAGE: &str = "stage";

/// What the user asks for, beyond the settings in the pipeline file.
#[derive(Debug, Default)]
pub struct Request {
    /// The axis whose values are the rows.
    pub rows: Option<String>,
    /// Axes, and the values that are selected.
    pub filters: Vec<(String, Vec<String>)>,
    /// The metric that rows are sorted by.
    pub sort: Option<String>,
    /// The metrics that are shown.
    pub metrics: Vec<String>,
    /// The row that differences are measured from.
    pub baseline: Option<String>,
}

/// The result of a comparison.
pub struct Comparison {
    /// The axis whose values are the rows.
    pub rows_by: String,
    /// The axes that are averaged over.
    pub over: Vec<String>,
    /// The columns.
    pub metrics: Vec<Column>,
    /// One table for each combination of the other axes.
    pub blocks: Vec<Block>,
    /// Steps without metrics, each with the reason.
    pub missing: Vec<Missing>,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// Why some score does not mean what it seems to.
    pub warnings: Vec<String>,
    /// What the steps behind the rows warned of.
    pub upstream: Vec<Upstream>,
}

/// A warning of steps that rows depend on.
pub struct Upstream {
    /// The warning.
    pub warned: Warned,
    /// The rows whose steps carry it or descend from steps that do, each named once.
    pub rows: Vec<String>,
    /// Whether those are all rows there are.
    pub of_all: bool,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Whether lower values are better.
    pub lower_is_better: bool,
}

/// Rows that may be compared with each other.
pub struct Block {
    /// The axis values that distinguish this block from the others.
    pub axes: Vec<(String, String)>,
    /// In the order of the file, or sorted by the request.
    pub rows: Vec<Row>,
    /// The row that differences are measured from.
    pub baseline: Option<String>,
    /// The comparison of rows with controls.
    pub controls: Vec<Finding>,
}

/// One thing that is compared.
pub struct Row {
    /// The variant, or the value of the axis.
    pub name: String,
    /// Whether it is a control.
    pub control: bool,
    /// Params and wires that differ from the block's baseline or, without one, from its first row.
    pub differs: Vec<(String, String)>,
    /// One for each metric.
    pub cells: Vec<Cell>,
    /// Every step that evaluates it, including those without an artifact.
    pub steps: Vec<NodeIndex>,
    /// How many steps that should evaluate it have no metrics.
    pub missing: usize,
    /// Why it cannot be compared with the block's first row.
    pub apart: Option<String>,
    /// How many steps of each stage behind it warned of something that not every row has behind it.
    pub warned: IndexMap<String, usize>,
}

/// The result of a row in one metric.
#[derive(Debug, Default)]
pub struct Cell {
    /// One for each point that has a value.
    pub readings: Vec<Reading>,
    /// Whether it is better than every other row, and leads the next one by more than the error of the difference.
    pub best: bool,
    /// The paired difference from the baseline.
    pub difference: Option<Difference>,
    /// Its p-value after Holm's correction for all tests shown.
    pub holm: Option<f64>,
}

/// One value of one metric.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The values of the averaged axes; `None` where the step does not depend on an axis.
    pub point: Point,
    /// The step that measured it.
    pub step: NodeIndex,
    /// What it found.
    pub value: f64,
    /// The limits of its interval.
    pub interval: Option<(f64, f64)>,
    /// How many things it was measured over.
    pub count: Option<i64>,
}

/// The values of the axes that are averaged over.
pub type Point = Rc<[Option<String>]>;

/// The comparison of a row with a control in one metric.
#[derive(Debug)]
pub struct Finding {
    /// The control.
    pub control: String,
    /// The row that is compared with it.
    pub row: String,
    /// The metric.
    pub metric: String,
    /// Row minus control; positive if the row is better.
    pub difference: Difference,
    /// Whether the row is better than the control by no more than the error of the difference.
    pub explained: bool,
}

impl Block {
    /// The indices of the metrics for which some row has a value.
    pub fn metrics(&self) -> Vec<usize> {
        let count = self.rows.first().map_or(0, |row| row.cells.len());
        let has = |metric: &usize| self.rows.iter().any(|row| !row.cells[*metric].readings.is_empty());
        (0..count).filter(has).collect()
    }
}

impl Cell {
    /// The values alone.
    pub fn values(&self) -> Vec<f64> {
        self.readings.iter().map(|reading| reading.value).collect()
    }

    /// Their mean.
    pub fn mean(&self) -> Option<f64> {
        statistics::mean(&self.values())
    }

    /// Whether it holds the same value several times, which is no more evidence than one value.
    pub fn is_steady(&self) -> bool {
        matches!(&self.readings[..], [first, _, ..] if self.readings.iter().all(|reading| reading.value == first.value))
    }

    /// Their spread.
    pub fn deviation(&self) -> Option<f64> {
        statistics::deviation(&self.values())
    }
}

/// Reads and compares what is cached.
pub fn compare(survey: &Survey<'_>, request: &Request) -> Result<Comparison> {
    let graph = survey.plan.graph();
    let judging = Judging::read(survey)?;
    let mut comparison = Comparison::of(graph, judging, request)?;
    comparison.look_upstream(survey)?;
    Ok(comparison)
}

impl Comparison {
    fn of(graph: &Graph, judging: Judging, request: &Request) -> Result<Comparison> {
        let settings = graph.compare.clone().unwrap_or_default();
        let Judging { mut judged, mut missing } = judging;
        if judged.is_empty() {
            return Err(nothing(graph, &missing));
        }
        let metrics = columns(&judged, &settings, request)?;
        // Stages that measure something else, such as a training, are not compared here.
        judged.retain(|judged| metrics.iter().any(|column| judged.metrics.contains_key(&column.name)));
        let stages: HashSet<&str> =
            judged.iter().map(|judged| graph.steps[judged.node].stage.as_str()).collect();
        missing.retain(|missing| stages.contains(graph.steps[missing.node].stage.as_str()));
        let axes = Axes::of(graph, &judged, &missing, &settings, request)?;
        let mut gathered: IndexMap<Vec<Option<String>>, IndexMap<String, Vec<Use<'_>>>> = IndexMap::new();
        let all = judged.iter().map(|judged| (judged.node, Some(judged)));
        let mut all: Vec<_> = all.chain(missing.iter().map(|missing| (missing.node, None))).collect();
        all.sort_by_key(|(node, _)| *node);
        for (node, judged) in all {
            for place in axes.places(graph, node) {
                if !axes.wanted(&place) {
                    continue;
                }
                let rows = gathered.entry(axes.block_of(&place)).or_default();
                let used = Use { node, judged, point: axes.point_of(&place) };
                rows.entry(axes.row_of(&place)).or_default().push(used);
            }
        }
        if gathered.is_empty() {
            return Err(Error::Usage("nothing is left to compare: no step is as --where says".to_owned()));
        }
        let mut comparison = Comparison {
            rows_by: axes.rows.clone(),
            over: axes.over.clone(),
            metrics,
            blocks: Vec::new(),
            missing: Vec::new(),
            notes: Vec::new(),
            warnings: Vec::new(),
            upstream: Vec::new(),
        };
        let mut shown = IndexSet::new();
        let mut empty: IndexMap<String, Vec<String>> = IndexMap::new();
        let why: HashMap<NodeIndex, &str> =
            missing.iter().map(|missing| (missing.node, missing.why.as_str())).collect();
        for (values, mut rows) in gathered {
            let uses = || rows.values().flatten();
            if uses().all(|used| used.judged.is_none()) && !axes.block.is_empty() {
                // A table without numbers would only repeat this line.
                let title: Vec<String> = values.into_iter().flatten().collect();
                let why = uses().find_map(|used| why.get(&used.node)).copied().unwrap_or_default();
                empty.entry(why.to_owned()).or_default().push(title.join(" "));
                continue;
            }
            if axes.rows == VARIANT {
                rows.sort_by_key(|name, _| graph.variants.iter().position(|variant| variant == name));
            }
            for used in rows.values().flatten() {
                shown.insert(used.node);
            }
            let axes =
                axes.block.iter().cloned().zip(values).filter_map(|(axis, value)| Some((axis, value?)));
            let block = comparison.block(graph, axes.collect(), rows, &settings, request)?;
            comparison.blocks.push(block);
        }
        if comparison
            .blocks
            .iter()
            .all(|block| block.rows.iter().all(|row| row.cells.iter().all(|cell| cell.readings.is_empty())))
        {
            return Err(nothing(graph, &missing));
        }
        for (why, titles) in empty {
            let what = axes.block.join(" ");
            comparison.notes.push(format!("no table for {what} {}: all of it {why}", titles.join(", ")));
        }
        comparison.missing = missing.into_iter().filter(|missing| shown.contains(&missing.node)).collect();
        weighing::correct(&mut comparison.blocks);
        comparison.note();
        Ok(comparison)
    }

    fn block(
        &self,
        graph: &Graph,
        axes: Vec<(String, String)>,
        rows: IndexMap<String, Vec<Use<'_>>>,
        settings: &Compare,
        request: &Request,
    ) -> Result<Block> {
        for (name, uses) in &rows {
            ground::check_mean(graph, name, uses, &self.over)?;
        }
        let baseline =
            request.baseline.as_ref().or(settings.baseline.as_ref().filter(|_| self.rows_by == VARIANT));
        if let Some(name) = baseline.filter(|name| !rows.contains_key(*name))
            && request.baseline.is_some()
        {
            let hint = known(name, "rows", rows.keys().map(String::as_str));
            return Err(Error::Usage(format!("--baseline: there is no row {}; {hint}", word(name))));
        }
        let baseline = baseline.filter(|name| rows.contains_key(*name)).cloned();
        let reference = baseline.as_deref().or(rows.keys().next().map(String::as_str)).unwrap_or_default();
        let reference_uses = rows[reference].clone();
        let nodes = |uses: &[Use<'_>]| -> Vec<NodeIndex> { uses.iter().map(|used| used.node).collect() };
        let facts: Vec<_> = rows.values().map(|uses| differing::facts(graph, &nodes(uses))).collect();
        let reference_facts = &facts[rows.get_index_of(reference).unwrap_or_default()];
        let beyond = differing::beyond(reference_facts, &facts);
        let mut made = Vec::with_capacity(rows.len());
        for ((name, uses), own) in rows.into_iter().zip(&facts) {
            let steps = nodes(&uses);
            let cells = self.metrics.iter().map(|column| weighing::cell(&uses, &column.name)).collect();
            made.push(Row {
                control: self.rows_by == VARIANT && settings.controls.contains(&name),
                differs: differing::differences(
                    reference_facts,
                    own,
                    &beyond,
                    Some(name.as_str()).filter(|_| self.rows_by != VARIANT),
                ),
                cells,
                missing: uses.iter().filter(|used| used.judged.is_none()).count(),
                apart: ground::apart(graph, &reference_uses, &uses, settings)?,
                warned: IndexMap::new(),
                steps,
                name,
            });
        }
        for (index, column) in self.metrics.iter().enumerate() {
            weighing::mark_best(&mut made, index, column);
            if let Some(baseline) = &baseline {
                weighing::differences_from(&mut made, baseline, index);
            }
        }
        if let Some(metric) = &request.sort {
            let index = self.metrics.iter().position(|column| column.name == *metric).ok_or_else(|| {
                let names = self.metrics.iter().map(|column| column.name.as_str());
                Error::Usage(format!(
                    "--sort: {} is not shown; {}",
                    word(metric),
                    known(metric, "metrics shown", names)
                ))
            })?;
            let sign = if self.metrics[index].lower_is_better { 1.0 } else { -1.0 };
            let rank = |row: &Row| row.cells[index].mean().map_or(f64::INFINITY, |mean| sign * mean);
            made.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        }
        let controls = weighing::findings(&made, &self.metrics);
        Ok(Block { axes, rows: made, baseline, controls })
    }
}

fn nothing(graph: &Graph, missing: &[Missing]) -> Error {
    let file = graph.file.display();
    Error::Usage(match missing.first() {
        Some(missing) => {
            let step = &graph.steps[missing.node].name;
            format!(
                "there is nothing to compare: {step} {}; compute it with: pipeline run {file}",
                missing.why
            )
        }
        None => format!(
            "there is nothing to compare: no artifact of {file} holds metrics; run the pipeline, or let a stage write one of {}",
            crate::metrics::FILES.join(", ")
        ),
    })
}

fn columns(judged: &[Judged], settings: &Compare, request: &Request) -> Result<Vec<Column>> {
    let there: IndexSet<&str> =
        judged.iter().flat_map(|judged| judged.metrics.keys()).map(String::as_str).collect();
    let (asked, by) = match request.metrics.is_empty() {
        true => (&settings.metrics, "compare.metrics"),
        false => (&request.metrics, "--metrics"),
    };
    let mut names: IndexSet<String> = IndexSet::new();
    for name in asked {
        if name == "all" {
            names.extend(there.iter().map(|name| (*name).to_owned()));
        } else if there.contains(name.as_str()) {
            names.insert(name.clone());
        } else {
            let hint = known(name, "metrics", there.iter().copied());
            return Err(Error::Usage(format!("{by}: no artifact has the metric {}; {hint}", word(name))));
        }
    }
    if names.is_empty() {
        names.extend(there.iter().map(|name| (*name).to_owned()));
    }
    let column = |name: String| Column { lower_is_better: settings.lower_is_better.contains(&name), name };
    Ok(names.into_iter().map(column).collect())
}
