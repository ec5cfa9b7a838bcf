//! Expands stages to steps: one for each combination of the axes that a stage depends on, equal ones merged.
//!
//! A stage depends on the axes that its templates and conditions use, and on those of the stages it takes
//! input from. If an input is a template (`cells: "{source}"`), these are all stages that the template can
//! name. A combination whose inputs do not exist is left out.

use super::blame::{StageFault, path};
use super::odometer::Odometer;
use super::plan::{Filling, StagePlan, join, parse_resources};
use super::point::Point;
use super::scope::{Binding, Scope, label};
use super::world::World;
use super::{Input, Resources, Source, Step};
use crate::complaint::{known, otherwise, word};
use crate::key::{Digest, Hardware, write_canonical};
use crate::template::{Template, Unfit};
use contract::stage::At;
use petgraph::graph::NodeIndex;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;
use std::rc::Rc;

/// The maximum number of steps.
const MAX_STEPS: usize = 200_000;
/// The maximum number of combinations examined, in all variants together.
const MAX_COMBINATIONS: usize = 1_000_000;
/// The maximum size of all rendered params, in bytes.
const MAX_TEXT: usize = 128 << 20;
const NONE: u32 = u32::MAX;

/// The steps of one stage in one world.
#[derive(Debug, PartialEq)]
pub struct Table {
    /// The axes that the stage depends on, in the order of the matrix.
    axes: Vec<usize>,
    /// One step for each combination of all their values, the last axis fastest.
    steps: Vec<u32>,
}

impl Table {
    /// The axes that the stage depends on.
    pub fn axes(&self) -> &[usize] {
        &self.axes
    }

    /// The steps in it; a step may appear several times.
    pub fn existing(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().filter(|step| **step != NONE).map(|step| *step as usize)
    }
}

/// A step that may turn out to be unused.
pub struct TentativeStep {
    /// Its inputs refer to other tentative steps; its name and variants are not set yet.
    pub step: Step,
    /// The index of the stage in the file.
    pub stage: usize,
    /// The first variant that has it; `None` if the plain file has it.
    pub variant: Option<String>,
}

/// All steps, made from all worlds together.
pub struct Expansion<'a> {
    scope: &'a Scope,
    root: &'a Path,
    current_folder: &'a Path,
    /// Stage name to its index in the file.
    stages: HashMap<&'a str, usize>,
    /// In topological order: every step after its inputs.
    pub drafts: Vec<TentativeStep>,
    /// Whether there are variants, in which a step of the plain file may occur again.
    variants: bool,
    /// The index of the stage and the digest of a step's definition, to the step.
    interned: HashMap<(usize, Digest), u32>,
    combinations: usize,
    text: Cell<usize>,
}

