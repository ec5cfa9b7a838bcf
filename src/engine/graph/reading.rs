//! Expands worlds to tables, and reuses whatever a variant has in common with the plain file.

use super::blame::{self, Blame, StageFault};
use super::expand::{Expansion, Table};
use super::order;
use super::plan::Filling;
use super::scope::{Binding, Scope};
use super::world::World;
use crate::error::Result;
use indexmap::IndexSet;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// The result of reading one world: each stage's inputs, the order, and the steps of each stage.
pub struct Reading {
    targets: Vec<Rc<Vec<usize>>>,
    order: Rc<Vec<usize>>,
    /// `None` where the plain file cannot be expanded, although its variants may be.
    tables: Vec<Option<Rc<Table>>>,
}

/// The readings of all worlds.
pub struct Build<'a> {
    blame: Blame<'a>,
    stages: &'a IndexSet<String>,
    /// Makes the steps.
    pub expansion: Expansion<'a>,
    /// Every table that some variant uses, with those variants.
    pub tables: Vec<(Rc<Table>, Vec<u32>)>,
    /// The address of a table to its index in `tables`, which keeps it alive.
    by_table: HashMap<*const Table, usize>,
}

impl<'a> Build<'a> {
    /// A build in which nothing has been read.
    pub fn new(blame: Blame<'a>, stages: &'a IndexSet<String>, expansion: Expansion<'a>) -> Build<'a> {
        Build { blame, stages, expansion, tables: Vec::new(), by_table: HashMap::new() }
    }

    /// Reads a world. Whatever is the same in the plain file's reading is reused. Unless `fatal`, stages with
    /// faults get no table.
    pub fn read(&mut self, world: &World, base: Option<(&World, &Reading)>, fatal: bool) -> Result<Reading> {
        // A fault of the plain file is not blamed on the first variant that reads it.
        let complain = |stage: usize, fault: StageFault| {
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
                Ok(table) => {
                    // If the new table equals the plain file's, share that one, so that later stages can be
                    // reused too.
                    let same = base
                        .and_then(|(_, reading)| reading.tables[i].as_ref())
                        .filter(|theirs| ***theirs == table);
                    tables[i] = Some(same.map_or_else(|| Rc::new(table), Rc::clone));
                }
                Err(fault) if fatal => return Err(complain(i, fault).into()),
                Err(_) => {}
            }
        }
        Ok(Reading { targets, order, tables })
    }

    /// Records that a variant uses this reading.
    pub fn mark(&mut self, reading: &Reading, variant: usize) {
        for table in reading.tables.iter().flatten() {
            let place = *self.by_table.entry(Rc::as_ptr(table)).or_insert_with(|| {
                self.tables.push((Rc::clone(table), Vec::new()));
                self.tables.len() - 1
            });
            self.tables[place].1.push(variant as u32);
        }
    }

    /// What the user should know of axes and stages that come to nothing. A stage that a param switches off is not
    /// among them, and neither are those that read from it.
    pub fn warnings(&self, scope: &Scope, world: &World, reading: &Reading) -> Vec<String> {
        let used: HashSet<usize> = self.tables.iter().flat_map(|(table, _)| table.axes()).copied().collect();
        let mut warnings = Vec::new();
        for (_, axis) in scope.axes.iter().enumerate().filter(|(i, _)| !used.contains(i)) {
            warnings.push(format!("the axis `{}` of the matrix is used by no stage", axis.name));
        }
        let alive = self.tables.iter().flat_map(|(table, _)| table.existing());
        let alive: HashSet<usize> = alive.map(|step| self.expansion.drafts[step].stage).collect();
        let mut off: HashSet<usize> = HashSet::new();
        for stage in reading.order.iter().copied() {
            let reads_from_one = reading.targets[stage].iter().any(|target| off.contains(target));
            if reads_from_one || self.expansion.switched_off(world, &world.plans[stage]) {
                off.insert(stage);
            }
        }
        let unexpected = |stage: &usize| !alive.contains(stage) && !off.contains(stage);
        for (_, name) in self.stages.iter().enumerate().filter(|(i, _)| unexpected(i)) {
            warnings.push(format!(
                "the stage `{name}` has no steps: its `when`, or that of its inputs, is never true"
            ));
        }
        warnings
    }
}

/// Whether a stage is the same in both worlds, apart from its inputs.
fn unchanged(world: &World, file: &World, stage: usize) -> bool {
    let plan = &world.plans[stage];
    if !Rc::ptr_eq(plan, &file.plans[stage]) {
        return false;
    }
    let conditions = plan.when.iter().map(|condition| &condition.binding);
    let mut bindings = plan.bindings.iter().map(|(_, binding)| binding).chain(conditions);
    Rc::ptr_eq(&world.params, &file.params)
        || bindings.all(|binding| match binding {
            Binding::Param(path) => world.leaves(path),
            Binding::Axis(_) | Binding::Field(..) => true,
        })
}

fn same_table(ours: &Option<Rc<Table>>, theirs: &Option<Rc<Table>>) -> bool {
    matches!((ours, theirs), (Some(ours), Some(theirs)) if Rc::ptr_eq(ours, theirs))
}

/// The fault for a cycle, and the stage to blame.
fn cycle(world: &World, circle: &[usize]) -> (usize, StageFault) {
    let names: Vec<&str> = circle.iter().map(|stage| world.plans[*stage].name.as_str()).collect();
    // The last stage of the cycle feeds the first.
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
            .find(|(_, filling)| matches!(filling, Filling::Stage(name) if name.plain() == Some(last)));
        named.or_else(|| wires.iter().find(|(_, filling)| matches!(filling, Filling::Stage(_))))
    });
    let place = slot.map_or_else(Vec::new, |(slot, _)| blame::path(&["in", slot]));
    let title = format!("the stages form a cycle: {}", shown.join(" -> "));
    let fault = StageFault::new(place, title).label(format!("`{first}` needs `{last}`"));
    (circle.first().copied().unwrap_or_default(), fault.hint("remove one of these inputs"))
}
