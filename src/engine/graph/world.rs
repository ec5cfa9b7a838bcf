//! The worlds of a pipeline file: the plain file, and the file under each of its variants.

use super::blame::{Blame, StageFault, path};
use super::plan::StagePlan;
use super::scope::{Scope, walk};
use crate::complaint::{Complaint, Place, Segment, known, word};
use crate::error::{Error, Result};
use crate::spec::{self, Variant};
use crate::yaml;
use contract::stage::Kind;
use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value};
use std::rc::Rc;

/// The plain file, or the file under one variant.
pub struct World {
    /// The variant's name; `None` for the plain file.
    pub variant: Option<String>,
    /// All params.
    pub params: Rc<Map<String, Value>>,
    /// The paths of the params that `--set` gave and the variant does not override.
    pub given: Rc<Vec<Vec<String>>>,
    /// The variant's overrides of params.
    changed: Map<String, Value>,
    /// Every stage, in the order of the file. Stages that the variant leaves alone are shared with the plain
    /// file.
    pub plans: Vec<Rc<StagePlan>>,
}

/// Applies the `NAME=VALUE` arguments of `--set` to the params; returns the paths that were set.
pub fn apply_sets(params: &mut Map<String, Value>, sets: &[String]) -> Result<Vec<Vec<String>>> {
    let mut given = Vec::new();
    for set in sets {
        let usage =
            |message: String| Error::Usage(format!("--set {}: {message}", crate::complaint::harmless(set)));
        let (name, text) = set.split_once('=').ok_or_else(|| usage("expected NAME=VALUE".into()))?;
        let value = yaml::parse_argument(text)
            .map_err(|message| usage(format!("{message}; quote the value if it is text")))?;
        let segments: Vec<String> = name.trim().split('.').map(str::to_owned).collect();
        replace(params, &segments, value)
            .map_err(|hint| usage(format!("unknown param {}; {hint}", word(name))))?;
        given.push(segments);
    }
    Ok(given)
}

impl World {
    /// The plain file.
    pub fn of_file(
        blame: Blame<'_>,
        stages: IndexMap<String, spec::Stage>,
        kinds: &[Kind],
        scope: &Scope,
        params: Map<String, Value>,
        given: Vec<Vec<String>>,
    ) -> std::result::Result<World, Complaint> {
        let plans = stages.into_iter().map(|(name, stage)| {
            let plan = StagePlan::of(&name, stage, kinds, scope, &params, false);
            plan.map(Rc::new).map_err(|fault| blame.complain(&name, fault))
        });
        let plans = plans.collect::<std::result::Result<_, _>>()?;
        Ok(World {
            variant: None,
            params: Rc::new(params),
            given: Rc::new(given),
            changed: Map::new(),
            plans,
        })
    }

    /// The file under a variant.
    pub fn of_variant(
        &self,
        blame: Blame<'_>,
        name: &str,
        variant: &Variant,
        kinds: &[Kind],
        scope: &Scope,
        stages: &IndexSet<String>,
    ) -> std::result::Result<World, Complaint> {
        let Variant { params: changed, stages: overrides } = variant;
        let blame = Blame { variant: Some(name), ..blame };
        let mut world = World {
            variant: Some(name.to_owned()),
            params: Rc::clone(&self.params),
            given: Rc::clone(&self.given),
            changed: changed.clone().unwrap_or_default(),
            plans: self.plans.clone(),
        };
        if let Some(changed) = changed.as_ref().filter(|changed| !changed.is_empty()) {
            let mut params = (*self.params).clone();
            let mut way = Vec::new();
            merge_known(&mut params, changed, &mut way).map_err(|hint| {
                let place =
                    Place::of(&["variants", name, "params"]).join(way.iter().cloned().map(Segment::Key));
                let title = format!("unknown param {}", word(&way.join(".")));
                blame.source.complain(&place.at_key(), title, "no such param").hint(hint)
            })?;
            let left_alone = |path: &&Vec<String>| world.leaves(path);
            world.given = Rc::new(self.given.iter().filter(left_alone).cloned().collect());
            world.params = Rc::new(params);
        }
        for (stage, change) in overrides.iter().flatten() {
            let Some(index) = stages.get_index_of(stage) else {
                let place = Place::of(&["variants", name, "stages", stage]).at_key();
                let hint = known(stage, "stages", stages.iter().map(String::as_str));
                let title = format!("unknown stage {}", word(stage));
                return Err(blame.source.complain(&place, title, "no such stage").hint(hint));
            };
            if change.is_empty() {
                continue;
            }
            let merged = overridden(blame.file.get(), stage, change).and_then(|merged| {
                let typed: spec::Stage = spec::typed(&merged, StageFault::said)?;
                StagePlan::of(stage, typed, kinds, scope, &world.params, true)
            });
            world.plans[index] = Rc::new(merged.map_err(|fault| blame.complain(stage, fault))?);
        }
        Ok(world)
    }