impl<'a> Expansion<'a> {
    /// An expansion without steps.
    pub fn new(
        scope: &'a Scope,
        root: &'a Path,
        current_folder: &'a Path,
        stages: impl Iterator<Item = &'a str>,
        variants: bool,
    ) -> Expansion<'a> {
        Expansion {
            scope,
            root,
            current_folder,
            stages: stages.enumerate().map(|(i, name)| (name, i)).collect(),
            drafts: Vec::new(),
            variants,
            interned: HashMap::new(),
            combinations: 0,
            text: Cell::new(0),
        }
    }

    /// The stages that a stage may take input from.
    pub fn targets(&mut self, world: &World, plan: &StagePlan) -> Result<Vec<usize>, StageFault> {
        let mut targets = BTreeSet::new();
        for (slot, filling) in &plan.wires {
            let Filling::Stage(template) = filling else { continue };
            if let Some(name) = template.plain() {
                targets.insert(self.stage(slot, name, name)?);
                continue;
            }
            let Some(allowed) = self.allowed(world, plan) else { continue };
            let axes: BTreeSet<usize> =
                template.names().filter_map(|name| plan.binding(name)?.axis()).collect();
            let axes: Vec<usize> = axes.into_iter().collect();
            self.claim(&axes)?;
            let mut odometer = Odometer::new(&axes, &allowed);
            while let Some(at) = odometer.next() {
                let name = self.text(world, plan, template, path(&["in", slot]), at)?;
                targets.insert(self.stage(slot, &name, "")?);
            }
        }
        Ok(targets.into_iter().collect())
    }

    /// Makes the table of a stage in a world. Prereq: the tables of its inputs exist.
    pub fn table(
        &mut self,
        world: &World,
        index: usize,
        targets: &[usize],
        tables: &[Option<Rc<Table>>],
    ) -> Result<Table, StageFault> {
        let plan = &*world.plans[index];
        let mut axes = plan.axes.clone();
        for target in targets {
            axes.extend(tables[*target].iter().flat_map(|table| table.axes.iter().copied()));
        }
        let axes: Vec<usize> = axes.into_iter().collect();
        let size = self.claim(&axes)?;
        let mut steps = vec![NONE; size];
        if let Some(allowed) = self.allowed(world, plan) {
            let mut odometer = Odometer::new(&axes, &allowed);
            while let Some(at) = odometer.next() {
                if let Some(inputs) = self.inputs(world, plan, tables, at)? {
                    // Nothing can equal the only step of a stage.
                    let alone = size == 1 && !self.variants;
                    let step = self.step(world, index, &axes, inputs, at, alone)?;
                    steps[position(&axes, self.scope, at)] = step;
                }
            }
        }
        Ok(Table { axes, steps })
    }

    /// The inputs of a step; `None` if an input does not exist for this combination.
    fn inputs(
        &self,
        world: &World,
        plan: &StagePlan,
        tables: &[Option<Rc<Table>>],
        at: &[usize],
    ) -> Result<Option<Vec<Input>>, StageFault> {
        let mut inputs = Vec::with_capacity(plan.wires.len());
        for (slot, filling) in &plan.wires {
            let source = match filling {
                Filling::Stage(template) => {
                    let target = match template.plain() {
                        Some(name) => self.stage(slot, name, name)?,
                        None => {
                            let name = self.text(world, plan, template, path(&["in", slot]), at)?;
                            self.stage(slot, &name, "")?
                        }
                    };
                    let step = tables[target]
                        .as_ref()
                        .map(|table| table.steps[position(&table.axes, self.scope, at)]);
                    match step {
                        Some(step) if step != NONE => Source::Step(NodeIndex::new(step as usize)),
                        _ => return Ok(None),
                    }
                }
                Filling::File { path, optional } => {
                    self.file(world, plan, slot, path, optional.as_ref(), at)?
                }
            };
            inputs.push(Input { slot: slot.clone(), source });
        }
        Ok(Some(inputs))
    }

    fn file(
        &self,
        world: &World,
        plan: &StagePlan,
        slot: &str,
        template: &Template,
        optional: Option<&Template>,
        at: &[usize],
    ) -> Result<Source, StageFault> {
        let place = |key: &str| path(&["in", slot, key]);
        let hint = optional.map(|hint| self.text(world, plan, hint, place("optional"), at)).transpose()?;
        let lookup = |name: &str| self.lookup(world, plan, name, at);
        let shown = match (template.text(&lookup), &hint) {
            (Ok(shown), _) => shown,
            (Err(Unfit::Null(_)), Some(hint)) => {
                let shown = template.outline(&lookup).map_err(|unfit| unfit_fault(place("file"), unfit))?;
                return Ok(Source::Unset { shown, hint: hint.clone() });
            }
            (Err(Unfit::Null(name)), None) => {
                let fault = StageFault::new(
                    place("file"),
                    format!("the param `{name}` is null, so there is no path"),
                );
                let hint = format!("give it: `--set {name}=…`, or say `optional: …` beside the file");
                return Err(fault.piece(format!("{{{name}}}")).label("needed here").hint(hint));
            }
            (Err(unfit), _) => return Err(unfit_fault(place("file"), unfit)),
        };
        if shown.is_empty() || shown.contains('\0') {
            let title = format!("expected the path of a file or folder, found {}", word(&shown));
            return Err(StageFault::new(place("file"), title).label("not a path"));
        }
        let given =
            template.first_name().and_then(|name| plan.binding(name)).is_some_and(|binding| match binding {
                Binding::Param(param) => world.is_given(param),
                Binding::Axis(_) | Binding::Field(..) => false,
            });
        let path = if given { self.current_folder } else { self.root }.join(&shown);
        Ok(Source::File { path, shown, optional: hint })
    }

    /// The step with this definition, created if it is new. A step that is `alone` is new.
    fn step(
        &mut self,
        world: &World,
        index: usize,
        axes: &[usize],
        inputs: Vec<Input>,
        at: &[usize],
        alone: bool,
    ) -> Result<u32, StageFault> {
        let plan = &*world.plans[index];
        let lookup = |name: &str| self.lookup(world, plan, name, at);
        let with = plan
            .with
            .render(&lookup)
            .map_err(|(below, unfit)| unfit_fault(join(path(&["with"]), &below), unfit))?;
        let resources = match &plan.fixed_resources {
            Some(resources) => resources.clone(),
            None => {
                let rendered = plan.resources.render(&lookup);
                let rendered = rendered
                    .map_err(|(below, unfit)| unfit_fault(join(path(&["resources"]), &below), unfit))?;
                parse_resources(&rendered)?
            }
        };
        let identity = match alone {
            true => None,
            false => Some((index, self.identity(plan, &with, &resources, &inputs)?)),
        };
        if let Some(step) = identity.and_then(|identity| self.interned.get(&identity)) {
            return Ok(*step);
        }
        if self.drafts.len() == MAX_STEPS {
            let title = format!("the pipeline has more than {MAX_STEPS} steps");
            return Err(StageFault::new(Vec::new(), title)
                .at_key()
                .label("reached here")
                .hint(TOO_MUCH_HINT));
        }
        let point = Point { scope: self.scope, world, plan, at };
        let prepared = (plan.kind.prepare)(&with).map_err(|mistake| {
            let quoted = match &mistake.at {
                At::Param(below) => unquoted_template(&with, below, self.scope, world),
                At::Slot(_) | At::Wires => None,
            };
            let fault = point.fault(mistake);
            StageFault { hint: quoted.or(fault.hint), ..fault }
        })?;
        point.check(&prepared, &inputs, &self.drafts)?;
        let step = Step {
            name: String::new(),
            stage: plan.name.clone(),
            axes: axes
                .iter()
                .map(|axis| {
                    let axis_of = &self.scope.axes[*axis];
                    (axis_of.name.clone(), axis_of.values[at[*axis]].label.clone())
                })
                .collect(),
            variants: Default::default(),
            kind: plan.kind,
            with,
            prepared,
            inputs,
            // A step that asks for GPUs runs on one, unless `--device` decides otherwise.
            device: plan.kind.on_device.map(|_| match resources.gpus {
                0 => Hardware::Cpu,
                _ => Hardware::Cuda,
            }),
            resources,
            retries: plan.retries,
            timeout: plan.timeout,
        };
        let number = self.drafts.len() as u32;
        self.drafts.push(TentativeStep { step, stage: index, variant: world.variant.clone() });
        if let Some(identity) = identity {
            self.interned.insert(identity, number);
        }
        Ok(number)
    }

    /// The digest of everything that defines a step of a stage.
    fn identity(
        &self,
        plan: &StagePlan,
        with: &Value,
        resources: &Resources,
        inputs: &[Input],
    ) -> Result<Digest, StageFault> {
        let mut identity = String::with_capacity(256);
        write_canonical(with, &mut identity);
        // Nothing can fail when writing into a string.
        let _ = write!(identity, "{:?}{resources:?}{:?}{:?}", plan.kind.name, plan.retries, plan.timeout);
        for Input { slot, source } in inputs {
            let _ = match source {
                Source::Step(step) => write!(identity, "\0{slot}\0{}", step.index()),
                Source::File { path, shown: _, optional } => {
                    write!(identity, "\0{slot}\0{path:?}{optional:?}")
                }
                // Two files that are not given are two files: they are missing one by one.
                Source::Unset { shown, hint } => write!(identity, "\0{slot}\0-{shown:?}{hint:?}"),
            };
        }
        self.spend(identity.len())
            .map_err(|title| StageFault::new(Vec::new(), title).at_key().hint(TOO_MUCH_HINT))?;
        Ok(Digest::of(identity.as_bytes()))
    }

    fn lookup<'v>(
        &'v self,
        world: &'v World,
        plan: &StagePlan,
        name: &str,
        at: &[usize],
    ) -> Result<&'v Value, String> {
        let binding = plan.binding(name).ok_or_else(|| format!("there is no `{name}`"))?;
        let value = self.scope.value(binding, &world.params, |axis| at[axis])?;
        self.spend(size(value))?;
        Ok(value)
    }

    fn text(
        &self,
        world: &World,
        plan: &StagePlan,
        template: &Template,
        place: Vec<crate::complaint::Segment>,
        at: &[usize],
    ) -> Result<String, StageFault> {
        let lookup = |name: &str| self.lookup(world, plan, name, at);
        template.text(&lookup).map_err(|unfit| unfit_fault(place, unfit))
    }

    fn stage(&self, slot: &str, name: &str, piece: &str) -> Result<usize, StageFault> {
        self.stages.get(name).copied().ok_or_else(|| {
            let title = format!("there is no stage {}", word(name));
            let hint = known(name, "stages", self.sorted_stages());
            let fault = StageFault::new(path(&["in", slot]), title).label("no such stage");
            fault.piece(piece).hint(otherwise(&hint, "write `{file: path}` for a file"))
        })
    }

    fn sorted_stages(&self) -> Vec<&'a str> {
        let mut names: Vec<(&usize, &&str)> = self.stages.iter().map(|(name, i)| (i, name)).collect();
        names.sort();
        names.into_iter().map(|(_, name)| *name).collect()
    }

    /// The values of each axis that the stage's conditions allow; `None` if some axis has none left.
    fn allowed(&self, world: &World, plan: &StagePlan) -> Option<Vec<Vec<usize>>> {
        let mut allowed: Vec<Vec<usize>> = Vec::with_capacity(self.scope.axes.len());
        for (i, axis) in self.scope.axes.iter().enumerate() {
            // Any value is allowed on an axis that the stage does not use itself.
            allowed.push((0..axis.values.len()).collect());
            for condition in plan.when.iter().filter(|condition| condition.binding.axis() == Some(i)) {
                allowed[i].retain(|value| self.holds(world, condition, |_| *value));
            }
        }
        let mut about_params = plan.when.iter().filter(|condition| condition.binding.axis().is_none());
        (about_params.all(|condition| self.holds(world, condition, |_| 0))).then_some(allowed)
    }

    /// Whether a condition on a param keeps the stage from having steps.
    pub fn switched_off(&self, world: &World, plan: &StagePlan) -> bool {
        let about_params = plan.when.iter().filter(|condition| condition.binding.axis().is_none());
        about_params.into_iter().any(|condition| !self.holds(world, condition, |_| 0))
    }

    fn holds(&self, world: &World, condition: &super::plan::Condition, at: impl Fn(usize) -> usize) -> bool {
        if let Binding::Axis(axis) = condition.binding {
            return condition.labels.contains(&self.scope.axes[axis].values[at(axis)].label);
        }
        let value = self.scope.value(&condition.binding, &world.params, at).ok().and_then(label);
        value.is_some_and(|value| condition.labels.contains(&value))
    }

    /// The number of combinations of some axes; an error if there are too many.
    fn claim(&mut self, axes: &[usize]) -> Result<usize, StageFault> {
        let sizes = axes.iter().map(|axis| self.scope.axes[*axis].values.len());
        let size = sizes.fold(1usize, usize::saturating_mul);
        self.combinations = self.combinations.saturating_add(size);
        if self.combinations > MAX_COMBINATIONS {
            let names: Vec<&str> =
                axes.iter().take(12).map(|axis| self.scope.axes[*axis].name.as_str()).collect();
            let title = format!("the matrix has more than {MAX_COMBINATIONS} combinations");
            let label = format!("depends on {}", names.join(", "));
            return Err(StageFault::new(Vec::new(), title).at_key().label(label).hint(TOO_MUCH_HINT));
        }
        Ok(size)
    }

    fn spend(&self, bytes: usize) -> Result<(), String> {
        self.text.set(self.text.get().saturating_add(bytes));
        if self.text.get() > MAX_TEXT {
            return Err(format!("the params of all steps take more than {} MiB", MAX_TEXT >> 20));
        }
        Ok(())
    }
}

