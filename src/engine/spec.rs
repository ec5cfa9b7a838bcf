//! The pipeline file as data.

use crate::complaint::{Complaint, Place, Segment, known, word};
use crate::quantity;
use crate::yaml::PipelineText;
use contract::stage::Kind;
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A whole pipeline file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "pipeline file")]
pub struct Spec {
    /// The pipeline's name; by default the file's name.
    pub name: Option<String>,
    /// Values for templates, overridable with `--set NAME=VALUE`.
    pub params: Option<Map<String, Value>>,
    /// Axes; every combination of their values is expanded. Each is a list of scalars, or of maps with a
    /// `name`.
    /// The inner `None` is a `matrix` without value.
    #[serde(default, deserialize_with = "with_or_without_value")]
    #[schemars(with = "Option<BTreeMap<String, Vec<Value>>>")]
    pub matrix: Option<Option<IndexMap<String, Value>>>,
    /// The stages by name.
    #[schemars(with = "BTreeMap<String, Stage>")]
    pub stages: IndexMap<String, Stage>,
    /// Rows of an ablation table: named overrides of params and stages.
    #[schemars(with = "Option<BTreeMap<String, Option<Variant>>>")]
    pub variants: Option<IndexMap<String, Option<Variant>>>,
    /// What to compare between the variants.
    pub compare: Option<Compare>,
}

/// One stage of the pipeline.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The kind of the stage.
    pub kind: String,
    /// The inputs, by slot.
    #[serde(rename = "in")]
    #[schemars(with = "Option<BTreeMap<String, Wire>>")]
    pub inputs: Option<IndexMap<String, Wire>>,
    /// Short for `in: {input: …}`.
    pub from: Option<Wire>,
    /// The kind's params.
    pub with: Option<Map<String, Value>>,
    /// Axes or params, and the values for which the stage exists.
    #[schemars(with = "Option<BTreeMap<String, Choice>>")]
    pub when: Option<IndexMap<String, Choice>>,
    /// The resources that a step needs.
    #[schemars(with = "Option<Resources>")]
    pub resources: Option<Value>,
    /// How many times a failed step is retried.
    pub retries: Option<u32>,
    /// The time limit of a step, such as `10m`.
    #[serde(default, deserialize_with = "optional_duration")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
}

/// What fills a slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Wire {
    /// The stage with this name; may be a template.
    Stage(String),
    /// A file or folder that no stage makes.
    File(External),
    /// Nothing: a variant removes the input this way.
    Nothing,
}

/// A file or folder that no stage makes.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// Its path, relative to the pipeline file.
    pub file: String,
    /// Marks the file as optional, and says how to get it.
    pub optional: Option<String>,
}

/// One value or several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Choice {
    /// Any of these.
    Any(Vec<Value>),
    /// This one.
    One(Value),
}

/// The resources that a step needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Threads.
    #[schemars(range(min = 1))]
    pub cpus: usize,
    /// Bytes, written like `1GiB`.
    #[serde(deserialize_with = "optional_bytes")]
    #[schemars(with = "Option<String>")]
    pub memory: Option<u64>,
    /// GPUs.
    pub gpus: usize,
    /// The longest time a step is expected to take, such as `10m`.
    #[serde(deserialize_with = "optional_duration")]
    #[schemars(with = "Option<String>")]
    pub time: Option<Duration>,
}

impl Default for Resources {
    fn default() -> Resources {
        Resources { cpus: 1, memory: None, gpus: 0, time: None }
    }
}

/// One row of an ablation table.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Params to override.
    pub params: Option<Map<String, Value>>,
    /// Stages to override: maps are merged, everything else is replaced.
    #[schemars(with = "Option<BTreeMap<String, Map<String, Value>>>")]
    pub stages: Option<IndexMap<String, Map<String, Value>>>,
}

/// What to compare between the variants.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compare {
    /// Names of metrics; all of them if left out.
    pub metrics: Vec<String>,
    /// Axes to average over.
    pub over: Vec<String>,
    /// The baseline: the variant that the others are compared to.
    pub baseline: Option<String>,
    /// Control variants, which lack the feature under study: a score that they also reach is not due to it.
    pub controls: Vec<String>,
    /// Slots of the stage with metrics that must have the same content in everything that is compared.
    pub same: Vec<String>,
    /// Metrics for which lower is better.
    pub lower_is_better: Vec<String>,
}

impl<'de> Deserialize<'de> for Wire {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wire, D::Error> {
        struct Wiring;
        impl<'de> Visitor<'de> for Wiring {
            type Value = Wire;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a stage, or {file: path}")
            }

