//! Where everything came from: stages, inputs, versions, and the graph of them.

use super::{LastRun, Report};
use crate::plot::{self, Look, Node};
use engine::clock;
use engine::graph::Source;
use engine::key::{Digest, Hardware};
use engine::state::State;
use engine::text;
use indexmap::{IndexMap, IndexSet};
use petgraph::graph::NodeIndex;
use std::path::Path;

/// One stage of the pipeline.
pub struct StageRow {
    /// Its name.
    pub name: String,
    /// Its kinds; variants may give a stage several.
    pub kinds: IndexSet<String>,
    /// Its steps.
    pub steps: usize,
    /// Steps with an artifact.
    pub there: usize,
    /// Steps that are absent because an optional input does not exist.
    pub absent: usize,
    /// Steps that the newest run computed.
    pub computed: usize,
    /// The total time that its steps took.
    pub seconds: f64,
    /// The total size of its artifacts.
    pub bytes: u64,
    /// The devices on which its steps ran.
    pub devices: IndexSet<String>,
    /// The program versions that computed its artifacts.
    pub versions: IndexSet<String>,
    /// How many artifacts were adopted although their code differed.
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
                absent: 0,
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
        row.absent += usize::from(matches!(report.survey.plan.state(node), State::Absent(_)));
        let computed = |run: &LastRun| run.computed.contains(&step.name);
        row.computed += usize::from(report.last_run.as_ref().is_some_and(computed));
        if let Some(manifest) = report.manifests.get(&node) {
            row.there += 1;
            row.seconds += manifest.seconds;
            row.bytes += manifest.bytes();
            row.versions.insert(manifest.version.clone());
            row.adopted += usize::from(manifest.adopted.is_some());
        }
        row.devices.insert(step.device.unwrap_or(Hardware::Cpu).to_string());
    }
    rows.into_values().filter(|row| row.steps > 0).collect()
}

/// Every file that no step produces: its name in the pipeline, its digest and the steps that read it.
pub fn inputs(report: &Report<'_>) -> Vec<(String, Option<Digest>, Vec<String>)> {
    let mut files: IndexMap<String, (Option<Digest>, IndexSet<String>)> = IndexMap::new();
    for node in report.survey.plan.steps() {
        let step = &report.graph.steps[node];
        for input in &step.inputs {
            let Source::File { shown, .. } = &input.source else { continue };
            let recipe = report.survey.recipe(node);
            let digest = recipe.and_then(|recipe| recipe.inputs.get(&input.slot).copied());
            let file = files.entry(shown.clone()).or_default();
            file.0 = file.0.or(digest);
            file.1.insert(step.stage.clone());
        }
    }
    files.into_iter().map(|(file, (digest, stages))| (file, digest, stages.into_iter().collect())).collect()
}

/// When the newest artifact was created.
pub fn newest(report: &Report<'_>) -> Option<String> {
    report.manifests.values().map(|manifest| manifest.at).max().map(clock::date)
}

/// The pipeline file's name as shown in the report.
pub fn file_name(report: &Report<'_>) -> String {
    let file = &report.graph.file;
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| file.strip_prefix(here).ok());
    short.unwrap_or(file.file_name().map_or(file.as_path(), Path::new)).display().to_string()
}

/// Draws the stages: one box each, below the stages that it takes inputs from.
pub fn drawing(report: &Report<'_>, rows: &[StageRow]) -> String {
    let graph = report.graph;
    let place = |node: NodeIndex| rows.iter().position(|row| row.name == graph.steps[node].stage);
    let mut links: IndexSet<(usize, usize)> = IndexSet::new();
    for edge in graph.steps.edge_indices() {
        let ends = graph.steps.edge_endpoints(edge).and_then(|(from, to)| place(from).zip(place(to)));
        links.extend(ends);
    }
    let nodes: Vec<Node> =
        rows.iter().map(|row| Node { name: row.name.clone(), about: about(row), look: look(row) }).collect();
    let said: Vec<String> = rows.iter().map(|row| format!("{}: {}", row.name, about(row))).collect();
    let links: Vec<(usize, usize)> = links.into_iter().collect();
    plot::layers(&format!("Stages of {}", graph.name), &said.join("; "), &nodes, &links)
}

fn look(row: &StageRow) -> Look {
    match row.steps - row.absent {
        0 => Look::Absent,
        steps if steps == row.there => Look::Whole,
        _ => Look::Partial,
    }
}

fn about(row: &StageRow) -> String {
    match look(row) {
        Look::Absent => "absent".to_owned(),
        _ => format!("{}, {}", row.stand(), text::seconds(row.seconds)),
    }
}

impl StageRow {
    /// How many steps there are, and how many of them have artifacts if not all do.
    pub fn stand(&self) -> String {
        match self.steps - self.absent {
            steps if steps == self.there => text::count(steps, "step"),
            steps => format!("{} of {}", self.there, text::count(steps, "step")),
        }
    }
}

/// The state of a step in one word, including what the newest run did with it.
pub fn standing(report: &Report<'_>, node: NodeIndex) -> &'static str {
    let name = &report.graph.steps[node].name;
    match report.survey.plan.state(node) {
        State::Cached(_) if report.last_run.as_ref().is_some_and(|run| run.computed.contains(name)) => {
            "computed"
        }
        state => state.word(),
    }
}
