//! Gives every kind invalid params and wires: each is refused with its place, before anything is computed.

use contract::stage::{Kind, Makes, Slot, Slots, Takes};
use engine::graph::Graph;
use serde_json::{Map, Value, json};
use stages::KINDS;
use std::path::Path;

/// Params for which 0 is an ordinary value.
const ZERO: [&str; 22] = [
    "seed",
    "replicates",
    "min_genes",
    "min_counts",
    "min_cells",
    "least_matched",
    "least_correlation",
    "negatives",
    "last_blocks",
    "held_out",
    "masking.hidden",
    "dropout",
    "attention_dropout",
    "decay",
    "epochs",
    "patience",
    "least_rate",
    "warm_up",
    "noise",
    "activation",
    "fold",
    "select.genes",
];
/// Params that may be negative: a lower limit of correlations.
const NEGATIVE: [&str; 1] = ["least_correlation"];
/// Params without an upper limit.
const HUGE: [&str; 1] = ["seed"];
/// Lists that may be empty.
const EMPTY: [&str; 3] = ["scripts", "outputs", "env"];

/// The params that `kind` needs to be accepted.
fn params(kind: &str) -> Value {
    match kind {
        "command" => json!({"run": "true", "scripts": ["a"], "outputs": ["a"], "env": ["A"]}),
        "export" => json!({"format": "beeline"}),
        "dataset" => json!({"matrix": "X"}),
        _ => json!({}),
    }
}

/// The path to a param in a schema, and the values that are allowed there.
struct Param {
    way: Vec<String>,
    schema: Value,
}

/// Every param of a kind, including those in maps and lists.
fn all_params(kind: &Kind) -> Vec<Param> {
    let root = (kind.schema)().to_value();
    let mut found = Vec::new();
    walk(&root, &root, Vec::new(), &mut found);
    found
}

fn walk(root: &Value, schema: &Value, way: Vec<String>, found: &mut Vec<Param>) {
    if let Some(target) = schema["$ref"].as_str() {
        let target = root.pointer(target.trim_start_matches('#')).expect("a definition");
        return walk(root, target, way, found);
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        for schema in schema[choice].as_array().into_iter().flatten() {
            walk(root, schema, way.clone(), found);
        }
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        walk(root, schema, [way.clone(), vec![name.clone()]].concat(), found);
    }
    if schema["items"].is_object() {
        walk(root, &schema["items"], [way.clone(), vec!["0".to_owned()]].concat(), found);
    }
    if !way.is_empty() {
        found.push(Param { way, schema: schema.clone() });
    }
}

impl Param {
    fn is_of(&self, name: &str) -> bool {
        match &self.schema["type"] {
            Value::String(of) => of == name,
            Value::Array(several) => several.iter().any(|of| of == name),
            _ => false,
        }
    }

    /// Whether it is one of these params or an item of one; they are named by the last keys of their paths.
    fn is_one_of(&self, names: &[&str]) -> bool {
        let keys: Vec<&str> = self.way.iter().map(String::as_str).filter(|key| *key != "0").collect();
        let path = format!(".{}", keys.join("."));
        names.iter().any(|name| path.ends_with(&format!(".{name}")))
    }

    /// The values to try, as YAML, each with whether it may be accepted.
    fn values(&self) -> Vec<(&'static str, bool)> {
        let listed = |names: &[&str]| self.is_one_of(names);
        let mut values = Vec::new();
        if self.is_of("number") || self.is_of("integer") {
            values.extend([
                ("0", listed(&ZERO)),
                ("-3", listed(&NEGATIVE)),
                ("-1.0e300", false),
                ("1000000000000000000", listed(&HUGE)),
                ("18446744073709551615", listed(&HUGE)),
                ("1000000000000000000000000000000", false),
                ("1.0e300", false),
                (".nan", false),
                (".inf", false),
                ("-.inf", false),
                ("'3'", false),
                ("[]", false),
            ]);
        }
        if self.is_of("string") {
            values.extend([("''", false), ("[]", false)]);
        }
        if self.is_of("array") {
            values.extend([("[]", listed(&EMPTY)), ("{}", false)]);
        }
        if self.is_of("object") {
            values.extend([("[]", false), ("{no_such_field: 1}", false)]);
        }
        values
    }
}

/// Params with a value set at a path, as YAML in one line.
fn with(base: &Value, way: &[String], value: &str) -> String {
    const HERE: &str = "value-goes-here";
    fn put(at: &mut Value, way: &[String]) {
        match way.split_first() {
            None => *at = HERE.into(),
            Some((first, rest)) if first == "0" => {
                let mut item = Value::Null;
                put(&mut item, rest);
                // Among the lists, only `hidden` has a fixed length.
                *at = if at == "two" { json!([item, 64]) } else { json!([item]) };
            }
            Some((first, rest)) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                let below = at.as_object_mut().expect("a map").entry(first).or_insert(Value::Null);
                if first == "hidden" {
                    *below = "two".into();
                }
                put(below, rest);
            }
        }
    }
    let mut params = base.clone();
    put(&mut params, way);
    params.to_string().replace(&format!("{HERE:?}"), value)
}

/// The inputs that a kind requires, `scores` for `export` and `data` for `shuffle`, from a stage that may produce anything.
fn wires(kind: &Kind) -> Vec<(&'static str, String)> {
    let slots = match kind.slots {
        Slots::Named(slots) => slots,
        Slots::Each(_) => return vec![("a", "any".into())],
        Slots::Any => return Vec::new(),
    };
    let also = [("export", "scores"), ("shuffle", "data")];
    let wanted = |slot: &&Slot| slot.required || also.contains(&(kind.name, slot.name));
    slots.iter().filter(wanted).map(|slot| (slot.name, "any".to_owned())).collect()
}

