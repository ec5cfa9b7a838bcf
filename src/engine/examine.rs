//! Turns a step whose inputs are known into its recipe, and asks the store for its artifact.

use crate::complaint::Place;
use crate::error::Result;
use crate::executor::Watched;
use crate::graph::{Graph, Source, Step};
use crate::hash::{self, Seen};
use crate::key::{Digest, FORMAT, Key, Recipe};
use crate::memo::Memo;
use crate::plan::Plan;
use crate::store::{Lookup, Store, Verdict};
use crate::yaml;
use contract::disk;
use contract::stage::{Need, StopFlag};
use petgraph::graph::NodeIndex;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What is known of a step once its inputs are.
pub struct Examined {
    /// The step.
    pub node: NodeIndex,
    /// What its output depends on.
    pub recipe: Recipe,
    /// The bytes that are hashed and stored.
    pub canonical: String,
    /// The hash.
    pub key: Key,
    /// What the store says.
    pub lookup: Lookup,
}

/// Makes recipes and looks them up.
pub struct Examiner<'a> {
    graph: &'a Graph,
    store: &'a Store,
    memo: Memo,
    /// External files hashed by this run.
    seen: HashMap<PathBuf, Seen>,
    stop: StopFlag,
}

impl<'a> Examiner<'a> {
    /// An examiner that has looked at nothing.
    pub fn new(graph: &'a Graph, store: &'a Store, memo: Memo, stop: StopFlag) -> Examiner<'a> {
        Examiner { graph, store, memo, seen: HashMap::new(), stop }
    }

    /// The external files of a step, as they were hashed.
    pub fn watched(&self, node: NodeIndex) -> Vec<Watched> {
        let paths = external_paths(self.graph, &self.graph.steps[node]);
        let seen = paths.filter_map(|path| self.seen.get(&path).cloned());
        seen.map(|seen| Watched { settled: self.memo.settled(&seen.stamps), seen }).collect()
    }

    /// Keeps what was learnt for the next run.
    pub fn save(&mut self) -> Result<()> {
        Ok(self.memo.save()?)
    }

    /// Examines steps whose inputs all have artifacts.
    pub fn examine(&mut self, plan: &Plan<'_>, nodes: &[NodeIndex]) -> Result<Vec<Examined>> {
        self.hash_inputs(nodes)?;
        let looked_up: Vec<Result<(Examined, Option<Verdict>)>> =
            nodes.par_iter().map(|&node| self.look_up(plan, node)).collect();
        let mut found = Vec::with_capacity(nodes.len());
        for result in looked_up {
            let (examined, verdict) = result?;
            if let Some(Verdict::Whole { manifest, stamps }) = verdict {
                self.memo.learn_artifact(examined.key, manifest.output, stamps);
            }
            found.push(examined);
        }
        Ok(found)
    }

    fn hash_inputs(&mut self, nodes: &[NodeIndex]) -> Result<()> {
        let steps = nodes.iter().map(|node| &self.graph.steps[*node]);
        let paths: HashSet<PathBuf> = steps
            .flat_map(|step| external_paths(self.graph, step))
            .filter(|path| !self.seen.contains_key(path))
            .collect();
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let hashed: Vec<disk::Result<Seen>> = paths
            .par_iter()
            .map(|path| self.memo.input(path).map_or_else(|| hash::input(path, &self.stop), Ok))
            .collect();
        for (path, seen) in paths.into_iter().zip(hashed) {
            let seen = seen?;
            self.memo.learn_input(&path, &seen);
            self.seen.insert(path, seen);
        }
        Ok(())
    }

    fn look_up(&self, plan: &Plan<'_>, node: NodeIndex) -> Result<(Examined, Option<Verdict>)> {
        let recipe = self.recipe(plan, node);
        let canonical = recipe.canonical();
        let key = Recipe::key(&canonical);
        let (lookup, verdict) = self.store.look_up(key, &self.memo)?;
        Ok((Examined { node, recipe, canonical, key, lookup }, verdict))
    }

    /// Prereq: every input step has an artifact, and every external file was hashed.
    fn recipe(&self, plan: &Plan<'_>, node: NodeIndex) -> Recipe {
        let step = &self.graph.steps[node];
        let digest_of = |path: &Path| self.seen[path].digest;
        let mut inputs = BTreeMap::new();
        for input in &step.inputs {
            let digest = match &input.source {
                Source::Step(producer) => plan.state(*producer).artifact().map(|artifact| artifact.digest),
                Source::File { path, .. } => Some(digest_of(path)),
                Source::Unset { .. } => None,
            };
            inputs.insert(input.slot.clone(), digest.expect("a step is examined when its inputs are known"));
        }
        let on_gpu = step.resources.gpus > 0;
        let besides = step.kind.on_device.filter(|_| on_gpu).map(|able| able.code).unwrap_or_default();
        let all = step.kind.code.iter().chain(besides);
        let own = all.map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned()));
        let mut code: BTreeMap<String, String> = own.collect();
        for need in step.prepared.stage.needs() {
            match need {
                Need::File(name) => {
                    let digest = digest_of(&self.graph.root.join(&name));
                    code.insert(name, digest.to_string());
                }
                Need::Variable(name) => {
                    let value = std::env::var_os(&name).map(|value| Digest::of(value.as_encoded_bytes()));
                    let value = value.map_or_else(|| "unset".to_owned(), |digest| digest.to_string());
                    code.insert(format!("${name}"), value);
                }
            }
        }
        let device = if on_gpu { "cuda" } else { "cpu" };
        Recipe {
            format: FORMAT,
            kind: step.kind.name.to_owned(),
            code,
            params: step.prepared.params.clone(),
            device: step.kind.on_device.map(|_| device.to_owned()),
            inputs,
        }
    }
}