const TOO_MUCH_HINT: &str = "split the pipeline, or give the axes fewer values";

fn unfit_fault(place: Vec<crate::complaint::Segment>, unfit: Unfit) -> StageFault {
    let (name, title) = match unfit {
        Unfit::Null(name) => {
            let title = format!("`{name}` is null, which has no text");
            (name, title)
        }
        Unfit::Compound(name) => {
            let title = format!("`{name}` is a map or a list, which cannot stand within text");
            (name, title)
        }
        Unfit::Missing(name, title) => (name, title),
    };
    StageFault::new(place, title).piece(format!("{{{name}}}")).label("used here")
}

/// Detects a missing pair of quotes: to YAML, `with: {width: {width}}` is a map in a map, but the user meant
/// a template.
fn unquoted_template(with: &Value, below: &[String], scope: &Scope, world: &World) -> Option<String> {
    let value = below.iter().try_fold(with, |value, key| value.get(key))?;
    let (name, inner) = value.as_object().filter(|map| map.len() == 1)?.iter().next()?;
    let known = inner.is_null() && scope.bind(name, &world.params).is_ok();
    known.then(|| format!("quote the template: `\"{{{name}}}\"`"))
}

/// The index of a combination in a table.
fn position(axes: &[usize], scope: &Scope, at: &[usize]) -> usize {
    axes.iter().fold(0, |position, axis| position * scope.axes[*axis].values.len() + at[*axis])
}

/// The approximate size of a copy of a value, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 32 + size(item)).sum(),
        Value::Object(map) => size_of_map(map),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// The approximate size of a copy of a map, in bytes.
pub fn size_of_map(map: &Map<String, Value>) -> usize {
    map.iter().map(|(key, value)| 96 + key.len() + size(value)).sum()
}
