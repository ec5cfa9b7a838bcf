//! What a name in a template stands for: a param, an axis, or a field of an axis's values.
//!
//! `{x}` is the param `x`, or the label of the axis `x`, or the field `x` of the one axis whose values have
//! it; `{order.flag}` is the field `flag` of the axis `order`. An ambiguous name is refused where it is used.

use crate::complaint::{Complaint, Place, known, word};
use crate::spec::short;
use crate::template::is_name;
use crate::yaml;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

const MAX_AXES: usize = 64;

/// One axis of the matrix.
#[derive(Debug)]
pub struct Axis {
    /// Its name.
    pub name: String,
    /// Never empty.
    pub values: Vec<AxisValue>,
}

/// One value of an axis.
#[derive(Debug)]
pub struct AxisValue {
    /// Its label in step names.
    pub label: String,
    /// Its value in a template that names the axis.
    pub value: Value,
    /// Its other fields.
    pub fields: Map<String, Value>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Binding {
    /// The param at this path.
    Param(Vec<String>),
    /// The value of the axis with this index.
    Axis(usize),
    /// A field of the axis with this index.
    Field(usize, Vec<String>),
}

impl Binding {
    /// The axis that the value depends on.
    pub fn axis(&self) -> Option<usize> {
        match self {
            Binding::Param(_) => None,
            Binding::Axis(axis) | Binding::Field(axis, _) => Some(*axis),
        }
    }
}

/// An unknown or ambiguous name.
pub struct Unbound {
    /// Which of the two it is.
    pub title: String,
    /// What to do.
    pub hint: String,
}

/// All axes, and the fields of their values.
#[derive(Debug, Default)]
pub struct Scope {
    /// In the order of the file.
    pub axes: Vec<Axis>,
    /// Field name to the axes that have it.
    fields: BTreeMap<String, BTreeSet<usize>>,
}

impl Scope {
    /// Checks the matrix.
    pub fn of(source: &yaml::PipelineText, matrix: &IndexMap<String, Value>) -> Result<Scope, Complaint> {
        let mut scope = Scope::default();
        if matrix.is_empty() {
            let complaint = source.complain(&Place::of(&["matrix"]), "the matrix has no axes", "no axis");
            return Err(complaint.hint("give it an axis, as in `seed: [1, 2, 3]`, or leave `matrix` out"));
        }
        if matrix.len() > MAX_AXES {
            let complaint =
                source.complain(&Place::of(&["matrix"]).at_key(), "too many axes", "more than 64");
            return Err(complaint.hint("make params of those that have one value"));
        }
        for (name, values) in matrix {
            let place = Place::of(&["matrix", name]);
            if !is_name(name) || name == "variant" {
                let title = format!("{} cannot be the name of an axis", word(name));
                let hint = "use letters, digits, `_` and `-`, and not `variant`";
                return Err(source.complain(&place.at_key(), title, "the axis").hint(hint));
            }
            let Value::Array(values) = values else {
                let title =
                    format!("expected a list of values for the axis `{name}`, found {}", short(values));
                return Err(source.complain(&place, title, "expected a list").hint("write `[…]` around it"));
            };
            if values.is_empty() {
                let title = format!("the axis `{name}` has no values");
                return Err(source
                    .complain(&place, title, "empty")
                    .hint("give it a value, or leave the axis out"));
            }
            let axis = scope.axes.len();
            let mut labels = std::collections::HashSet::new();
            let mut checked = Vec::with_capacity(values.len());
            for (i, value) in values.iter().enumerate() {
                let refuse = |title: String, label: &str, hint: &str| {
                    Err(source.complain(&place.clone().index(i), title, label).hint(hint))
                };
                let Some(value) = AxisValue::of(value) else {
                    let title = format!("expected a scalar, or a map with `name`, found {}", short(value));
                    return refuse(title, "this value", "write `{name: …, field: …}`");
                };
                if value.label.is_empty()
                    || value.label.contains([',', '[', ']', '=', '/'])
                    || value.label.chars().any(char::is_control)
                {
                    let title = format!("{} cannot be the label of a value", word(&value.label));
                    let hint = "labels stand in step names and hold none of `,` `[` `]` `=` `/`; use `{name: label, value: …}`";
                    return refuse(title, "this label", hint);
                }
                if !labels.insert(value.label.clone()) {
                    let title = format!("the axis `{name}` has two values called {}", word(&value.label));
                    return refuse(title, "the second one", "give each a `name` of its own");
                }
                for field in value.fields.keys() {
                    scope.fields.entry(field.clone()).or_default().insert(axis);
                }
                checked.push(value);
            }
            scope.axes.push(Axis { name: name.clone(), values: checked });
        }
        Ok(scope)
    }