            fn visit_str<E>(self, name: &str) -> Result<Wire, E> {
                Ok(Wire::Stage(name.to_owned()))
            }

            fn visit_unit<E>(self) -> Result<Wire, E> {
                Ok(Wire::Nothing)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Wire, A::Error> {
                External::deserialize(MapAccessDeserializer::new(map)).map(Wire::File)
            }
        }
        deserializer.deserialize_any(Wiring)
    }
}

impl JsonSchema for Wire {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Wire".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let file = generator.subschema_for::<External>();
        json_schema!({"anyOf": [{"type": "string", "description": "the name of a stage"}, file, {"type": "null"}]})
    }
}

fn with_or_without_value<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    optional_text(deserializer, "a time such as `90s`, `10m` or `1h30m`", quantity::duration)
}

fn optional_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    optional_text(deserializer, "a size such as `1GiB` or `500MB`", quantity::bytes)
}

fn optional_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => parse(&text).map(Some).map_err(serde::de::Error::custom),
        other => {
            let found = short(&other);
            Err(serde::de::Error::custom(format!("expected {expected}, found {found}")))
        }
    }
}

/// A value as shown in a message.
pub fn short(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
        scalar => word(&scalar.to_string()),
    }
}

/// The whole file, parsed into a `Spec`.
pub fn read(source: &PipelineText, value: &Value) -> Result<Spec, Complaint> {
    if !value.is_object() {
        let title = format!("expected a map with `stages`, found {}", short(value));
        return Err(source.complain(&Place::top(), title, "the whole file"));
    }
    typed(value, |segments, message| complain(source, Place::top().join(segments), message))
}

/// Deserialises a value as `T`. An error is passed to `refuse` with the path to the offending value.
pub fn typed<T: for<'de> Deserialize<'de>, E>(
    value: &Value,
    refuse: impl FnOnce(Vec<Segment>, &str) -> E,
) -> Result<T, E> {
    // Tracking the path costs time, so it is done only after an error.
    T::deserialize(value).map_err(|error| {
        let tracked: Result<T, _> = serde_path_to_error::deserialize(value);
        match tracked {
            Ok(_) => refuse(Vec::new(), &error.to_string()),
            Err(error) => {
                let segments = error.path().iter().filter_map(|segment| match segment {
                    serde_path_to_error::Segment::Seq { index } => Some(Segment::Index(*index)),
                    serde_path_to_error::Segment::Map { key } => Some(Segment::Key(key.clone())),
                    _ => None,
                });
                refuse(segments.collect(), &error.inner().to_string())
            }
        }
    })
}

/// Turns an error message of serde into a complaint.
pub fn complain(source: &PipelineText, place: Place, message: &str) -> Complaint {
    let said = Said::of(message);
    let place = if said.at_key { place.at_key() } else { place };
    source.complain(&place, said.title, said.label).hint_if(said.hint)
}

/// The parts of one of serde's error messages.
pub struct Said {
    /// What was expected and found.
    pub title: String,
    /// The text beside the marked place.
    pub label: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the key is at fault instead of its value.
    pub at_key: bool,
}

impl Said {
    /// Parses the messages of serde's derived code; other messages are kept as they are.
    pub fn of(message: &str) -> Said {
        let quoted =
            |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        for (start, what) in [("unknown field `", "fields"), ("unknown variant `", "values")] {
            let Some(rest) = message.strip_prefix(start) else { continue };
            // The user's word may contain anything, so its end is searched for from the back.
            let (found, names) =
                match rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are ")) {
                    Some((found, expected)) => (found, quoted(expected)),
                    None => (rest.trim_end_matches('`'), Vec::new()),
                };
            return Said {
                title: format!("unknown {} {}", what.trim_end_matches('s'), word(found)),
                label: format!("no such {}", what.trim_end_matches('s')),
                hint: Some(known(found, what, names.iter().map(String::as_str))),
                at_key: what == "fields",
            };
        }
        if let Some(name) = message.strip_prefix("missing field ") {
            let title = format!("{name} is missing");
            return Said { title, label: format!("expected {name} below this"), hint: None, at_key: true };
        }
        for start in ["invalid type: ", "invalid value: "] {
            let Some((found, expected)) =
                message.strip_prefix(start).and_then(|rest| rest.rsplit_once(", expected "))
            else {
                continue;
            };
            let expected = match expected {
                "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
                "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
                "f32" | "f64" => "a number",
                "a string" => "text",
                "a sequence" => "a list",
                other => other.strip_prefix("struct ").map_or(other, |_| "a map"),
            };
            let found = match found {
                "null" => "nothing",
                "sequence" => "a list",
                "map" => "a map",
                other => other,
            };
            let types = ["string ", "integer ", "floating point ", "boolean "];
            let found = types.iter().find_map(|name| found.strip_prefix(name)).unwrap_or(found);
            let found: String = found.chars().take(80).collect();
            let title = format!("expected {expected}, found {found}");
            return Said { title, label: String::new(), hint: None, at_key: false };
        }
        Said { title: message.to_owned(), label: String::new(), hint: None, at_key: false }
    }
}