/// A stage of a kind, as YAML.
fn stage(name: &str, kind: &Kind, wires: &[(&str, String)], params: &str) -> String {
    let wires: Vec<String> = wires.iter().map(|(slot, from)| format!("{slot}: {from}")).collect();
    format!("  {name}:\n    kind: {}\n    in: {{{}}}\n    with: {params}\n", kind.name, wires.join(", "))
}

/// The error message for a file; `None` if the file is accepted.
fn refused(stages: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, format!("stages:\n  any: {{kind: command, with: {{run: 'true'}}}}\n{stages}"))
        .unwrap();
    let error = Graph::load(&file, KINDS, &[], folder.path()).err()?;
    assert_eq!(error.exit_code(), 2, "{error}");
    Some(error.to_string())
}

/// Whether an error message shows a place below the line of `any`.
fn has_place(complaint: &str) -> bool {
    (3..9).any(|line| complaint.contains(&format!("p.yaml:{line}:")))
}

fn report(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} of them:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn params_that_cannot_be_meant_are_refused_where_they_stand() {
    let mut failures = Vec::new();
    let mut tried = 0;
    for kind in KINDS {
        let file = |params: &str| stage("s", kind, &wires(kind), params);
        let base = params(kind.name);
        failures.extend(refused(&file(&base.to_string())).map(|said| format!("{}: {said}", kind.name)));
        for param in all_params(kind) {
            for (value, may_pass) in param.values() {
                tried += 1;
                let params = with(&base, &param.way, value);
                match refused(&file(&params)) {
                    Some(said) if has_place(&said) && !may_pass => {}
                    Some(said) if !has_place(&said) => failures.push(format!("no place: {params}\n{said}")),
                    None if may_pass => {}
                    // The lists above name params by their last keys: not every param of that name takes the value.
                    Some(_) => {}
                    None => failures.push(format!("accepted: {} {params}", kind.name)),
                }
            }
        }
    }
    report(failures);
    assert!(tried > 1_000, "{tried}");
}

#[test]
fn every_exception_is_one() {
    let lists: [(&[&str], &str); 4] =
        [(&ZERO, "0"), (&NEGATIVE, "-1"), (&HUGE, "18446744073709551615"), (&EMPTY, "[]")];
    for (names, value) in lists {
        for name in names {
            let accepted = |kind: &&Kind| {
                let named = all_params(kind).into_iter().filter(|param| param.is_one_of(&[name]));
                let params = |param: Param| with(&params(kind.name), &param.way, value);
                named.map(params).any(|params| refused(&stage("s", kind, &wires(kind), &params)).is_none())
            };
            assert!(KINDS.iter().any(|kind| accepted(&kind)), "no kind takes {value} for `{name}`");
        }
    }
}

#[test]
fn a_slot_that_is_missing_is_refused() {
    for kind in KINDS {
        for (left_out, _) in wires(kind) {
            let mut wires = wires(kind);
            wires.retain(|(slot, _)| *slot != left_out);
            let said = refused(&stage("s", kind, &wires, &params(kind.name).to_string()));
            let said = said.unwrap_or_else(|| panic!("{} goes without `{left_out}`", kind.name));
            assert!(has_place(&said), "{}: {said}", kind.name);
        }
    }
}

#[test]
fn a_slot_takes_no_stage_that_cannot_give_what_it_needs() {
    let mut failures = Vec::new();
    let mut tried = 0;
    for kind in KINDS {
        let slots: Vec<(&str, Takes)> = match kind.slots {
            Slots::Named(slots) => slots.iter().map(|slot| (slot.name, slot.takes)).collect(),
            Slots::Each(takes) => vec![("a", takes)],
            Slots::Any => continue,
        };
        for (slot, takes) in slots {
            for producer in KINDS {
                let fits = takes.fits(producer.makes, &[]);
                if fits && !matches!(takes, Takes::OneOf(_)) {
                    continue;
                }
                tried += 1;
                let mut wired = wires(kind);
                wired.retain(|(name, _)| *name != slot);
                wired.push((slot, "p".to_owned()));
                let file = stage("s", kind, &wired, &params(kind.name).to_string())
                    + &stage("p", producer, &wires(producer), &params(producer.name).to_string());
                let what = format!("`{slot}` of {} takes {}", kind.name, producer.name);
                match refused(&file) {
                    None if fits => {}
                    None => failures.push(what),
                    Some(said)
                        if !(fits || has_place(&said) && said.contains(&format!("the slot `{slot}`"))) =>
                    {
                        failures.push(format!("{what} not: {said}"));
                    }
                    // An input that fits may still be excluded by these params, or need others.
                    Some(_) => {}
                }
            }
        }
    }
    report(failures);
    assert!(tried > 500, "{tried}");
}

#[test]
fn every_kind_but_the_command_says_what_it_makes() {
    let silent: Vec<&str> =
        KINDS.iter().filter(|kind| matches!(kind.makes, Makes::Anything)).map(|kind| kind.name).collect();
    assert_eq!(silent, ["command"]);
}

#[test]
fn every_pipeline_and_its_stages_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            Graph::load(&path, KINDS, &[], Path::new("/")).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen > 3, "{seen}");
}
