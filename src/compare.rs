//! Variants side by side: what each reaches, how sure that is, and which differences are more than chance.
//!
//! A *row* is what is compared: a variant, or a value of another axis. A row has a *reading* for each point of the
//! axes that are averaged over, and rows are compared point by point: seed with seed, never mean with mean. A *block*
//! is a table of its own for each combination of the axes that are neither. Nothing is computed, and nothing that is
//! missing is made up.

mod against;
mod differing;
mod ground;
mod judging;
mod table;

pub use against::against;
pub use judging::{Judged, Missing};
pub use table::Layout;

use crate::complaint::{known, word};
use crate::error::{Error, Result};
use crate::graph::{Compare, Graph};
use crate::statistics::{self, Difference};
use crate::store::Store;
use crate::survey::Survey;
use indexmap::{IndexMap, IndexSet};
use judging::Judging;
use petgraph::graph::NodeIndex;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The axis of the variants, as the command line names it.
pub const VARIANT: &str = "variant";
/// The axis of the judging stages.
pub const STAGE: &str = "stage";

/// What is asked, beyond what the pipeline file says.
#[derive(Debug, Default)]
pub struct Request {
    /// The axis whose values are the rows.
    pub rows: Option<String>,
    /// Axes, and the values that are looked at.
    pub filters: Vec<(String, Vec<String>)>,
    /// The metric by which rows are sorted.
    pub sort: Option<String>,
    /// The metrics that are shown.
    pub metrics: Vec<String>,
    /// The row that differences are taken from.
    pub baseline: Option<String>,
}

/// Everything that was found.
pub struct Comparison {
    /// The axis whose values are the rows.
    pub rows_by: String,
    /// The axes that are averaged over.
    pub over: Vec<String>,
    /// The columns.
    pub metrics: Vec<Column>,
    /// One table for each combination of the other axes.
    pub blocks: Vec<Block>,
    /// Steps without numbers, each with the reason.
    pub missing: Vec<Missing>,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// What takes a score's meaning away.
    pub warnings: Vec<String>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Whether less is better.
    pub lower_is_better: bool,
}

/// Rows that may be held against each other.
pub struct Block {
    /// The axes that tell this block from the others, each with its value.
    pub axes: Vec<(String, String)>,
    /// In the order of the file, or sorted.
    pub rows: Vec<Row>,
    /// The row that differences are taken from.
    pub baseline: Option<String>,
    /// What the controls say.
    pub controls: Vec<Finding>,
}

/// One thing that is compared.
pub struct Row {
    /// The variant, or the value of the axis.
    pub name: String,
    /// Whether it is a control.
    pub control: bool,
    /// What differs from the block's first row, or its baseline: params and wires.
    pub differs: Vec<(String, String)>,
    /// One for each metric.
    pub cells: Vec<Cell>,
    /// Every step that judges it, those without an artifact too.
    pub steps: Vec<NodeIndex>,
    /// How many steps that should judge it have no numbers.
    pub missing: usize,
    /// Why it cannot be held against the block's first row.
    pub apart: Option<String>,
}

/// What a row reaches in one metric.
#[derive(Debug, Default)]
pub struct Cell {
    /// One for each point that has a value.
    pub readings: Vec<Reading>,
    /// Whether it is better than every other row by more than the error of the difference to the next one.
    pub best: bool,
    /// The paired difference from the baseline.
    pub difference: Option<Difference>,
    /// Its p-value after Holm's correction for all that are shown.
    pub holm: Option<f64>,
}

/// One value of one metric.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The values of the axes that are averaged over; nothing where the step does not depend on one.
    pub point: Point,
    /// The step that found it.
    pub step: NodeIndex,
    /// What it found.
    pub value: f64,
    /// The limits of its interval.
    pub interval: Option<(f64, f64)>,
    /// How many things it was taken over.
    pub count: Option<i64>,
}

