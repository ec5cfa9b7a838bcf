//! A pipeline file as a checked graph of steps.
//!
//! A step is a stage at one combination of the axes that it depends on, and is called `stage[axis=value,…]`.
//! Steps of one stage with equal params, inputs and resources are merged into one step, under the name of the
//! first. With `variants`, each variant is the file with its overrides applied, and the graph holds every
//! step that some variant uses; a step that the plain file does not produce is called `stage[…,variant=name]`
//! after the first variant that does.

mod assemble;
mod blame;
mod compared;
mod expand;
mod names;
mod odometer;
mod order;
mod plan;
mod point;
mod reading;
mod scope;
mod world;

use crate::complaint::{harmless, known, word};
use crate::error::{Error, Result};
use crate::key::Hardware;
use crate::parsed::Parsed;
use crate::yaml;
use blame::Blame;
use contract::stage::{Kind, Prepared};
use expand::Expansion;
use indexmap::IndexSet;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use reading::Build;
use scope::Scope;
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use world::World;

pub use crate::spec::{Compare, Resources};

/// A checked pipeline.
pub struct Graph {
    /// The pipeline's name.
    pub name: String,
    /// The pipeline file, absolute.
    pub file: PathBuf,
    /// Its folder.
    pub root: PathBuf,
    /// Edges go from producer to consumer.
    pub steps: DiGraph<Step, ()>,
    /// Topological order, in the file's order where there is a choice.
    pub order: Vec<NodeIndex>,
    /// Every stage in the file's order, including those without steps.
    pub stages: Vec<String>,
    /// The variants, in the order of the file.
    pub variants: Vec<String>,
    /// The file's `compare` section.
    pub compare: Option<Compare>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Which device the steps with a choice compute on, and why; `None` if no step has a choice.
    pub device: Option<String>,
}

/// One node of the graph: the unit of computation.
pub struct Step {
    /// Unique in the pipeline.
    pub name: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// The axes that it depends on, each with the label of its value here.
    pub axes: Vec<(String, String)>,
    /// Every variant that uses it. Steps share these lists.
    pub variants: Arc<[String]>,
    /// Its kind.
    pub kind: Kind,
    /// Its params, as the file writes them.
    pub with: Arc<Value>,
    /// The params, checked and with defaults filled in.
    pub prepared: Prepared,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// The device, if its kind has a choice; it enters the key.
    pub device: Option<Hardware>,
    /// The resources that the file requests for it.
    pub resources: Resources,
    /// How many times a failed attempt is retried.
    pub retries: u32,
    /// The time limit of one attempt.
    pub timeout: Option<Duration>,
}

/// One filled slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The slot.
    pub slot: String,
    /// What fills it.
    pub source: Source,
}

/// What fills a slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The artifact of another step.
    Step(NodeIndex),
    /// A file or folder that no step produces.
    File {
        /// Absolute; links are not resolved.
        path: PathBuf,
        /// As written in the file, with templates rendered.
        shown: String,
        /// How to get it, if it is optional.
        optional: Option<String>,
    },
    /// An optional file whose path depends on a param that is null.
    Unset {
        /// As written in the file, with the templates rendered that have a value.
        shown: String,
        /// How to get it.
        hint: String,
    },
}

impl Step {
    /// The resources that it takes: no GPU on the CPU, at least one on a GPU.
    pub fn takes(&self) -> Resources {
        let gpus = match self.device {
            None => self.resources.gpus,
            Some(Hardware::Cpu) => 0,
            Some(Hardware::Cuda) => self.resources.gpus.max(1),
        };
        Resources { gpus, ..self.resources.clone() }
    }
}

impl Graph {
    /// Reads and checks a pipeline file.
    pub fn load(file: &Path, kinds: &[Kind], sets: &[String], current_folder: &Path) -> Result<Graph> {
        let source = yaml::PipelineText::read(file)?;
        let parsed = Parsed::of(&source)?;
        Graph::of(&source, parsed, kinds, sets, current_folder)
    }

