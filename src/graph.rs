//! A pipeline file as a checked graph of steps.
//!
//! A step is a stage at one combination of the axes that it depends on, and is called
//! `stage[axis=value,…]`. Steps of one stage that come out equal (params, inputs, resources) are one
//! step, under the name of the first. With `variants`, each variant is the file with its overrides, and
//! the graph holds the steps that some variant uses; a step that the file itself would not give is called
//! `stage[…,variant=name]` after the first variant that gives it.

mod blame;
mod expand;
mod order;
mod plan;
mod scope;
mod world;

use crate::complaint::{Complaint, Place, known, word};
use crate::error::{Error, Result};
use crate::spec::{self, Spec};
use crate::template::is_name;
use crate::yaml;
use blame::{Blame, Fault};
use expand::{Draft, Expansion, Table};
use petgraph::graph::{DiGraph, NodeIndex};
use scope::Scope;
use serde_json::Value;
use stages::stage::{Kind, Prepared};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use world::World;

pub use crate::spec::Resources;

/// The most stages times variants.
const MAX_READINGS: usize = 1_000_000;

/// A checked pipeline.
pub struct Graph {
    /// What the pipeline is called.
    pub name: String,
    /// The pipeline file, absolute.
    pub file: PathBuf,
    /// Its folder.
    pub root: PathBuf,
    /// From producer to consumer.
    pub steps: DiGraph<Step, ()>,
    /// Every step after its inputs, in the order of the file where there is a choice.
    pub order: Vec<NodeIndex>,
    /// Every stage, in the order of the file, those without steps too.
    pub stages: Vec<String>,
    /// The variants, in the order of the file.
    pub variants: Vec<String>,
    /// What a person should know although nothing is wrong.
    pub warnings: Vec<String>,
}

/// One thing to compute.
pub struct Step {
    /// Unique in the pipeline.
    pub name: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// The axes that it depends on, each with the label of its value.
    pub axes: Vec<(String, String)>,
    /// Every variant that uses it; steps share these lists.
    pub variants: Arc<[String]>,
    /// What it is.
    pub kind: Kind,
    /// Its params, checked.
    pub prepared: Prepared,
    /// What it reads.
    pub inputs: Vec<Input>,
    /// What it takes of the machine.
    pub resources: Resources,
    /// How often it is tried again when it fails.
    pub retries: u32,
    /// How long it may take.
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
    /// A file or folder that no step makes.
    File {
        /// Absolute, not resolved any further.
        path: PathBuf,
        /// As the file writes it, templates filled in.
        shown: String,
        /// How to get it, if it may be absent.
        optional: Option<String>,
    },
    /// An optional file whose path needs a param that is null.
    Unset {
        /// How to get it.
        hint: String,
    },
}