/// The values of the axes that are averaged over.
pub type Point = Rc<[Option<String>]>;

/// What a control says about a row in one metric.
#[derive(Debug)]
pub struct Finding {
    /// The control.
    pub control: String,
    /// The row that it is held against.
    pub row: String,
    /// The metric.
    pub metric: String,
    /// Row minus control, the better the larger.
    pub difference: Difference,
    /// Whether the row is better than the control by no more than the error of the difference.
    pub explained: bool,
}

impl Block {
    /// The metrics, by their place, of which some row has a value.
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

    /// Whether it holds one value several times, which says no more than once would.
    pub fn is_steady(&self) -> bool {
        matches!(&self.readings[..], [first, _, ..] if self.readings.iter().all(|reading| reading.value == first.value))
    }

    /// Their spread.
    pub fn deviation(&self) -> Option<f64> {
        statistics::deviation(&self.values())
    }
}

/// Reads and compares what is cached.
pub fn compare(survey: &Survey<'_>, store: &Store, request: &Request) -> Result<Comparison> {
    let graph = survey.plan.graph();
    let judging = Judging::read(survey, store)?;
    Comparison::of(graph, judging, request)
}

impl Comparison {
    fn of(graph: &Graph, judging: Judging, request: &Request) -> Result<Comparison> {
        let settings = graph.compare.clone().unwrap_or_default();
        let Judging { mut judged, mut missing } = judging;
        if judged.is_empty() {
            return Err(nothing(graph, &missing));
        }
        let metrics = columns(&judged, &settings, request)?;
        // A stage that measures something else, a training say, is no judge here.
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
        };
        let mut shown = IndexSet::new();
        let mut empty: IndexMap<String, Vec<String>> = IndexMap::new();
        let why: HashMap<NodeIndex, &str> =
            missing.iter().map(|missing| (missing.node, missing.why.as_str())).collect();
        for (values, mut rows) in gathered {
            let uses = || rows.values().flatten();
            if uses().all(|used| used.judged.is_none()) && !axes.block.is_empty() {
                // A table without a number would say no more than this one line.
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
            let (what, are) = (axes.block.join(" "), if titles.len() == 1 { "is" } else { "are" });
            let told = format!(
                "{what} {} {are} left out, since nothing of it is there: it {why}",
                titles.join(", ")
            );
            comparison.notes.push(told);
        }
        comparison.missing = missing.into_iter().filter(|missing| shown.contains(&missing.node)).collect();
        correct(&mut comparison.blocks);
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
        let facts = differing::facts(graph, &nodes(&reference_uses));
        let mut made = Vec::with_capacity(rows.len());
        for (name, uses) in rows {
            let steps = nodes(&uses);
            let own = differing::facts(graph, &steps);
            let cells = self.metrics.iter().map(|column| cell(&uses, &column.name)).collect();
            made.push(Row {
                control: self.rows_by == VARIANT && settings.controls.contains(&name),
                differs: differing::differences(
                    &facts,
                    &own,
                    Some(name.as_str()).filter(|_| self.rows_by != VARIANT),
                ),
                cells,
                missing: uses.iter().filter(|used| used.judged.is_none()).count(),
                apart: ground::apart(graph, &reference_uses, &uses, settings)?,
                steps,
                name,
            });
        }
        for (index, column) in self.metrics.iter().enumerate() {
            mark_best(&mut made, index, column);
            if let Some(baseline) = &baseline {
                differences_from(&mut made, baseline, index);
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
        let controls = findings(&made, &self.metrics);
        Ok(Block { axes, rows: made, baseline, controls })
    }

    /// Says what the table alone would not.
    fn note(&mut self) {
        let rows = || self.blocks.iter().flat_map(|block| &block.rows);
        let most = rows().flat_map(|row| &row.cells).map(|cell| cell.readings.len()).max().unwrap_or(0);
        let several = rows().count() > self.blocks.len();
        if most == 1 && several {
            let how = match self.over.is_empty() {
                true => "; say what to average over in the pipeline file: `compare: {over: [seed]}`",
                false => "",
            };
            self.notes.push(format!("one value each has no spread, so no row is called best{how}"));
        }
        let with_p = rows().flat_map(|row| &row.cells).filter_map(|cell| cell.difference.as_ref());
        if let Some(pairs) =
            with_p.map(|difference| difference.pairs).max().filter(|pairs| (2..6).contains(pairs))
        {
            let least = 2.0 / f64::from(1u32 << pairs);
            self.notes.push(format!("with {pairs} pairs, no permutation test can give a p below {least:.2}"));
        }
        let mut apart: IndexMap<&str, IndexSet<&str>> = IndexMap::new();
        for row in rows() {
            if let Some(why) = &row.apart {
                apart.entry(why).or_default().insert(&row.name);
            }
        }
        let apart: Vec<String> = apart
            .iter()
            .map(|(why, names)| {
                let verb = if names.len() == 1 { "is" } else { "are" };
                let names: Vec<&str> = names.iter().copied().collect();
                format!("{} {verb} not held against the others: {why}", names.join(", "))
            })
            .collect();
        let steady = rows().filter(|row| row.cells.iter().all(Cell::is_steady)).map(|row| row.name.as_str());
        let steady: IndexSet<&str> = steady.collect();
        if !steady.is_empty() {
            let names: Vec<&str> = steady.into_iter().collect();
            self.notes.push(format!(
                "{} gives the same values for every {}, which between rows like that count as one",
                names.join(", "),
                self.over.join(" and ")
            ));
        }
        let mut explained: IndexMap<&str, IndexMap<&str, IndexSet<&str>>> = IndexMap::new();
        let findings =
            self.blocks.iter().flat_map(|block| block.controls.iter().map(move |finding| (block, finding)));
        for (block, finding) in findings {
            // What is asked about is the baseline, where there is one.
            if finding.explained && block.baseline.as_ref().is_none_or(|baseline| *baseline == finding.row) {
                let rows = explained.entry(&finding.control).or_default();
                rows.entry(&finding.row).or_default().insert(&finding.metric);
            }
        }
        let warnings: Vec<String> = explained
            .iter()
            .map(|(control, rows)| {
                let row = |(row, metrics): (&&str, &IndexSet<&str>)| {
                    let metrics: Vec<&str> = metrics.iter().copied().collect();
                    format!("{row} in {}", metrics.join(", "))
                };
                let rows: Vec<String> = rows.iter().map(row).collect();
                format!(
                    "the control {control} explains {}: the difference is within its error, so the score does not show the worth of what the control lacks",
                    rows.join("; ")
                )
            })
            .collect();
        self.notes.extend(apart);
        self.warnings = warnings;
    }

    /// All that was found, for programs.
    pub fn to_json(&self, graph: &Graph) -> Value {
        let step = |node: NodeIndex| graph.steps[node].name.as_str();
        let difference = |difference: &Difference, holm: Option<f64>| {
            let Difference { pairs, mean, interval, p } = difference;
            json!({"pairs": pairs, "mean": mean, "low": interval.map(|(low, _)| low), "high": interval.map(|(_, high)| high),
                "p": p, "p_holm": holm})
        };
        let cell = |(column, cell): (&Column, &Cell)| {
            let readings: Vec<Value> = cell
                .readings
                .iter()
                .map(|Reading { point, step: node, value, interval, count }| {
                    let point: serde_json::Map<String, Value> =
                        self.over.iter().cloned().zip(point.iter().map(|value| json!(value))).collect();
                    json!({"point": point, "step": step(*node), "value": value, "low": interval.map(|(low, _)| low),
                        "high": interval.map(|(_, high)| high), "n": count})
                })
                .collect();
            let value = json!({
                "mean": cell.mean(), "sd": cell.deviation(), "n": cell.readings.len(), "best": cell.best,
                "difference": cell.difference.as_ref().map(|found| difference(found, cell.holm)), "readings": readings,
            });
            (column.name.clone(), value)
        };
        let row = |row: &Row| {
            let Row { name, control, differs, cells, steps, missing, apart } = row;
            let cells: serde_json::Map<String, Value> = self.metrics.iter().zip(cells).map(cell).collect();
            let differs: serde_json::Map<String, Value> =
                differs.iter().map(|(what, value)| (what.clone(), json!(value))).collect();
            json!({"name": name, "control": control, "differs": differs, "metrics": cells,
                "steps": steps.iter().map(|node| step(*node)).collect::<Vec<_>>(), "missing": missing, "apart": apart})
        };
        let block = |block: &Block| {
            let Block { axes, rows, baseline, controls } = block;
            let axes: serde_json::Map<String, Value> =
                axes.iter().map(|(axis, value)| (axis.clone(), json!(value))).collect();
            let controls: Vec<Value> = controls
                .iter()
                .map(|Finding { control, row, metric, difference: found, explained }| {
                    json!({"control": control, "row": row, "metric": metric, "explained": explained,
                        "difference": difference(found, None)})
                })
                .collect();
            json!({"axes": axes, "baseline": baseline, "rows": rows.iter().map(row).collect::<Vec<_>>(), "controls": controls})
        };
        let metrics: Vec<Value> = self
            .metrics
            .iter()
            .map(|Column { name, lower_is_better }| json!({"name": name, "lower_is_better": lower_is_better}))
            .collect();
        let missing: Vec<Value> = self
            .missing
            .iter()
            .map(|Missing { node, why }| json!({"step": step(*node), "why": why}))
            .collect();
        json!({
            "pipeline": graph.name, "rows": self.rows_by, "over": self.over, "metrics": metrics,
            "blocks": self.blocks.iter().map(block).collect::<Vec<_>>(), "missing": missing, "notes": self.notes, "warnings": self.warnings,
        })
    }
}

/// A step within a row.
#[derive(Clone)]
struct Use<'j> {
    node: NodeIndex,
    judged: Option<&'j Judged>,
    point: Point,
}

/// Which axis is what.
struct Axes {
    rows: String,
    over: Vec<String>,
    block: Vec<String>,
    filters: Vec<(String, Vec<String>)>,
}

/// Where a step stands: the value of each axis that it has.
type Place<'g> = HashMap<&'g str, &'g str>;

impl Axes {
    fn of(
        graph: &Graph,
        judged: &[Judged],
        missing: &[Missing],
        settings: &Compare,
        request: &Request,
    ) -> Result<Axes> {
        let nodes =
            || judged.iter().map(|judged| judged.node).chain(missing.iter().map(|missing| missing.node));
        let stages: IndexSet<&str> = nodes().map(|node| graph.steps[node].stage.as_str()).collect();
        let mut axes: IndexSet<&str> = IndexSet::new();
        if stages.len() > 1 {
            axes.insert(STAGE);
        }
        if !graph.variants.is_empty() {
            axes.insert(VARIANT);
        }
        axes.extend(nodes().flat_map(|node| graph.steps[node].axes.iter().map(|(axis, _)| axis.as_str())));
        let look_up = |flag: &str, name: &str| match axes.contains(name) {
            true => Ok(()),
            false => {
                let hint = known(name, "axes", axes.iter().copied());
                Err(Error::Usage(format!("{flag}: there is no axis {}; {hint}", word(name))))
            }
        };
        for (axis, values) in &request.filters {
            if axis == STAGE && stages.len() == 1 {
                continue;
            }
            look_up("--where", axis)?;
            let labels = |node: NodeIndex| -> Vec<&str> { Axes::values(graph, node, axis) };
            let there: IndexSet<&str> = nodes().flat_map(labels).collect();
            if let Some(unknown) = values.iter().find(|value| !there.contains(value.as_str())) {
                let hint = known(unknown, &format!("values of `{axis}`"), there.iter().copied());
                return Err(Error::Usage(format!(
                    "--where: `{axis}` has no value {}; {hint}",
                    word(unknown)
                )));
            }
        }
        let over: Vec<String> =
            settings.over.iter().filter(|axis| axes.contains(axis.as_str())).cloned().collect();
        let rows = match &request.rows {
            Some(rows) => {
                look_up("--rows", rows)?;
                rows.clone()
            }
            None if !graph.variants.is_empty() => VARIANT.to_owned(),
            None => {
                let free = axes.iter().find(|axis| !over.iter().any(|over| over == *axis));
                free.map_or_else(|| STAGE.to_owned(), |axis| (*axis).to_owned())
            }
        };
        let over: Vec<String> = over.into_iter().filter(|axis| *axis != rows).collect();
        let block = axes.iter().filter(|axis| **axis != rows && !over.iter().any(|over| over == *axis));
        let block = block.map(|axis| (*axis).to_owned()).collect();
        Ok(Axes { rows, over, block, filters: request.filters.clone() })
    }

