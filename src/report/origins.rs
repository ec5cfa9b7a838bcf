//! Where everything came from: stages, inputs, versions, and the graph of them.

use super::{LastRun, Report};
use crate::clock;
use crate::graph::Source;
use crate::key::Digest;
use crate::markup::escape;
use crate::plan::State;
use crate::text;
use indexmap::{IndexMap, IndexSet};
use petgraph::graph::NodeIndex;
use std::fmt::Write;
use std::path::Path;

/// One stage of the pipeline.
pub struct StageRow {
    /// What it is called.
    pub name: String,
    /// Its kinds: variants may give it several.
    pub kinds: IndexSet<String>,
    /// Its steps.
    pub steps: usize,
    /// Steps with an artifact.
    pub there: usize,
    /// Steps that the newest run computed.
    pub computed: usize,
    /// The time that making them took.
    pub seconds: f64,
    /// The size of what they made.
    pub bytes: u64,
    /// Where they computed.
    pub devices: IndexSet<String>,
    /// What made them.
    pub versions: IndexSet<String>,
    /// How many were adopted from other code.
    pub adopted: usize,
}

/// Every stage, in the order of the file.
pub fn stages(report: &Report<'_>) -> Vec<StageRow> {
    let mut rows: IndexMap<&str, StageRow> = IndexMap::new();
    for name in &report.graph.stages {
        rows.insert(
            name,
            StageRow {
                name: name.clone(),
                kinds: IndexSet::new(),
                steps: 0,
                there: 0,
                computed: 0,
                seconds: 0.0,
                bytes: 0,
                devices: IndexSet::new(),
                versions: IndexSet::new(),
                adopted: 0,
            },
        );
    }
    for node in report.survey.plan.steps() {
        let step = &report.graph.steps[node];
        let Some(row) = rows.get_mut(step.stage.as_str()) else { continue };
        row.kinds.insert(step.kind.name.to_owned());
        row.steps += 1;
        let computed = |run: &LastRun| run.computed.contains(&step.name);
        row.computed += usize::from(report.last_run.as_ref().is_some_and(computed));
        if let Some(manifest) = report.manifests.get(&node) {
            row.there += 1;
            row.seconds += manifest.seconds;
            row.bytes += manifest.bytes();
            row.versions.insert(manifest.version.clone());
            row.adopted += usize::from(manifest.adopted.is_some());
        }
        let device = report.survey.examined.get(&node).and_then(|examined| examined.recipe.device.clone());
        row.devices.insert(device.unwrap_or_else(|| "cpu".to_owned()));
    }
    rows.into_values().filter(|row| row.steps > 0).collect()
}

/// Every file that no step makes: as the pipeline names it, its digest, and who reads it.
pub fn inputs(report: &Report<'_>) -> Vec<(String, Option<Digest>, Vec<String>)> {
    let mut files: IndexMap<String, (Option<Digest>, IndexSet<String>)> = IndexMap::new();
    for node in report.survey.plan.steps() {
        let step = &report.graph.steps[node];
        for input in &step.inputs {
            let Source::File { shown, .. } = &input.source else { continue };
            let examined = report.survey.examined.get(&node);
            let digest = examined.and_then(|examined| examined.recipe.inputs.get(&input.slot).copied());
            let file = files.entry(shown.clone()).or_default();
            file.0 = file.0.or(digest);
            file.1.insert(step.stage.clone());
        }
    }
    files.into_iter().map(|(file, (digest, stages))| (file, digest, stages.into_iter().collect())).collect()
}

/// When the newest artifact was made.
pub fn newest(report: &Report<'_>) -> Option<String> {
    report.manifests.values().map(|manifest| manifest.at).max().map(clock::date)
}

/// The pipeline file as the report names it.
pub fn file_name(report: &Report<'_>) -> String {
    let file = &report.graph.file;
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| file.strip_prefix(here).ok());
    short.unwrap_or(file.file_name().map_or(file.as_path(), Path::new)).display().to_string()
}

const HEIGHT: usize = 46;
const ROW_GAP: usize = 18;
const COLUMN_GAP: usize = 44;
const MARGIN: usize = 6;