impl Graph {
    /// Reads and checks a pipeline file. `sets` are the `NAME=VALUE` of `--set`; what they name is
    /// relative to `current_folder`.
    pub fn load(file: &Path, kinds: &[Kind], sets: &[String], current_folder: &Path) -> Result<Graph> {
        let source = yaml::Source::read(file)?;
        let value = source.parse()?;
        let spec = spec::read(&source, &value)?;
        check_names(&source, &value, &spec)?;
        let file = current_folder.join(file);
        let root = file.parent().unwrap_or(current_folder).to_owned();
        let scope = match &spec.matrix {
            Some(matrix) => Scope::of(&source, matrix)?,
            None => Scope::default(),
        };
        let mut params = spec.params.clone().unwrap_or_default();
        let given = world::apply_sets(&mut params, sets)?;
        let blame = Blame { source: &source, file: &value, variant: None };
        let base = World::of_file(blame, &spec, kinds, &scope, params, given)?;

        let expansion = Expansion::new(&scope, &root, current_folder, spec.stages.keys().map(String::as_str));
        let mut build = Build { blame, expansion, spec: &spec, tables: Vec::new(), by_table: HashMap::new() };
        let mut warnings = Vec::new();
        let variants: Vec<String> =
            spec.variants.iter().flat_map(|variants| variants.keys().cloned()).collect();
        let first = build.read(&base, None, variants.is_empty())?;
        for (i, (name, variant)) in spec.variants.iter().flatten().enumerate() {
            let variant = variant.clone().unwrap_or_default();
            let world = base.of_variant(blame, name, &variant, kinds, &scope, &spec.stages)?;
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
        warnings.extend(build.warnings(&scope));
        let Build { expansion, tables, .. } = build;
        let (steps, order) = assemble(expansion.drafts, &tables, &variants);
        let name = spec.name.clone().or_else(|| Some(file.file_stem()?.to_string_lossy().into_owned()));
        Ok(Graph {
            name: name.unwrap_or_default(),
            file,
            root,
            steps,
            order,
            stages: spec.stages.keys().cloned().collect(),
            variants,
            warnings,
        })
    }

    /// The one step that a command line names: by its name, or by a stage that has no other.
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

    /// The step of this name, or every step of the stage of this name.
    pub fn steps_of(&self, name: &str) -> Result<Vec<NodeIndex>> {
        if let Some(step) = self.order.iter().find(|step| self.steps[**step].name == name) {
            return Ok(vec![*step]);
        }
        if self.stages.iter().any(|stage| stage == name) {
            return Ok(self.order.iter().copied().filter(|step| self.steps[*step].stage == name).collect());
        }
        let stages = self.stages.iter().map(String::as_str);
        // A step is looked for among the steps of its own stage, which it often gets right.
        let stage = name.split('[').next().unwrap_or(name);
        let hint = if name.contains('[') && self.stages.iter().any(|known| known == stage) {
            let steps = self.order.iter().map(|step| &self.steps[*step]).filter(|step| step.stage == stage);
            known(name, "steps", steps.map(|step| step.name.as_str()))
        } else {
            known(stage, "stages", stages)
        };
        Err(Error::Usage(format!(
            "there is no step or stage {}; {hint}",
            word(&crate::complaint::harmless(name))
        )))
    }
}

/// Names that stand in step names and on command lines.
fn check_names(source: &yaml::Source, value: &Value, spec: &Spec) -> std::result::Result<(), Complaint> {
    let plain = "use letters, digits, `_` and `-`, beginning with a letter or `_`";
    let refuse = |keys: &[&str], what: &str, name: &str, hint: &str| {
        let title = format!("{} cannot be the name of {what}", word(name));
        Err(source.complain(&Place::of(keys).at_key(), title, "this name").hint(hint))
    };
    if spec.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
        let title = "the pipeline's name is empty";
        return Err(source
            .complain(&Place::of(&["name"]), title, "here")
            .hint("give it a name, or leave `name` out"));
    }
    if spec.stages.is_empty() {
        let complaint = source.complain(&Place::of(&["stages"]), "there are no stages", "nothing to do");
        return Err(complaint.hint("add one, as in `stages: {first: {kind: …}}`"));
    }
    if value.get("matrix").is_some_and(Value::is_null) {
        let complaint = source.complain(&Place::of(&["matrix"]).at_key(), "a matrix over nothing", "no axis");
        return Err(complaint.hint("give it an axis, as in `seed: [1, 2, 3]`, or leave `matrix` out"));
    }
    for name in spec.stages.keys().filter(|name| !is_name(name)) {
        return refuse(&["stages", name], "a stage", name, plain);
    }
    for name in spec.params.iter().flat_map(|params| params.keys()).filter(|name| !is_name(name)) {
        return refuse(&["params", name], "a param", name, plain);
    }
    let hidden = |name: &str| name.chars().any(char::is_control) || name.contains([',', '[', ']', '=', '/']);
    for name in spec.variants.iter().flat_map(|variants| variants.keys()) {
        if name.is_empty() || hidden(name) {
            return refuse(&["variants", name], "a variant", name, "leave `,` `[` `]` `=` and `/` out");
        }
    }
    let readings = spec.stages.len() * (1 + spec.variants.as_ref().map_or(0, |variants| variants.len()));
    if readings > MAX_READINGS {
        let title = format!("more than {MAX_READINGS} stages in all variants together");
        return Err(source
            .complain(&Place::of(&["variants"]).at_key(), title, "too many")
            .hint("split the pipeline"));
    }
    Ok(())
}

