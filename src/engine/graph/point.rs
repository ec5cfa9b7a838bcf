//! Checks one combination of a stage's axes against the stage's kind.

use super::blame::{Origin, StageFault, path};
use super::expand::TentativeStep;
use super::plan::{Filling, StagePlan, join};
use super::scope::{Binding, Scope, label, walk};
use super::world::World;
use super::{Input, Source};
use crate::complaint::{Place, Segment, word};
use crate::template::Template;
use contract::stage::{At, Makes, Mistake, Prepared, Slots, Takes, Wires};
use serde_json::Value;

/// A stage in a world, with a value for each axis.
pub struct Point<'a> {
    /// The axes.
    pub scope: &'a Scope,
    /// The world: the plain file, or the file under a variant.
    pub world: &'a World,
    /// The stage.
    pub plan: &'a StagePlan,
    /// The index of each axis's value.
    pub at: &'a [usize],
}

impl Point<'_> {
    /// Refuses params and wires that make no sense.
    pub fn check(
        &self,
        prepared: &Prepared,
        inputs: &[Input],
        drafts: &[TentativeStep],
    ) -> Result<(), StageFault> {
        let mut wires: Vec<(&str, Option<&str>)> = Vec::with_capacity(inputs.len());
        for Input { slot, source } in inputs {
            wires.push(match source {
                Source::Step(producer) => {
                    self.check_wire(slot, &drafts[producer.index()])?;
                    (slot, None)
                }
                Source::File { shown, .. } => (slot, Some(shown)),
                Source::Unset { .. } => (slot, None),
            });
        }
        prepared.stage.check(Wires::new(&wires)).map_err(|mistake| self.fault(mistake))
    }

    /// The fault for a mistake in this stage, with the origin of the offending value.
    pub fn fault(&self, mistake: Mistake) -> StageFault {
        let Mistake { at, message } = mistake;
        match at {
            At::Wires => StageFault::said(Vec::new(), &message).at_key(),
            At::Slot(slot) => self.slot_fault(&slot, &message),
            At::Param(below) => {
                let keys: Vec<&str> = below.iter().map(String::as_str).collect();
                let fault = StageFault::said(join(path(&["with"]), &path(&keys)), &message);
                let given = self.plan.with.template_at(&below);
                let origin = given.and_then(|(template, below)| self.origin(template, below));
                StageFault { origin: origin.map(Box::new), ..fault }
            }
        }
    }

    fn slot_fault(&self, slot: &str, message: &str) -> StageFault {
        let fault = StageFault::said(path(&["in", slot]), message);
        match self.plan.wires.iter().find(|(name, _)| name == slot) {
            None => fault.at_key(),
            Some((_, Filling::Stage(template))) => {
                StageFault { origin: self.origin(template, &[]).map(Box::new), ..fault }
            }
            Some((_, Filling::File { .. })) => fault,
        }
    }

    /// Refuses to wire a producer whose artifact cannot hold what the slot takes.
    fn check_wire(&self, slot: &str, producer: &TentativeStep) -> Result<(), StageFault> {
        let kind = self.plan.kind;
        let takes = kind.slots.takes(slot);
        let left_out = producer.step.prepared.stage.leaves_out();
        let Makes::These(made) = producer.step.kind.makes else {
            return match takes {
                Takes::File => Err(self.no_file(slot)),
                Takes::Anything | Takes::OneOf(_) => Ok(()),
            };
        };
        if takes.fits(producer.step.kind.makes, left_out) {
            return Ok(());
        }
        let Takes::OneOf(lists) = takes else { return Err(self.no_file(slot)) };
        let lists: Vec<String> = lists.iter().map(|files| files.join(" and ")).collect();
        let made = made.iter().map(|output| output.name).filter(|name| !left_out.contains(name));
        let title = format!(
            "the slot `{slot}` needs {}, but the stage {} of kind `{}` makes {}",
            lists.join(", or "),
            word(&producer.step.stage),
            producer.step.kind.name,
            made.collect::<Vec<_>>().join(", ")
        );
        let about = match kind.slots {
            Slots::Named(slots) => slots.iter().find(|known| known.name == slot).map(|known| known.about),
            Slots::Any | Slots::Each(_) => None,
        };
        let others = self.world.plans.iter().filter(|other| {
            other.name != self.plan.name
                // Its kind may make it, but not with its params.
                && other.name != producer.step.stage
                && matches!(other.kind.makes, Makes::These(_))
                && takes.fits(other.kind.makes, &[])
        });
        let others: Vec<String> = others.take(6).map(|other| word(&other.name)).collect();
        let fault = self.slot_fault(slot, &title).label(about.unwrap_or("the tokens of one data set"));
        Err(match others.as_slice() {
            [] => fault,
            [one] => fault.hint(format!("the stage {one} makes what this slot needs")),
            several => fault.hint(format!("these stages make what this slot needs: {}", several.join(", "))),
        })
    }

    fn no_file(&self, slot: &str) -> StageFault {
        let title = format!("the slot `{slot}` takes a file, but a stage makes a folder");
        self.slot_fault(slot, &title).label("expected a file").hint("write `{file: path}`")
    }

    /// The origin of a value that a template produced, or of the part of it at this path.
    fn origin(&self, template: &Template, below: &[String]) -> Option<Origin> {
        let axis = |axis: usize| {
            let values = &self.scope.axes[axis];
            Place::of(&["matrix", &values.name]).index(self.at[axis])
        };
        let keys = |path: &[String]| path.iter().chain(below).cloned().map(Segment::Key).collect::<Vec<_>>();
        Some(match self.plan.binding(template.only_name()?)? {
            Binding::Param(param) => {
                let param: Vec<String> = param.iter().chain(below).cloned().collect();
                if let Some(given) = self.world.given.iter().find(|given| param.starts_with(given)) {
                    let value = walk(&self.world.params, given).unwrap_or(&Value::Null);
                    let value = label(value).unwrap_or_else(|| value.to_string());
                    return Some(Origin::CommandLine(format!("{}={value}", given.join("."))));
                }
                let variant = self.world.variant.as_deref().filter(|_| !self.world.leaves(&param));
                let params = match variant {
                    Some(variant) => Place::of(&["variants", variant, "params"]),
                    None => Place::of(&["params"]),
                };
                Origin::File(params.join(keys(&param[..param.len() - below.len()])))
            }
            Binding::Axis(index) => {
                let place = axis(*index);
                // A value with fields is written as a map; its `name` is what is meant.
                let named = !self.scope.axes[*index].values[self.at[*index]].fields.is_empty();
                Origin::File(if named { place.key("name") } else { place })
            }
            Binding::Field(index, field) => Origin::File(axis(*index).join(keys(field))),
        })
    }
}
