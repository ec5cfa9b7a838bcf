//! Examines steps for a plan: builds the recipe of every step whose inputs are known, and looks up its
//! artifact in the store.

use crate::complaint::Place;
use crate::error::Result;
use crate::graph::{Graph, Input, Source, Step};
use crate::hash::{self, Seen};
use crate::history::History;
use crate::key::{Digest, FORMAT, Hardware, Key, Recipe};
use crate::memo::Memo;
use crate::parallel;
use crate::plan::Plan;
use crate::reason::Reason;
use crate::state::News;
use crate::store::{Lookup, Store, Verdict};
use crate::task::{Filling, Watched};
use crate::yaml;
use contract::stage::{Need, StopFlag};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Looks up files and artifacts on behalf of a plan.
pub struct Examiner<'a> {
    graph: &'a Graph,
    store: &'a Store,
    memo: Memo,
    /// External files hashed so far.
    seen: HashMap<PathBuf, Seen>,
    stop: StopFlag,
}

impl<'a> Examiner<'a> {
    /// An examiner with nothing hashed yet.
    pub fn new(graph: &'a Graph, store: &'a Store, memo: Memo, stop: StopFlag) -> Examiner<'a> {
        Examiner { graph, store, memo, seen: HashMap::new(), stop }
    }

    /// The memo, with everything hashed so far.
    pub fn memo(&self) -> &Memo {
        &self.memo
    }

    /// Saves the memo for the next run.
    pub fn save(&mut self) -> Result<()> {
        Ok(self.memo.save()?)
    }

    /// Looks up every ready step and tells the plan, which may make further steps ready. Returns the steps
    /// that became settled or due; empty if no step was ready.
    pub fn advance(&mut self, plan: &mut Plan<'_>) -> Result<Vec<NodeIndex>> {
        let (mut changed, mut known) = (Vec::new(), Vec::new());
        for node in plan.ready().iter().copied().collect::<Vec<_>>() {
            match absent_hint(&self.graph.steps[node]) {
                Some(hint) => changed.extend(plan.advance(node, News::Absent(hint))),
                None => known.push(node),
            }
        }
        self.hash_inputs(&known)?;
        let looked_up = parallel::map(&known, |&node| self.look_up(plan, node));
        for (node, result) in known.into_iter().zip(looked_up) {
            let (key, lookup, verdict) = result?;
            if let Some(Verdict::Whole { manifest, stamps }) = verdict {
                self.memo.learn_artifact(key, manifest.output, manifest.warnings.len(), stamps);
            }
            let settled = plan.advance(
                node,
                match lookup {
                    Lookup::Hit(artifact) => News::Found(artifact),
                    Lookup::Miss => News::Missing(key, None),
                    Lookup::Damaged(found) => News::Missing(key, Some(found)),
                },
            );
            match settled.is_empty() {
                true => changed.push(node),
                false => changed.extend(settled),
            }
        }
        Ok(changed)
    }

    fn hash_inputs(&mut self, nodes: &[NodeIndex]) -> Result<()> {
        let steps = nodes.iter().map(|node| &self.graph.steps[*node]);
        let paths: HashSet<PathBuf> = steps
            .flat_map(|step| external_paths(self.graph, step))
            .filter(|path| !self.seen.contains_key(path))
            .collect();
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let hashed = parallel::map(&paths, |path| {
            self.memo.input(path).map_or_else(|| hash::input(path, &self.stop), Ok)
        });
        for (path, seen) in paths.into_iter().zip(hashed) {
            let seen = seen?;
            self.memo.learn_input(&path, &seen);
            self.seen.insert(path, seen);
        }
        Ok(())
    }

    fn look_up(&self, plan: &Plan<'_>, node: NodeIndex) -> Result<(Key, Lookup, Option<Verdict>)> {
        let recipe = self.recipe(plan, node).expect("the inputs of a step that is ready are known");
        let key = Recipe::key(&recipe.canonical());
        let (lookup, verdict) = self.store.look_up(key, &self.memo)?;
        Ok((key, lookup, verdict))
    }

    /// The recipe of a step; `None` while some input is unknown.
    pub fn recipe(&self, plan: &Plan<'_>, node: NodeIndex) -> Option<Recipe> {
        let step = &self.graph.steps[node];
        let inputs = step.inputs.iter();
        let inputs = inputs.map(|input| Some((input.slot.clone(), self.digest(plan, input)?)));
        let inputs: BTreeMap<String, Digest> = inputs.collect::<Option<_>>()?;
        let on_gpu = step.device == Some(Hardware::Cuda);
        let besides = step.kind.on_device.filter(|_| on_gpu).map(|able| able.code).unwrap_or_default();
        let all = step.kind.code.iter().chain(besides);
        let own = all.map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned()));
        let mut code: BTreeMap<String, String> = own.collect();
        for need in step.prepared.stage.needs() {
            match need {
                Need::File(name) => {
                    let digest = self.seen.get(&self.graph.root.join(&name))?.digest;
                    code.insert(name, digest.to_string());
                }
                Need::Variable(name) => {
                    let value = std::env::var_os(&name).map(|value| Digest::of(value.as_encoded_bytes()));
                    let value = value.map_or_else(|| "unset".to_owned(), |digest| digest.to_string());
                    code.insert(format!("${name}"), value);
                }
            }
        }
        Some(Recipe {
            format: FORMAT,
            kind: step.kind.name.to_owned(),
            code,
            params: step.prepared.params.clone(),
            device: step.device,
            inputs,
            platform: BTreeMap::new(),
        })
    }

    fn digest(&self, plan: &Plan<'_>, input: &Input) -> Option<Digest> {
        match &input.source {
            Source::Step(producer) => Some(plan.state(*producer).artifact()?.digest()),
            Source::File { path, .. } => Some(self.seen.get(path)?.digest),
            Source::Unset { .. } => None,
        }
    }

    /// What fills each slot of a step; `None` while some input is unknown.
    pub fn fillings(&self, plan: &Plan<'_>, node: NodeIndex) -> Option<BTreeMap<String, Filling>> {
        let fill = |input: &Input| {
            let filling = match &input.source {
                Source::Step(producer) => Filling::Artifact(plan.state(*producer).artifact()?.key()),
                Source::File { path, .. } => Filling::File(path.clone()),
                Source::Unset { .. } => return None,
            };
            Some((input.slot.clone(), filling))
        };
        self.graph.steps[node].inputs.iter().map(fill).collect()
    }

    /// The external files of a step, with the stamps they had when they were hashed.
    pub fn watched(&self, node: NodeIndex) -> Vec<Watched> {
        let paths = external_paths(self.graph, &self.graph.steps[node]);
        let seen = paths.filter_map(|path| self.seen.get(&path).cloned());
        seen.map(|seen| Watched { settled: self.memo.settled(&seen.stamps), seen }).collect()
    }

    /// Why a due step has no artifact.
    pub fn reason(&self, plan: &Plan<'_>, node: NodeIndex, history: &History) -> Result<Reason> {
        let work = plan.state(node).work().expect("only what is due has a reason");
        let damage = work.damage.clone();
        match damage {
            _ if plan.forced(node) => Ok(Reason::Forced),
            Some(found) => Ok(Reason::Damaged { found }),
            None => {
                let recipe = self.recipe(plan, node).expect("the inputs of a step that is due are known");
                history.reason(self.store, &self.graph.steps[node].name, work.key, &recipe)
            }
        }
    }
}

/// The external files whose content enters a step's key.
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

/// The hint of the step's first optional input that is missing.
fn absent_hint(step: &Step) -> Option<String> {
    step.inputs.iter().find_map(|input| match &input.source {
        Source::File { path, optional: Some(hint), .. } if !path.exists() => Some(hint.clone()),
        Source::Unset { hint, .. } => Some(hint.clone()),
        _ => None,
    })
}

/// Checks that every external file a step needs exists, before anything is computed.
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
    let source = yaml::PipelineText::read(graph.file.strip_prefix(here).unwrap_or(&graph.file))?;
    let title = format!("the {what} `{shown}` does not exist");
    let complaint = source.complain(place, title, format!("looked for {}", path.display()));
    let hint =
        "paths in a pipeline file are relative to its folder, paths given with --set to the current folder";
    Err(complaint.hint(hint).into())
}