    /// Checks a parsed pipeline file. `sets` are the `NAME=VALUE` arguments of `--set`; file paths given
    /// there are relative to `current_folder`.
    pub fn of(
        source: &yaml::PipelineText,
        parsed: Parsed,
        kinds: &[Kind],
        sets: &[String],
        current_folder: &Path,
    ) -> Result<Graph> {
        let Parsed { mut spec, untyped, remembered: _ } = parsed;
        names::check(source, &spec)?;
        let file = current_folder.join(&source.path);
        let root = file.parent().unwrap_or(current_folder).to_owned();
        let scope = match spec.matrix.iter().flatten().next() {
            Some(matrix) => Scope::of(source, matrix)?,
            None => Scope::default(),
        };
        let mut params = spec.params.take().unwrap_or_default();
        let given = world::apply_sets(&mut params, sets)?;
        let stages: IndexSet<String> = spec.stages.keys().cloned().collect();
        let blame = Blame { source, file: &untyped, variant: None };
        let base = World::of_file(blame, spec.stages, kinds, &scope, params, given)?;

        let names = stages.iter().map(String::as_str);
        let expansion = Expansion::new(&scope, &root, current_folder, names, spec.variants.is_some());
        let mut build = Build::new(blame, &stages, expansion);
        let mut warnings = Vec::new();
        let variants: Vec<String> =
            spec.variants.iter().flat_map(|variants| variants.keys().cloned()).collect();
        let first = build.read(&base, None, variants.is_empty())?;
        for (i, (name, variant)) in spec.variants.iter().flatten().enumerate() {
            let variant = variant.clone().unwrap_or_default();
            let world = base.of_variant(blame, name, &variant, kinds, &scope, &stages)?;
            for given in base.given.iter().filter(|given| !world.given.contains(given)) {
                warnings.push(format!(
                    "--set {} does nothing in the variant `{name}`, which sets it itself",
                    given.join(".")
                ));
            }
            let reading = build.read(&world, Some((&base, &first)), true)?;
            build.mark(&reading, i);
        }
        if variants.is_empty() {
            build.mark(&first, 0);
        }
        warnings.extend(build.warnings(&scope, &base, &first));
        let Build { expansion, tables, .. } = build;
        let (steps, order) = assemble::assemble(expansion.drafts, &tables, &variants);
        if let Some(compare) = &spec.compare {
            compared::check(source, compare, steps.node_weights())?;
        }
        let name = spec.name.or_else(|| Some(file.file_stem()?.to_string_lossy().into_owned()));
        Ok(Graph {
            name: name.unwrap_or_default(),
            file,
            root,
            steps,
            order,
            stages: stages.into_iter().collect(),
            variants,
            compare: spec.compare.clone(),
            warnings,
            device: None,
        })
    }

    /// The one step that the command line names, by the step's name or by the name of a stage that has only
    /// one.
    pub fn find(&self, name: &str) -> Result<NodeIndex> {
        let steps = self.steps_of(name)?;
        match steps.as_slice() {
            [step] => Ok(*step),
            [] => Err(Error::Usage(format!("the stage `{name}` has no steps: its `when` is never true"))),
            several => {
                let shown: Vec<&str> =
                    several.iter().take(12).map(|step| self.steps[*step].name.as_str()).collect();
                let more = if several.len() > shown.len() { ", …" } else { "" };
                let count = several.len();
                Err(Error::Usage(format!(
                    "the stage `{name}` has {count} steps; name one of them: {}{more}",
                    shown.join(", ")
                )))
            }
        }
    }

    /// Some steps and everything that they depend on, in the order of the graph.
    pub fn above(&self, nodes: &[NodeIndex]) -> Vec<NodeIndex> {
        let mut seen: HashSet<NodeIndex> = nodes.iter().copied().collect();
        let mut found: Vec<NodeIndex> = seen.iter().copied().collect();
        let mut next = 0;
        while let Some(node) = found.get(next).copied() {
            let producers = self.steps.neighbors_directed(node, Direction::Incoming);
            found.extend(producers.filter(|node| seen.insert(*node)));
            next += 1;
        }
        found.sort_unstable();
        found
    }

    /// The step with this name, or all steps of the stage with this name.
    pub fn steps_of(&self, name: &str) -> Result<Vec<NodeIndex>> {
        if let Some(step) = self.order.iter().find(|step| self.steps[**step].name == name) {
            return Ok(vec![*step]);
        }
        if self.stages.iter().any(|stage| stage == name) {
            return Ok(self.order.iter().copied().filter(|step| self.steps[*step].stage == name).collect());
        }
        if let Some(step) = self.step_at(name) {
            return Ok(vec![step]);
        }
        let stages = self.stages.iter().map(String::as_str);
        // The user usually gets the stage's name right, so suggest steps of that stage.
        let stage = name.split('[').next().unwrap_or(name);
        let hint = if name.contains('[') && self.stages.iter().any(|known| known == stage) {
            let steps = self.order.iter().map(|step| &self.steps[*step]).filter(|step| step.stage == stage);
            known(name, "steps", steps.map(|step| step.name.as_str()))
        } else {
            known(stage, "stages", stages)
        };
        Err(Error::Usage(format!("there is no step or stage {}; {hint}", word(&harmless(name)))))
    }
}

impl Graph {
    /// The step at this point of its axes, in whatever order they are named. With a variant, the step that the
    /// variant uses, which is that of the plain file where the variant changes nothing about it.
    fn step_at(&self, name: &str) -> Option<NodeIndex> {
        let (stage, point) = name.strip_suffix(']')?.split_once('[')?;
        let mut axes: Vec<(&str, &str)> =
            point.split(',').map(|part| part.split_once('=')).collect::<Option<_>>()?;
        let variant = axes.iter().position(|(axis, _)| *axis == "variant");
        let variant = variant.filter(|_| !self.variants.is_empty()).map(|at| axes.remove(at).1);
        let is_it = |step: &Step| {
            let all = step.axes.len() == axes.len()
                && step.axes.iter().all(|(axis, label)| axes.contains(&(axis.as_str(), label.as_str())));
            let used = |variant: &str| step.variants.iter().any(|used| used == variant);
            step.stage == stage && all && variant.map_or(!step.name.contains("variant="), used)
        };
        self.order.iter().copied().find(|node| is_it(&self.steps[*node]))
    }
}

#[cfg(test)]
mod tests;