/// One world read: what each stage needs, the order, and the steps of each.
struct Reading {
    targets: Vec<Rc<Vec<usize>>>,
    order: Rc<Vec<usize>>,
    /// None where the file itself cannot be expanded although its variants may be.
    tables: Vec<Option<Rc<Table>>>,
}

/// All readings together.
struct Build<'a> {
    blame: Blame<'a>,
    expansion: Expansion<'a>,
    spec: &'a Spec,
    /// Every table that some variant uses, with these variants.
    tables: Vec<(Rc<Table>, Vec<u32>)>,
    /// The address of a table to its place in `tables`, which keeps it alive.
    by_table: HashMap<*const Table, usize>,
}

impl Build<'_> {
    /// Reads a world; whatever is the same in the file's own reading is taken from there. Where faults
    /// are not `fatal`, they leave holes.
    fn read(&mut self, world: &World, base: Option<(&World, &Reading)>, fatal: bool) -> Result<Reading> {
        // What is wrong with the file itself is not blamed on the first variant that reads it.
        let complain = |stage: usize, fault: Fault| {
            let of_file = base.is_some_and(|(file, reading)| {
                reading.tables[stage].is_none() && unchanged(world, file, stage)
            });
            let variant = world.variant.as_deref().filter(|_| !of_file);
            Blame { variant, ..self.blame }.complain(&world.plans[stage].name, fault)
        };
        let count = world.plans.len();
        let mut targets: Vec<Rc<Vec<usize>>> = Vec::with_capacity(count);
        let mut holes = HashSet::new();
        for (i, plan) in world.plans.iter().enumerate() {
            let reused = base.filter(|(file, _)| {
                Rc::ptr_eq(plan, &file.plans[i])
                    && (Rc::ptr_eq(&world.params, &file.params) || plan.bindings.is_empty())
            });
            if let Some((_, reading)) = reused {
                targets.push(Rc::clone(&reading.targets[i]));
                continue;
            }
            let found = match self.expansion.targets(world, plan) {
                Ok(found) => found,
                Err(fault) if fatal => return Err(complain(i, fault).into()),
                Err(_) => {
                    holes.insert(i);
                    Vec::new()
                }
            };
            let same = base.map(|(_, reading)| &reading.targets[i]).filter(|theirs| ***theirs == found);
            targets.push(same.map_or_else(|| Rc::new(found), Rc::clone));
        }
        let same_order = base.filter(|(_, reading)| {
            reading.targets.iter().zip(&targets).all(|(theirs, ours)| Rc::ptr_eq(theirs, ours))
        });
        let order = match same_order {
            Some((_, reading)) => Rc::clone(&reading.order),
            None => {
                let needs: Vec<&[usize]> = targets.iter().map(|targets| targets.as_slice()).collect();
                Rc::new(order::order(&needs).map_err(|circle| {
                    let (first, fault) = cycle(world, &circle);
                    complain(first, fault)
                })?)
            }
        };
        let mut tables: Vec<Option<Rc<Table>>> = vec![None; count];
        for i in order.iter().copied() {
            if let Some((file, reading)) = base
                && reading.tables[i].is_some()
                && unchanged(world, file, i)
                && Rc::ptr_eq(&targets[i], &reading.targets[i])
                && targets[i].iter().all(|target| same_table(&tables[*target], &reading.tables[*target]))
            {
                tables[i] = reading.tables[i].clone();
                continue;
            }
            if holes.contains(&i) || targets[i].iter().any(|target| tables[*target].is_none()) {
                continue;
            }
            match self.expansion.table(world, i, &targets[i], &tables) {
                Ok(table) => tables[i] = Some(Rc::new(table)),
                Err(fault) if fatal => return Err(complain(i, fault).into()),
                Err(_) => {}
            }
        }
        Ok(Reading { targets, order, tables })
    }

    /// Notes that a variant uses what was read.
    fn mark(&mut self, reading: &Reading, variant: usize) {
        for table in reading.tables.iter().flatten() {
            let place = *self.by_table.entry(Rc::as_ptr(table)).or_insert_with(|| {
                self.tables.push((Rc::clone(table), Vec::new()));
                self.tables.len() - 1
            });
            self.tables[place].1.push(variant as u32);
        }
    }

    fn warnings(&self, scope: &Scope) -> Vec<String> {
        let used: HashSet<usize> = self.tables.iter().flat_map(|(table, _)| table.axes()).copied().collect();
        let mut warnings = Vec::new();
        for (i, axis) in scope.axes.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
            let _ = i;
            warnings.push(format!("the axis `{}` of the matrix is used by no stage", axis.name));
        }
        let alive = self.tables.iter().flat_map(|(table, _)| table.existing());
        let alive: HashSet<usize> = alive.map(|step| self.expansion.drafts[step].stage).collect();
        for (i, name) in self.spec.stages.keys().enumerate().filter(|(i, _)| !alive.contains(i)) {
            let _ = i;
            warnings.push(format!(
                "the stage `{name}` has no steps: its `when`, or that of its inputs, is never true"
            ));
        }
        warnings
    }
}