    /// Whether the variant leaves a param unchanged.
    pub fn leaves(&self, param: &[String]) -> bool {
        !touches(&self.changed, param)
    }

    /// Whether the value of a param came from `--set`.
    pub fn is_given(&self, param: &[String]) -> bool {
        self.given.iter().any(|given| param.starts_with(given))
    }
}

/// A stage with an override merged into it. If the kind changes, the old kind's params are dropped.
fn overridden(
    file: &Value,
    stage: &str,
    change: &Map<String, Value>,
) -> std::result::Result<Value, StageFault> {
    let base = file.get("stages").and_then(|stages| stages.get(stage)).and_then(Value::as_object);
    let mut merged = long_form(base.cloned().unwrap_or_default())?;
    let change = long_form(change.clone())?;
    if change.get("kind").is_some_and(|kind| merged.get("kind") != Some(kind)) {
        merged.shift_remove("with");
    }
    merge(&mut merged, change);
    Ok(Value::Object(merged))
}

/// Rewrites `from: x` as `in: {input: x}`, so that an override of one form replaces the other.
fn long_form(mut stage: Map<String, Value>) -> std::result::Result<Map<String, Value>, StageFault> {
    let Some(from) = stage.shift_remove("from") else { return Ok(stage) };
    let inputs = stage.entry("in").or_insert(Value::Null);
    if inputs.is_null() {
        *inputs = Value::Object(Map::new());
    }
    if let Value::Object(inputs) = inputs
        && inputs.insert("input".into(), from).is_some()
    {
        return Err(StageFault::filled_twice(path(&["from"])));
    }
    Ok(stage)
}

/// Merges maps; everything else is replaced.
fn merge(base: &mut Map<String, Value>, change: Map<String, Value>) {
    for (key, new) in change {
        match (base.get_mut(&key), new) {
            (Some(Value::Object(below)), Value::Object(new)) => merge(below, new),
            (_, new) => {
                base.insert(key, new);
            }
        }
    }
}

/// The same for params. A variant may only change existing ones, except inside a map that is empty, which
/// takes anything. On an unknown param, `way` holds its path.
fn merge_known(
    base: &mut Map<String, Value>,
    change: &Map<String, Value>,
    way: &mut Vec<String>,
) -> std::result::Result<(), String> {
    let open = base.is_empty() && !way.is_empty();
    for (key, new) in change {
        way.push(key.clone());
        match (base.get_mut(key), new) {
            (Some(Value::Object(below)), Value::Object(new)) => merge_known(below, new, way)?,
            (Some(old), new) => *old = new.clone(),
            (None, new) if open => {
                base.insert(key.clone(), new.clone());
            }
            (None, _) => return Err(known(key, "params", base.keys().map(String::as_str))),
        }
        way.pop();
    }
    Ok(())
}

/// Replaces the value at a path. If there is none, returns a hint.
fn replace(map: &mut Map<String, Value>, path: &[String], value: Value) -> std::result::Result<(), String> {
    let Some((first, rest)) = path.split_first() else { return Ok(()) };
    if !map.contains_key(first) {
        return Err(known(first, "params", map.keys().map(String::as_str)));
    }
    match map.get_mut(first) {
        Some(old) if rest.is_empty() => *old = value,
        Some(Value::Object(below)) => return replace(below, rest, value),
        _ => return Err(format!("`{first}` is not a map")),
    }
    Ok(())
}

/// Whether an override changes the param at a path, or part of it.
fn touches(change: &Map<String, Value>, path: &[String]) -> bool {
    (1..=path.len()).any(|end| match walk(change, &path[..end]) {
        Some(Value::Object(_)) => end == path.len(),
        Some(_) => true,
        None => false,
    })
}