/// The stages as a picture: one box each, by distance from the inputs.
pub fn drawing(report: &Report<'_>, rows: &[StageRow]) -> String {
    let graph = report.graph;
    let place = |node: NodeIndex| rows.iter().position(|row| row.name == graph.steps[node].stage);
    let mut links: IndexSet<(usize, usize)> = IndexSet::new();
    for edge in graph.steps.edge_indices() {
        let ends = graph.steps.edge_endpoints(edge).and_then(|(from, to)| place(from).zip(place(to)));
        // A stage may feed itself in another variant.
        links.extend(ends.filter(|(from, to)| from != to));
    }
    let mut depth = vec![0; rows.len()];
    for _ in 0..rows.len() {
        for &(from, to) in &links {
            depth[to] = (depth[to].max(depth[from] + 1)).min(rows.len());
        }
    }
    let mut taken: IndexMap<usize, usize> = IndexMap::new();
    let width_of = |row: &StageRow| row.name.chars().count().max(about(row).chars().count()) * 7 + 24;
    let deepest = depth.iter().copied().max().unwrap_or(0);
    let widths: Vec<usize> = (0..=deepest)
        .map(|column| {
            rows.iter()
                .zip(&depth)
                .filter(|(_, at)| **at == column)
                .map(|(row, _)| width_of(row))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let left =
        |column: usize| MARGIN + widths[..column].iter().map(|width| width + COLUMN_GAP).sum::<usize>();
    let places: Vec<(usize, usize)> = depth
        .iter()
        .map(|column| {
            let row = taken.entry(*column).or_default();
            *row += 1;
            (left(*column), MARGIN + (*row - 1) * (HEIGHT + ROW_GAP))
        })
        .collect();
    let width = left(deepest) + widths[deepest] + MARGIN;
    let height = taken.values().max().unwrap_or(&0) * (HEIGHT + ROW_GAP) - ROW_GAP.min(HEIGHT) + 2 * MARGIN;
    let said: Vec<String> = rows.iter().map(|row| format!("{}: {}", row.name, about(row))).collect();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" font-size=\"12.5\" \
         fill=\"var(--ink)\"><title>Stages of {}</title><desc>{}</desc>\n",
        escape(&graph.name),
        escape(&said.join("; "))
    );
    let mut put = |arguments: std::fmt::Arguments<'_>| svg.write_fmt(arguments).expect("a string takes all");
    for (from, to) in links {
        let ((x, y), (to_x, to_y)) = (places[from], places[to]);
        let (x, y, to_y) = (x + widths[depth[from]], y + HEIGHT / 2, to_y + HEIGHT / 2);
        let bend = (to_x.max(x) - x) / 2 + 6;
        put(format_args!(
            "<path d=\"M{x} {y}C{} {y} {} {to_y} {to_x} {to_y}\" fill=\"none\" stroke=\"var(--muted)\" opacity=\".7\"/>\n",
            x + bend,
            to_x.saturating_sub(bend)
        ));
    }
    for ((row, (x, y)), column) in rows.iter().zip(&places).zip(&depth) {
        let whole = row.there == row.steps;
        let (stroke, dashes) =
            if whole { ("var(--c2)", "") } else { ("var(--c1)", " stroke-dasharray=\"5 3\"") };
        put(format_args!(
            "<g><rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"var(--canvas)\" stroke=\"{stroke}\"{dashes}/>\
             <text x=\"{}\" y=\"{}\" font-weight=\"600\">{}</text><text x=\"{}\" y=\"{}\" font-size=\"11\" fill=\"var(--muted)\">{}</text></g>\n",
            widths[*column],
            x + 12,
            y + 19,
            escape(&row.name),
            x + 12,
            y + 36,
            escape(&about(row))
        ));
    }
    svg.push_str("</svg>");
    svg
}

fn about(row: &StageRow) -> String {
    let there = if row.there == row.steps {
        text::count(row.steps, "step")
    } else {
        format!("{} of {} steps", row.there, row.steps)
    };
    format!("{there}, {}", text::seconds(row.seconds))
}

/// One word for how a step stands, with what the newest run did about it.
pub fn standing(report: &Report<'_>, node: NodeIndex) -> &'static str {
    let name = &report.graph.steps[node].name;
    match report.survey.plan.state(node) {
        State::Cached(_) if report.last_run.as_ref().is_some_and(|run| run.computed.contains(name)) => {
            "computed"
        }
        state => crate::survey::word(state),
    }
}
