//! A pipeline's results as people share them: what was found, how certain it is, and how it was made.
//!
//! Everything comes from the cache and the records of runs; nothing is computed.

mod figures;
mod multiqc;
mod origins;
mod page;
mod research_object;
mod summary;
mod tensorboard;

pub use figures::{PLOT_COLOURS, figures};
pub use multiqc::multiqc;
pub use page::page;
pub use research_object::write as write_research_object;
pub use tensorboard::tensorboard;

use crate::compare::{self, Comparison, Request};
use crate::exhibit::{self, Exhibit, Sort};
use crate::metrics::{self, Metric};
use crate::warned::{self, Warned};
use engine::error::{Error, Result};
use engine::event::{Begun, Ended};
use engine::graph::Graph;
use engine::record::{Record, Standing};
use engine::store::Manifest;
use engine::survey::Survey;
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

/// At most this many files are read for figures.
const MOST_FILES: usize = 3_000;

/// Everything that a report shows.
pub struct Report<'a> {
    /// The pipeline.
    pub graph: &'a Graph,
    /// The state of its steps.
    pub survey: &'a Survey<'a>,
    /// The comparison, or why there is nothing to compare.
    pub comparison: std::result::Result<Comparison, String>,
    /// The manifest of every artifact.
    pub manifests: HashMap<NodeIndex, Manifest>,
    /// The content of the artifacts that can be shown.
    pub exhibits: Exhibits,
    /// What the steps warned of.
    pub warned: Vec<Warned>,
    /// The newest run of this file.
    pub last_run: Option<LastRun>,
    /// The command line that computes the results again.
    pub command: String,
}

/// What a run did.
pub struct LastRun {
    /// Its first event.
    pub begun: Begun,
    /// Its last event, unless it was interrupted.
    pub ended: Option<Ended>,
    /// The steps that it computed.
    pub computed: HashSet<String>,
}

/// Content of artifacts that can be shown, by step.
#[derive(Default)]
pub struct Exhibits {
    by_step: HashMap<NodeIndex, Vec<(String, Exhibit)>>,
    /// The metrics beside histories.
    metrics: HashMap<NodeIndex, Vec<Metric>>,
    /// Files that cannot be read, and why.
    pub unreadable: Vec<String>,
}

impl Exhibits {
    /// What can be shown of a step's artifact, with the file names.
    pub fn of(&self, node: NodeIndex) -> &[(String, Exhibit)] {
        self.by_step.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The metrics of a step that has a history.
    pub fn metrics_of(&self, node: NodeIndex) -> &[Metric] {
        self.metrics.get(&node).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Report<'a> {
    /// Collects the results from the cache and the run records.
    pub fn gather(survey: &'a Survey<'a>, request: &Request, command: String) -> Result<Report<'a>> {
        let graph = survey.plan.graph();
        let comparison = match compare::compare(survey, request) {
            Ok(comparison) => Ok(comparison),
            Err(Error::Usage(why)) => Err(why),
            Err(other) => return Err(other),
        };
        let nodes: Vec<NodeIndex> = survey.plan.steps().collect();
        let manifest = |node: &NodeIndex| -> Result<Option<(NodeIndex, Manifest)>> {
            let Some(artifact) = survey.plan.state(*node).artifact() else { return Ok(None) };
            Ok(artifact.manifest()?.map(|manifest| (*node, manifest)))
        };
        let manifests: Vec<Option<(NodeIndex, Manifest)>> =
            nodes.par_iter().map(manifest).collect::<Result<_>>()?;
        let manifests: HashMap<NodeIndex, Manifest> = manifests.into_iter().flatten().collect();
        let exhibits = look(survey, &manifests, comparison.as_ref().ok());
        let warned = warned::of(survey, survey.plan.steps())?;
        let last_run = last_run(survey)?;
        Ok(Report { graph, survey, comparison, manifests, exhibits, warned, last_run, command })
    }

    /// The leading row: the best one that is not a control, by the first metric of the
    /// first block that has one.
    pub fn leading(&self) -> Option<Leading<'_>> {
        let comparison = self.comparison.as_ref().ok()?;
        comparison.blocks.iter().find_map(|block| {
            let metric = *block.metrics().first()?;
            let sign = if comparison.metrics[metric].lower_is_better { -1.0 } else { 1.0 };
            let rows = block.rows.iter().filter(|row| !row.control && row.apart.is_none());
            let valued = rows.filter_map(|row| Some((row, sign * row.cells[metric].mean()?)));
            let (row, _) = valued.rev().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
            Some(Leading { block, row, metric })
        })
    }
}

/// The leading row and where it was found.
#[derive(Clone, Copy)]
pub struct Leading<'r> {
    /// Its block.
    pub block: &'r compare::Block,
    /// The row.
    pub row: &'r compare::Row,
    /// The index of the metric that it leads in.
    pub metric: usize,
}