/// The files outside the cache that decide a step's key.
fn external_paths<'s>(graph: &'s Graph, step: &'s Step) -> impl Iterator<Item = PathBuf> + 's {
    let inputs = step.inputs.iter().filter_map(|input| match &input.source {
        Source::File { path, .. } => Some(path.clone()),
        Source::Step(_) | Source::Unset { .. } => None,
    });
    let scripts = step.prepared.stage.needs().into_iter().filter_map(|need| match need {
        Need::File(name) => Some(graph.root.join(name)),
        Need::Variable(_) => None,
    });
    inputs.chain(scripts)
}

/// The hint of the first optional input of a step that is not there.
pub fn absent_hint(step: &Step) -> Option<String> {
    step.inputs.iter().find_map(|input| match &input.source {
        Source::File { path, optional: Some(hint), .. } if !path.exists() => Some(hint.clone()),
        Source::Unset { hint } => Some(hint.clone()),
        _ => None,
    })
}

/// Complains of the first file that a step needs and that is not there, before anything is computed.
pub fn check_files(plan: &Plan<'_>) -> Result<()> {
    let graph = plan.graph();
    let mut present: HashSet<PathBuf> = HashSet::new();
    let mut is_there = |path: PathBuf| present.contains(&path) || (path.exists() && present.insert(path));
    for node in plan.steps() {
        let step = &graph.steps[node];
        for input in &step.inputs {
            let Source::File { path, shown, optional: None } = &input.source else { continue };
            if !is_there(path.clone()) {
                let place = Place::of(&["stages", &step.stage, "in", &input.slot]);
                return missing(graph, &place, "input", shown, path);
            }
        }
        for need in step.prepared.stage.needs() {
            let Need::File(name) = need else { continue };
            let path = graph.root.join(&name);
            if !is_there(path.clone()) {
                let place = Place::of(&["stages", &step.stage, "with", "scripts"]);
                return missing(graph, &place, "script", &name, &path);
            }
        }
    }
    Ok(())
}

fn missing(graph: &Graph, place: &Place, what: &str, shown: &str, path: &Path) -> Result<()> {
    let here = std::env::current_dir().unwrap_or_default();
    let source = yaml::Source::read(graph.file.strip_prefix(here).unwrap_or(&graph.file))?;
    let title = format!("the {what} `{shown}` is not there");
    let complaint = source.complain(place, title, format!("looked for {}", path.display()));
    let hint =
        "paths in a pipeline file are relative to its folder, paths given with --set to the current folder";
    Err(complaint.hint(hint).into())
}