/// Whether a stage reads the same in both worlds, its inputs aside.
fn unchanged(world: &World, file: &World, stage: usize) -> bool {
    let plan = &world.plans[stage];
    if !Rc::ptr_eq(plan, &file.plans[stage]) {
        return false;
    }
    let conditions = plan.when.iter().map(|condition| &condition.binding);
    let mut bindings = plan.bindings.iter().map(|(_, binding)| binding).chain(conditions);
    Rc::ptr_eq(&world.params, &file.params)
        || bindings.all(|binding| match binding {
            scope::Binding::Param(path) => {
                scope::walk(&world.params, path) == scope::walk(&file.params, path)
                    && world.is_given(path) == file.is_given(path)
            }
            scope::Binding::Axis(_) | scope::Binding::Field(..) => true,
        })
}

fn same_table(ours: &Option<Rc<Table>>, theirs: &Option<Rc<Table>>) -> bool {
    matches!((ours, theirs), (Some(ours), Some(theirs)) if Rc::ptr_eq(ours, theirs))
}

/// The fault of a circle, and the stage that is blamed.
fn cycle(world: &World, circle: &[usize]) -> (usize, Fault) {
    let names: Vec<&str> = circle.iter().map(|stage| world.plans[*stage].name.as_str()).collect();
    // The last one feeds the first; the first is where the circle is entered.
    let first = names.first().copied().unwrap_or_default();
    let last = names.last().copied().unwrap_or_default();
    let mut shown: Vec<&str> = names.iter().copied().take(10).collect();
    if names.len() > shown.len() {
        shown.push("…");
    }
    shown.push(first);
    let slot = circle.first().and_then(|stage| {
        let wires = &world.plans[*stage].wires;
        let named = wires
            .iter()
            .find(|(_, filling)| matches!(filling, plan::Filling::Stage(name) if name.plain() == Some(last)));
        named.or_else(|| wires.iter().find(|(_, filling)| matches!(filling, plan::Filling::Stage(_))))
    });
    let place = slot.map_or_else(Vec::new, |(slot, _)| blame::path(&["in", slot]));
    let title = format!("the stages need one another in a circle: {}", shown.join(" -> "));
    let fault = Fault::new(place, title).label(format!("`{first}` needs `{last}`"));
    (circle.first().copied().unwrap_or_default(), fault.hint("take one of these inputs away"))
}