    fn values<'g>(graph: &'g Graph, node: NodeIndex, axis: &str) -> Vec<&'g str> {
        let step = &graph.steps[node];
        match axis {
            STAGE => vec![step.stage.as_str()],
            VARIANT => step.variants.iter().map(String::as_str).collect(),
            axis => {
                step.axes.iter().filter(|(name, _)| name == axis).map(|(_, label)| label.as_str()).collect()
            }
        }
    }

    /// One place for each variant that uses the step.
    fn places<'g>(&self, graph: &'g Graph, node: NodeIndex) -> Vec<Place<'g>> {
        let step = &graph.steps[node];
        let mut place: Place<'g> =
            step.axes.iter().map(|(axis, label)| (axis.as_str(), label.as_str())).collect();
        place.insert(STAGE, &step.stage);
        if graph.variants.is_empty() {
            return vec![place];
        }
        let with = |variant: &'g String| {
            let mut place = place.clone();
            place.insert(VARIANT, variant);
            place
        };
        step.variants.iter().map(with).collect()
    }

    fn wanted(&self, place: &Place<'_>) -> bool {
        self.filters.iter().all(|(axis, values)| {
            place.get(axis.as_str()).is_some_and(|value| values.iter().any(|wanted| wanted == value))
        })
    }

    fn block_of(&self, place: &Place<'_>) -> Vec<Option<String>> {
        self.block.iter().map(|axis| place.get(axis.as_str()).map(|value| (*value).to_owned())).collect()
    }

    fn row_of(&self, place: &Place<'_>) -> String {
        place.get(self.rows.as_str()).map_or_else(|| "–".to_owned(), |value| (*value).to_owned())
    }

    fn point_of(&self, place: &Place<'_>) -> Point {
        self.over.iter().map(|axis| place.get(axis.as_str()).map(|value| (*value).to_owned())).collect()
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
            "there is nothing to compare: no artifact of {file} holds {}; run the pipeline, or let a stage write one of them",
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

fn cell(uses: &[Use<'_>], metric: &str) -> Cell {
    let readings = uses.iter().filter_map(|used| {
        let found = used.judged?.metrics.get(metric)?;
        Some(Reading {
            point: Rc::clone(&used.point),
            step: used.node,
            value: found.value?,
            interval: found.interval,
            count: found.count,
        })
    });
    Cell { readings: readings.collect(), ..Cell::default() }
}

/// The differences of two rows at the points that both have; what does not depend on an axis stands for
/// every value of it. Of two rows that never vary, one pair says it all.
fn paired(one: &Cell, other: &Cell) -> Vec<f64> {
    let mut differences = all_paired(one, other);
    if one.is_steady() && other.is_steady() {
        differences.truncate(1);
    }
    differences
}

fn all_paired(one: &Cell, other: &Cell) -> Vec<f64> {
    let mut exact: HashMap<&[Option<String>], f64> = HashMap::with_capacity(other.readings.len());
    exact.extend(other.readings.iter().map(|reading| (&*reading.point, reading.value)));
    let meets =
        |a: &Point, b: &Point| a.iter().zip(b.iter()).all(|(a, b)| a.is_none() || b.is_none() || a == b);
    let depends =
        |cell: &Cell| cell.readings.first().is_some_and(|reading| reading.point.iter().all(Option::is_some));
    if depends(one) && depends(other) {
        let met = one.readings.iter().filter_map(|a| Some(a.value - exact.get(&*a.point)?));
        return met.collect();
    }
    let pairs = one.readings.iter().flat_map(|a| {
        other.readings.iter().filter(move |b| meets(&a.point, &b.point)).map(move |b| a.value - b.value)
    });
    pairs.collect()
}

/// The paired difference of two rows, the better the larger.
pub fn advantage(one: &Row, other: &Row, metric: usize, column: &Column) -> Option<Difference> {
    let difference = Difference::of(&paired(&one.cells[metric], &other.cells[metric]))?;
    Some(if column.lower_is_better { difference.reversed() } else { difference })
}

fn mark_best(rows: &mut [Row], metric: usize, column: &Column) {
    let sign = if column.lower_is_better { -1.0 } else { 1.0 };
    let mut ranked: Vec<(usize, f64)> = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.apart.is_none())
        .filter_map(|(i, row)| Some((i, sign * row.cells[metric].mean()?)))
        .collect();
    ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    if let [(first, _), (second, _), ..] = ranked[..] {
        let found = advantage(&rows[first], &rows[second], metric, column);
        rows[first].cells[metric].best = found.is_some_and(|difference| difference.is_above_zero());
    }
}

fn differences_from(rows: &mut [Row], baseline: &str, metric: usize) {
    let Some(of) = rows.iter().position(|row| row.name == baseline) else { return };
    for i in (0..rows.len()).filter(|i| *i != of) {
        if rows[i].apart.is_none() {
            let found = Difference::of(&paired(&rows[i].cells[metric], &rows[of].cells[metric]));
            rows[i].cells[metric].difference = found;
        }
    }
}

/// Corrects all p-values that are shown together.
fn correct(blocks: &mut [Block]) {
    let cells = |blocks: &mut [Block], with: &mut dyn FnMut(&mut Cell, f64)| {
        for cell in blocks.iter_mut().flat_map(|block| &mut block.rows).flat_map(|row| &mut row.cells) {
            // A single pair is no test.
            let p = cell.difference.as_ref().filter(|difference| difference.pairs > 1).map(|found| found.p);
            if let Some(p) = p {
                with(cell, p);
            }
        }
    };
    let mut p_values = Vec::new();
    cells(blocks, &mut |_, p| p_values.push(p));
    let mut corrected = statistics::holm(&p_values).into_iter();
    cells(blocks, &mut |cell, _| cell.holm = corrected.next());
}

fn findings(rows: &[Row], metrics: &[Column]) -> Vec<Finding> {
    let mut found = Vec::new();
    for control in rows.iter().filter(|row| row.control) {
        for row in rows.iter().filter(|row| !row.control && row.apart.is_none() && control.apart.is_none()) {
            for (index, column) in metrics.iter().enumerate() {
                let Some(difference) = advantage(row, control, index, column) else { continue };
                let explained = match difference.interval {
                    Some((low, _)) => low <= 0.0,
                    None => difference.mean <= 0.0,
                };
                found.push(Finding {
                    control: control.name.clone(),
                    row: row.name.clone(),
                    metric: column.name.clone(),
                    difference,
                    explained,
                });
            }
        }
    }
    found
}