/// A step, everything that it depends on, and what the same variant computes from those at the same point, such as
/// what a model found in addition to its metrics.
pub fn around(graph: &Graph, node: NodeIndex, variant: &str) -> Vec<NodeIndex> {
    let mut found = graph.above(&[node]);
    let mut included: HashSet<NodeIndex> = found.iter().copied().collect();
    let axes: HashMap<&str, &str> =
        graph.steps[node].axes.iter().map(|(axis, label)| (axis.as_str(), label.as_str())).collect();
    for &step in &graph.order {
        let of = &graph.steps[step];
        let ours = graph.variants.is_empty() || of.variants.iter().any(|name| name == variant);
        let here =
            of.axes.iter().all(|(axis, label)| axes.get(axis.as_str()).is_none_or(|here| here == label));
        let mut producers = graph.steps.neighbors_directed(step, Direction::Incoming).peekable();
        let follows = producers.peek().is_some() && producers.all(|producer| included.contains(&producer));
        if ours && here && follows && included.insert(step) {
            found.push(step);
        }
    }
    found
}

/// Reads the content for figures: curves, measures and histories of evaluating steps; everything upstream of the first
/// point of the first block's rows; histories of all other steps.
fn look(
    survey: &Survey<'_>,
    manifests: &HashMap<NodeIndex, Manifest>,
    comparison: Option<&Comparison>,
) -> Exhibits {
    let graph = survey.plan.graph();
    let mut wanted: HashMap<NodeIndex, &[Sort]> =
        survey.plan.steps().map(|node| (node, &[Sort::History][..])).collect();
    match comparison {
        Some(comparison) => {
            for row in comparison.blocks.iter().take(1).flat_map(|block| &block.rows) {
                for node in row.steps.iter().take(1).flat_map(|node| around(graph, *node, &row.name)) {
                    wanted.insert(node, &exhibit::ALL);
                }
            }
            for row in comparison.blocks.iter().flat_map(|block| &block.rows) {
                for node in &row.steps {
                    let sorts = wanted.entry(*node).or_insert(&[]);
                    if sorts.len() < exhibit::ALL.len() {
                        *sorts = &[Sort::Curves, Sort::Measures, Sort::History];
                    }
                }
            }
        }
        None => wanted.extend(survey.plan.steps().map(|node| (node, &exhibit::ALL[..]))),
    }
    let mut nodes: Vec<(NodeIndex, &[Sort])> = wanted.into_iter().collect();
    // Steps of which only histories are wanted come last, since the number of files is limited.
    nodes.sort_unstable_by_key(|(node, sorts)| (sorts.len() == 1, *node));
    let files: Vec<(NodeIndex, &[Sort], String, PathBuf)> = nodes
        .iter()
        .filter_map(|(node, sorts)| {
            Some((*node, *sorts, manifests.get(node)?, survey.plan.state(*node).artifact()?))
        })
        .flat_map(|(node, sorts, manifest, artifact)| {
            let file = move |record: &engine::store::FileRecord| {
                (node, sorts, record.path.clone(), artifact.file(&record.path))
            };
            manifest.files.iter().map(file)
        })
        .take(MOST_FILES)
        .collect();
    let read: Vec<(NodeIndex, String, anyhow::Result<Option<Exhibit>>)> = files
        .into_par_iter()
        .map(|(node, sorts, name, path)| (node, name, exhibit::of(&path, sorts)))
        .collect();
    let mut exhibits = Exhibits::default();
    for (node, name, found) in read {
        match found {
            Ok(Some(exhibit)) => exhibits.by_step.entry(node).or_default().push((name, exhibit)),
            Ok(None) => {}
            Err(error) => exhibits.unreadable.push(format!("{}: {error:#}", graph.steps[node].name)),
        }
    }
    let is_history = |(_, exhibit): &(String, Exhibit)| matches!(exhibit, Exhibit::History(_));
    let fitted = exhibits.by_step.iter().filter(|(_, exhibits)| exhibits.iter().any(is_history));
    let metrics = fitted.filter_map(|(node, _)| {
        let path = metrics::find(survey.plan.state(*node).artifact()?)?;
        // Where they cannot be read, the comparison says so.
        Some((*node, metrics::read(&path).ok()?))
    });
    exhibits.metrics = metrics.collect();
    exhibits
}

fn last_run(survey: &Survey<'_>) -> Result<Option<LastRun>> {
    let newest = Record::of_file(survey.store, &survey.plan.graph().file, None)?.next().transpose()?;
    let Some((begun, record)) = newest.and_then(|record| Some((record.begun()?.clone(), record))) else {
        return Ok(None);
    };
    let ended = match record.standing(survey.store)? {
        Standing::Ended(ended) => Some(ended),
        Standing::InProgress | Standing::Killed => None,
    };
    Ok(Some(LastRun { begun, ended, computed: record.computed().map(str::to_owned).collect() }))
}