/// Names the steps that are used, and puts them in order.
fn assemble(
    mut drafts: Vec<Draft>,
    tables: &[(Rc<Table>, Vec<u32>)],
    variants: &[String],
) -> (DiGraph<Step, ()>, Vec<NodeIndex>) {
    let mut users: Vec<Option<Rc<Vec<u32>>>> = vec![None; drafts.len()];
    for (table, table_users) in tables {
        let table_users = Rc::new(table_users.clone());
        for step in table.existing() {
            match &users[step] {
                None => users[step] = Some(Rc::clone(&table_users)),
                Some(before) if Rc::ptr_eq(before, &table_users) => {}
                Some(before) => {
                    let mut both: Vec<u32> = before.iter().chain(table_users.iter()).copied().collect();
                    both.sort_unstable();
                    both.dedup();
                    users[step] = Some(Rc::new(both));
                }
            }
        }
    }
    // Steps in the order of the file: by stage, then as they were made.
    let mut used: Vec<usize> = (0..drafts.len()).filter(|step| users[*step].is_some()).collect();
    used.sort_by_key(|step| drafts[*step].stage);
    let mut rank = vec![usize::MAX; drafts.len()];
    for (i, step) in used.iter().enumerate() {
        rank[*step] = i;
    }
    let needs: Vec<Vec<usize>> = used
        .iter()
        .map(|step| {
            let mut needs: Vec<usize> = drafts[*step]
                .step
                .inputs
                .iter()
                .filter_map(|input| match input.source {
                    Source::Step(producer) => Some(rank[producer.index()]),
                    Source::File { .. } | Source::Unset { .. } => None,
                })
                .collect();
            needs.sort_unstable();
            needs.dedup();
            needs
        })
        .collect();
    let sorted = order::order(&needs).unwrap_or_default();
    let mut node = vec![NodeIndex::end(); used.len()];
    for (i, place) in sorted.iter().enumerate() {
        node[*place] = NodeIndex::new(i);
    }
    let mut shared: HashMap<Vec<u32>, Arc<[String]>> = HashMap::new();
    let mut steps: Vec<Option<Draft>> = drafts.drain(..).map(Some).collect();
    let mut graph = DiGraph::with_capacity(used.len(), needs.iter().map(Vec::len).sum());
    for place in &sorted {
        let number = used[*place];
        let Some(Draft { mut step, stage: _, variant }) = steps[number].take() else { continue };
        for input in &mut step.inputs {
            if let Source::Step(producer) = &mut input.source {
                *producer = node[rank[producer.index()]];
            }
        }
        step.name = step_name(&step, variant.as_deref());
        if let Some(users) = users[number].as_ref().filter(|_| !variants.is_empty()) {
            let names = || users.iter().map(|user| variants[*user as usize].clone()).collect();
            step.variants = Arc::clone(shared.entry(users.to_vec()).or_insert_with(names));
        }
        graph.add_node(step);
    }
    for (consumer, needs) in needs.iter().enumerate() {
        for producer in needs {
            graph.add_edge(node[*producer], node[consumer], ());
        }
    }
    let order = graph.node_indices().collect();
    (graph, order)
}

fn step_name(step: &Step, variant: Option<&str>) -> String {
    let variant = variant.map(|variant| ("variant", variant));
    let axes = step.axes.iter().map(|(axis, label)| (axis.as_str(), label.as_str())).chain(variant);
    let mut name = step.stage.clone();
    for (i, (axis, label)) in axes.enumerate() {
        name.push(if i == 0 { '[' } else { ',' });
        name.push_str(axis);
        name.push('=');
        name.push_str(label);
    }
    if name.len() > step.stage.len() {
        name.push(']');
    }
    name
}
