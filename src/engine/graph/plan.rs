//! A stage checked against its kind, ready to be expanded.

use super::blame::{StageFault, path};
use super::scope::{Binding, Scope, label};
use crate::complaint::{Segment, known, otherwise, word};
use crate::spec::{self, Choice, Resources, Wire};
use crate::template::{self, Pattern, Template};
use contract::stage::{Kind, Slots};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// A checked stage.
pub struct StagePlan {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: Kind,
    /// What fills each slot, in the order of the file.
    pub wires: Vec<(String, Filling)>,
    /// The kind's params.
    pub with: Pattern,
    /// The resources that a step needs.
    pub resources: Pattern,
    /// The resources, if they contain no template.
    pub fixed_resources: Option<Resources>,
    /// The stage's conditions; all must hold.
    pub when: Vec<Condition>,
    /// How many times a failed step is retried.
    pub retries: u32,
    /// The time limit of a step.
    pub timeout: Option<Duration>,
    /// Every name that its templates use, sorted.
    pub bindings: Vec<(String, Binding)>,
    /// The axes that its templates and conditions use.
    pub axes: BTreeSet<usize>,
}

/// What fills a slot.
pub enum Filling {
    /// The stage with this name.
    Stage(Template),
    /// A file or folder that no stage produces.
    File {
        /// Its path.
        path: Template,
        /// How to get it, if it may be absent.
        optional: Option<Template>,
    },
}

/// A condition: the stage exists only where this value is one of the labels.
pub struct Condition {
    /// The value to test.
    pub binding: Binding,
    /// The accepted values, as labels.
    pub labels: Vec<String>,
}

impl StagePlan {
    /// Checks a stage. `in_variant` permits inputs set to null, which removes them.
    pub fn of(
        name: &str,
        stage: spec::Stage,
        kinds: &[Kind],
        scope: &Scope,
        params: &Map<String, Value>,
        in_variant: bool,
    ) -> Result<StagePlan, StageFault> {
        // Destructured so that a new field cannot be left out.
        let spec::Stage { kind, inputs, from, with, when, resources, retries, timeout } = stage;
        let Some(kind) = kinds.iter().find(|known| known.name == kind) else {
            let hint = known(&kind, "kinds", kinds.iter().map(|kind| kind.name));
            let title = format!("unknown kind {}", word(&kind));
            return Err(StageFault::new(path(&["kind"]), title).label("no such kind").hint(hint));
        };
        let mut inputs = inputs.unwrap_or_default();
        if let Some(from) = from
            && inputs.insert("input".into(), from).is_some()
        {
            return Err(StageFault::filled_twice(path(&["from"])));
        }
        let mut wires = Vec::new();
        for (slot, wire) in inputs {
            let place = path(&["in", &slot]);
            check_slot(&slot, kind).map_err(|fault| StageFault { path: place.clone(), ..fault })?;
            let filling = match wire {
                Wire::Stage(name) => Filling::Stage(parse(&name, place)?),
                Wire::File(spec::External { file, optional }) => {
                    let below = |key: &str| path(&["in", &slot, key]);
                    let optional = optional.map(|hint| parse(&hint, below("optional"))).transpose()?;
                    Filling::File { path: parse(&file, below("file"))?, optional }
                }
                Wire::Nothing if in_variant => continue,
                Wire::Nothing => {
                    let title = "expected the name of a stage, or {file: path}, found nothing";
                    return Err(StageFault::new(place, title).label("nothing fills this slot"));
                }
            };
            wires.push((slot, filling));
        }
        if let Slots::Named(slots) = kind.slots {
            let filled = |name: &str| wires.iter().any(|(slot, _)| slot == name);
            if let Some(slot) = slots.iter().find(|slot| slot.required && !filled(slot.name)) {
                let title = format!("the input `{}` is missing: {}", slot.name, slot.about);
                let hint =
                    format!("write `in: {{{}: …}}` with the name of a stage, or `{{file: path}}`", slot.name);
                return Err(StageFault::new(Vec::new(), title)
                    .at_key()
                    .label(format!("a stage of kind `{}`", kind.name))
                    .hint(hint));
            }
        }
        let pattern = |key: &str, value: Value| {
            Pattern::parse(value).map_err(|(below, fault)| bad_template(join(path(&[key]), &below), fault))
        };
        let with = pattern("with", Value::Object(with.unwrap_or_default()))?;
        let resources = pattern("resources", resources.unwrap_or(Value::Object(Map::new())))?;
        let fixed_resources = match &resources {
            Pattern::Plain(value) => Some(parse_resources(value)?),
            _ => None,
        };
        let mut plan = StagePlan {
            name: name.to_owned(),
            kind: *kind,
            wires,
            with,
            resources,
            fixed_resources,
            when: Vec::new(),
            retries: retries.unwrap_or(0),
            timeout,
            bindings: Vec::new(),
            axes: BTreeSet::new(),
        };
        plan.bindings = plan.bind(scope, params)?;
        for (name, choice) in when.unwrap_or_default() {
            let condition = condition(&name, choice, scope, params)?;
            plan.axes.extend(condition.binding.axis());
            plan.when.push(condition);
        }
        plan.axes.extend(plan.bindings.iter().filter_map(|(_, binding)| binding.axis()));
        Ok(plan)
    }

    /// What the name in one of its templates stands for.
    pub fn binding(&self, name: &str) -> Option<&Binding> {
        let at = self.bindings.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(&self.bindings[at].1)
    }