    /// What a name stands for, given the params.
    pub fn bind(&self, name: &str, params: &Map<String, Value>) -> Result<Binding, Unbound> {
        let mut segments = name.split('.').map(str::to_owned);
        let head = segments.next().unwrap_or_default();
        let rest: Vec<String> = segments.collect();
        let mut found: Vec<(String, Binding)> = Vec::new();
        if params.contains_key(&head) {
            let path = std::iter::once(head.clone()).chain(rest.iter().cloned()).collect();
            found.push((format!("the param `{head}`"), Binding::Param(path)));
        }
        if let Some(axis) = self.axes.iter().position(|axis| axis.name == head) {
            let binding =
                if rest.is_empty() { Binding::Axis(axis) } else { Binding::Field(axis, rest.clone()) };
            found.push((format!("the axis `{head}`"), binding));
        }
        for axis in self.fields.get(&head).into_iter().flatten() {
            let path = std::iter::once(head.clone()).chain(rest.iter().cloned()).collect();
            let of = format!("the field `{head}` of the axis `{}`", self.axes[*axis].name);
            found.push((of, Binding::Field(*axis, path)));
        }
        let [(_, binding)] = found.as_slice() else {
            if let [(first, _), (second, _), ..] = found.as_slice() {
                let title = format!("{} could be {first} or {second}", word(name));
                return Err(Unbound { title, hint: "rename one of them".into() });
            }
            let names =
                params.keys().chain(self.axes.iter().map(|axis| &axis.name)).chain(self.fields.keys());
            let hint = known(&head, "params and axes", names.map(String::as_str));
            return Err(Unbound { title: format!("unknown name {}", word(name)), hint });
        };
        self.check(name, binding, params)?;
        Ok(binding.clone())
    }

    /// Checks that a path exists, as far as can be told now: a variant may still fill in a null.
    fn check(&self, name: &str, binding: &Binding, params: &Map<String, Value>) -> Result<(), Unbound> {
        match binding {
            Binding::Axis(_) => Ok(()),
            Binding::Param(path) => step_into(name, path, params),
            Binding::Field(axis, path) => {
                let values = &self.axes[*axis].values;
                // A field that only some values have is reported when it is rendered.
                let mut tried = values.iter().map(|value| step_into(name, path, &value.fields));
                if tried.any(|tried| tried.is_ok()) {
                    return Ok(());
                }
                step_into(name, path, &values[0].fields)
            }
        }
    }

    /// The value of a binding at one combination of axis values.
    pub fn value<'v>(
        &'v self,
        binding: &Binding,
        params: &'v Map<String, Value>,
        at: impl Fn(usize) -> usize,
    ) -> Result<&'v Value, String> {
        match binding {
            Binding::Param(path) => {
                walk(params, path).ok_or_else(|| format!("there is no param `{}`", path.join(".")))
            }
            Binding::Axis(axis) => Ok(&self.axes[*axis].values[at(*axis)].value),
            Binding::Field(axis, path) => {
                let Axis { name, values } = &self.axes[*axis];
                let value = &values[at(*axis)];
                walk(&value.fields, path).ok_or_else(|| {
                    format!(
                        "the value {} of the axis `{name}` has no field `{}`",
                        word(&value.label),
                        path.join(".")
                    )
                })
            }
        }
    }
}

impl AxisValue {
    fn of(value: &Value) -> Option<AxisValue> {
        match value {
            Value::Object(map) => {
                let mut fields = map.clone();
                let value = fields.shift_remove("name")?;
                Some(AxisValue { label: label(&value)?, value, fields })
            }
            scalar => Some(AxisValue { label: label(scalar)?, value: scalar.clone(), fields: Map::new() }),
        }
    }
}

/// A scalar as it appears in step names, and as `when` compares it.
pub fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The value at a path.
pub fn walk<'v>(map: &'v Map<String, Value>, path: &[String]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(map.get(first)?, |value, key| value.as_object()?.get(key))
}

fn step_into(name: &str, path: &[String], map: &Map<String, Value>) -> Result<(), Unbound> {
    let mut map = map;
    for (i, key) in path.iter().enumerate() {
        match map.get(key) {
            Some(Value::Object(below)) => map = below,
            Some(Value::Null) => return Ok(()),
            Some(_) if i + 1 == path.len() => return Ok(()),
            Some(_) => {
                let hint = format!("`{}` is not a map", path[..=i].join("."));
                return Err(Unbound { title: format!("unknown name {}", word(name)), hint });
            }
            None => {
                let hint = known(key, "names there", map.keys().map(String::as_str));
                return Err(Unbound { title: format!("unknown name {}", word(name)), hint });
            }
        }
    }
    Ok(())
}