/// The JSON Schema of a pipeline file, with the params of each kind.
pub fn schema(kinds: &[Kind]) -> Value {
    let mut schema = schemars::schema_for!(Spec).to_value();
    let mut rules = Vec::new();
    let mut definitions = Map::new();
    for kind in kinds {
        let mut params = (kind.schema)().to_value();
        if let Some(map) = params.as_object_mut() {
            map.remove("$schema");
            if let Some(Value::Object(inner)) = map.remove("$defs") {
                // All kinds share one table of definitions, so each name is prefixed with its kind.
                definitions
                    .extend(inner.into_iter().map(|(name, inner)| (format!("{}.{name}", kind.name), inner)));
            }
        }
        rename_references(&mut params, kind.name);
        let condition = json!({"properties": {"kind": {"const": kind.name}}, "required": ["kind"]});
        rules.push(json!({"if": condition, "then": {"properties": {"with": templated(params)}}}));
    }
    for (name, definition) in &mut definitions {
        let kind = name.split('.').next().unwrap_or_default().to_owned();
        rename_references(definition, &kind);
    }
    let names: Vec<Value> =
        kinds.iter().map(|kind| json!({"const": kind.name, "description": kind.about})).collect();
    if let Some(stage) = schema.pointer_mut("/$defs/Stage").and_then(Value::as_object_mut) {
        if let Some(kind) = stage.get_mut("properties").and_then(|properties| properties.get_mut("kind")) {
            *kind = json!({"description": "What it is.", "oneOf": names});
        }
        stage.insert("allOf".into(), rules.into());
    }
    if let Some(all) = schema.pointer_mut("/$defs").and_then(Value::as_object_mut) {
        all.extend(definitions);
    }
    schema
}

/// Rewrites the references in a kind's schema to the prefixed names.
fn rename_references(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                match value {
                    Value::String(target) if key == "$ref" => {
                        if let Some(name) = target.strip_prefix("#/$defs/") {
                            *target = format!("#/$defs/{kind}.{name}");
                        }
                    }
                    other => rename_references(other, kind),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_references(item, kind)),
        _ => {}
    }
}

/// Lets each param also be a template, whatever its type.
fn templated(mut params: Value) -> Value {
    let template = json!({"type": "string", "pattern": "^\\{[A-Za-z_][A-Za-z0-9_.-]*\\}$"});
    if let Some(Value::Object(properties)) = params.get_mut("properties") {
        for property in properties.values_mut() {
            let takes_text = property.get("type") == Some(&json!("string"));
            if !takes_text {
                *property = json!({"anyOf": [property.take(), template]});
            }
        }
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serde_messages_become_ours() {
        let said = |message: &str| {
            let Said { title, hint, .. } = Said::of(message);
            format!("{title}; {}", hint.unwrap_or_default())
        };
        assert_eq!(said("unknown field `knd`, expected `kind`"), "unknown field `knd`; did you mean `kind`?");
        assert_eq!(
            said("unknown field `a`, expected one of `b`, expected one of `kind`, `with`"),
            "unknown field `a`, expected one of `b`; the fields are `kind`, `with`"
        );
        assert_eq!(said("unknown field `a`, there are no fields"), "unknown field `a`; there are no fields");
        assert_eq!(
            said("unknown variant `gat2`, expected one of `gat`, `gcn`"),
            "unknown value `gat2`; did you mean `gat`?"
        );
        assert_eq!(said("missing field `run`"), "`run` is missing; ");
        assert_eq!(said("invalid type: sequence, expected a string"), "expected text, found a list; ");
        assert_eq!(
            said("invalid value: integer `-1`, expected u32"),
            "expected a whole number, 0 or more, found `-1`; "
        );
        assert_eq!(said("anything else"), "anything else; ");
    }

    #[test]
    fn the_schema_knows_each_kind_and_its_params() {
        let schema = schema(&[command::KIND]);
        let text = schema.to_string();
        assert!(text.contains("\"const\":\"command\"") && text.contains("\"scripts\""), "{text}");
        let references =
            text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap_or_default());
        for reference in references {
            assert!(schema.pointer(reference).is_some(), "{reference} leads nowhere");
        }
    }
}