    /// Calls `each` with every template that has a name in it, and its path.
    fn templates<'p>(&'p self, each: &mut impl FnMut(&[Segment], &'p Template)) {
        let mut visit = |keys: &[&str], template: &'p Template| {
            if template.plain().is_none() {
                each(&path(keys), template);
            }
        };
        for (slot, filling) in &self.wires {
            match filling {
                Filling::Stage(name) => visit(&["in", slot], name),
                Filling::File { path: file, optional } => {
                    visit(&["in", slot, "file"], file);
                    if let Some(hint) = optional {
                        visit(&["in", slot, "optional"], hint);
                    }
                }
            }
        }
        for (key, pattern) in [("with", &self.with), ("resources", &self.resources)] {
            if !matches!(pattern, Pattern::Plain(_)) {
                pattern.visit(&mut path(&[key]), each);
            }
        }
    }

    fn bind(&self, scope: &Scope, params: &Map<String, Value>) -> Result<Vec<(String, Binding)>, StageFault> {
        let mut bindings: Vec<(String, Binding)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        let mut fault = None;
        self.templates(&mut |place, template| {
            for name in template.names() {
                if fault.is_some() || !seen.insert(name) {
                    continue;
                }
                match scope.bind(name, params) {
                    Ok(binding) => bindings.push((name.to_owned(), binding)),
                    Err(unbound) => {
                        let piece = format!("{{{name}}}");
                        let literal = format!("write {} for literal braces", word(&format!("{{{piece}}}")));
                        fault = Some(
                            StageFault::new(place.to_vec(), unbound.title)
                                .piece(piece)
                                .label("used here")
                                .hint(otherwise(&unbound.hint, &literal)),
                        );
                    }
                }
            }
        });
        bindings.sort_by(|(one, _), (other, _)| one.cmp(other));
        fault.map_or(Ok(bindings), Err)
    }
}

/// Parses rendered `resources`.
pub fn parse_resources(value: &Value) -> Result<Resources, StageFault> {
    let below = |segments: Vec<Segment>| join(path(&["resources"]), &segments);
    let resources: Resources = match value {
        Value::Null => Resources::default(),
        value => spec::typed(value, |segments, message| StageFault::said(below(segments), message))?,
    };
    if resources.cpus == 0 {
        let title = "expected at least one CPU, found 0";
        return Err(StageFault::new(path(&["resources", "cpus"]), title).label("expected 1 or more"));
    }
    Ok(resources)
}

/// Concatenates two paths.
pub fn join(mut above: Vec<Segment>, below: &[Segment]) -> Vec<Segment> {
    above.extend_from_slice(below);
    above
}

fn check_slot(slot: &str, kind: &Kind) -> Result<(), StageFault> {
    let fault = |title: String, hint: String| {
        StageFault::new(Vec::new(), title).at_key().label("no such slot").hint(hint)
    };
    let plain = slot.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
    if !plain || !slot.starts_with(|c: char| c.is_ascii_lowercase()) {
        let title = format!("{} cannot be the name of a slot", word(slot));
        return Err(fault(title, "use lower-case letters, digits and `_`, beginning with a letter".into()));
    }
    match kind.slots {
        Slots::Named(slots) if !slots.iter().any(|known| known.name == slot) => {
            let what = format!("slots of `{}`", kind.name);
            let hint = known(slot, &what, slots.iter().map(|slot| slot.name));
            Err(fault(format!("unknown slot {} of the kind `{}`", word(slot), kind.name), hint))
        }
        Slots::Named(_) | Slots::Each(_) | Slots::Any => Ok(()),
    }
}

fn parse(text: &str, place: Vec<Segment>) -> Result<Template, StageFault> {
    Template::parse(text).map_err(|fault| bad_template(place, fault))
}

fn bad_template(place: Vec<Segment>, fault: template::TemplateFault) -> StageFault {
    let template::TemplateFault { piece, title, hint } = fault;
    StageFault::new(place, title).piece(piece).label("here").hint(hint)
}

fn condition(
    name: &str,
    choice: Choice,
    scope: &Scope,
    params: &Map<String, Value>,
) -> Result<Condition, StageFault> {
    let place = path(&["when", name]);
    let binding = scope.bind(name, params).map_err(|unbound| {
        StageFault::new(place.clone(), unbound.title)
            .at_key()
            .label("no such param or axis")
            .hint(unbound.hint)
    })?;
    let values = match choice {
        Choice::Any(values) => values,
        Choice::One(value) => vec![value],
    };
    if values.is_empty() {
        let title = format!("`when: {{{name}: []}}` is never true");
        return Err(StageFault::new(place, title)
            .label("expected a value")
            .hint("list the values for which the stage exists"));
    }
    let mut labels = Vec::with_capacity(values.len());
    for value in &values {
        let Some(found) = label(value) else {
            let title = format!("expected a value or a list of values, found {}", spec::short(value));
            return Err(StageFault::new(place, title).label("expected text, a number, true or false"));
        };
        if let Binding::Axis(axis) = binding {
            let known_labels = || scope.axes[axis].values.iter().map(|value| value.label.as_str());
            if !known_labels().any(|known| known == found) {
                let title = format!("the axis `{name}` has no value {}", word(&found));
                let hint = known(&found, "values", known_labels());
                return Err(StageFault::new(place, title).piece(found).label("never true").hint(hint));
            }
        }
        labels.push(found);
    }
    Ok(Condition { binding, labels })
}
