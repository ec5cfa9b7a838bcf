//! The README's tables are true.

use crate::support::{Outcome, fixture, run};
use arrow::array::Array;
use arrow::datatypes::DataType;
use contract::stage::{Makes, MetricNames, Output, Slots};
use data::embeddings;
use data::scores;
use data::table::{Batches, Table};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rows of the table below a heading, by their first cell.
fn table(heading: &str) -> BTreeMap<String, Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(path).unwrap();
    let below = text.split_once(&format!("\n## {heading}\n")).expect("the heading").1;
    let below = below.split_once("\n## ").map_or(below, |(this, _)| this);
    let rows = below.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        (cells.next().unwrap().trim_matches('`').to_owned(), cells.collect())
    })
    .collect()
}

#[test]
fn every_kind_is_listed_with_its_inputs_and_outputs() {
    let rows = table("Table of kinds");
    let listed: Vec<&String> = rows.keys().collect();
    let mut known: Vec<&str> = stages::KINDS.iter().map(|kind| kind.name).collect();
    known.sort_unstable();
    assert_eq!(listed, known);
    for kind in stages::KINDS {
        let inputs = match kind.slots {
            Slots::Any | Slots::Each(_) => "any".to_owned(),
            Slots::Named([]) => "none".to_owned(),
            Slots::Named(slots) => {
                let input = |slot: &contract::stage::Slot| {
                    format!("`{}`{}", slot.name, if slot.required { "" } else { "?" })
                };
                slots.iter().map(input).collect::<Vec<_>>().join(", ")
            }
        };
        let outputs = match kind.makes {
            Makes::Anything => "what it writes".to_owned(),
            Makes::These(outputs) => {
                let output =
                    |output: &Output| format!("`{}`{}", output.name, if output.always { "" } else { "?" });
                outputs.iter().map(output).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!(rows[kind.name], [kind.about.to_owned(), inputs, outputs], "{}", kind.name);
    }
}

/// What a kind says that it makes.
fn outputs(kind: &str) -> &'static [Output] {
    let kind = stages::KINDS.iter().find(|known| known.name == kind).unwrap();
    match kind.makes {
        Makes::Anything => panic!("{} says nothing of what it makes", kind.name),
        Makes::These(outputs) => outputs,
    }
}

/// A kind names the metrics that it writes, and no others; those of `embed` and `finetune` depend on what they are asked for.
fn assert_metrics(kind: &str, path: &Path) {
    let of_kind = stages::KINDS.iter().find(|known| known.name == kind).unwrap();
    let MetricNames::These(groups) = of_kind.metrics else { panic!("{kind} names no metrics") };
    let named: BTreeSet<&str> = groups.iter().copied().flatten().copied().collect();
    let written = Table::open(path).unwrap().strings("metric").unwrap();
    let written: BTreeSet<&str> = (0..written.len()).map(|row| written.value(row)).collect();
    assert!(written.is_subset(&named), "{kind} writes {written:?}");
    assert!(["embed", "finetune"].contains(&kind) || written == named, "{kind} names {named:?}");
}

fn in_words(column: &DataType) -> String {
    match column {
        DataType::Utf8 => "text".to_owned(),
        DataType::List(item) => format!("list of {}", in_words(item.data_type())),
        DataType::Int8 => "i8".to_owned(),
        DataType::Int64 => "i64".to_owned(),
        DataType::UInt8 => "u8".to_owned(),
        DataType::UInt32 => "u32".to_owned(),
        DataType::Float32 => "f32".to_owned(),
        DataType::Float64 => "f64".to_owned(),
        other => other.to_string(),
    }
}

fn columns(path: &Path) -> String {
    let schema = Batches::open(path).unwrap().schema();
    let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
        format!("`{}` {}", field.name(), in_words(field.data_type()))
    };
    schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The transformer's kinds, each with all that it can write.
fn transformer(simulated: &Outcome) -> Vec<(&'static str, Outcome)> {
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &simulated.folder())]).done();
    let training = json!({"epochs": 1, "batch": 8});
    let model = json!({"width": 8, "depth": 1, "heads": 1, "head_width": 8});
    let pretrained =
        run("pretrain", json!({"model": model, "training": training}), &[("tokens", &tokens.folder())])
            .done();
    let folders =
        [("model", pretrained.folder()), ("tokens", tokens.folder()), ("types", simulated.folder())];
    let inputs = folders.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let mut outcomes = vec![
        ("finetune", run("finetune", json!({"task": "types", "training": training}), &inputs).done()),
        ("merge", run("merge", json!({}), &[("a", &tokens.folder())]).done()),
    ];
    outcomes.push(("embed", run("embed", json!({"of": "both"}), &inputs[..2]).done()));
    outcomes.push(("embed", run("embed", json!({"of": "cells"}), &inputs).done()));
    let exported = run("export", json!({"format": "huggingface"}), &inputs[..1]).done();
    outcomes
        .push(("import-model", run("import-model", json!({}), &[("weights", &exported.folder())]).done()));
    let vectors = json!({"dimensions": 4, "epochs": 1});
    outcomes.push(("gene2vec", run("gene2vec", vectors, &[("data", &simulated.folder())]).done()));
    outcomes.push(("pretrain", pretrained));
    outcomes
}

#[test]
fn every_output_is_listed_with_its_columns() {
    let tables = table("Tables");
    let simulated = run("simulate", json!({"cells": 20}), &[]).done();
    let on =
        |kind: &str, params: serde_json::Value| run(kind, params, &[("data", &simulated.folder())]).done();
    let split = on("split", json!({}));
    let correlation = on("correlation", json!({}));
    let judged = [("scores", &*correlation.folder()), ("split", &*split.folder())];
    let outcomes: Vec<(&str, Outcome)> = vec![
        ("evaluate", run("evaluate", json!({}), &judged).done()),
        ("shuffle", on("shuffle", json!({}))),
        ("dataset", run("dataset", json!({}), &[("data", &fixture("beeline"))]).done()),
        ("preprocess", on("preprocess", json!({}))),
        ("simulate", run("simulate", json!({"network": "mCAD", "cells": 20}), &[]).done()),
        ("tokenise", on("tokenise", json!({"min_genes": 1}))),
    ];
    let transformer = transformer(&simulated);
    let by_cell = |outcome: &&(&str, Outcome)| outcome.1.file(embeddings::BY_CELL).exists();
    let embedded = transformer.iter().find(by_cell).expect("an embedding of each gene in each cell");
    let wired =
        [("data", &*simulated.folder()), ("split", &*split.folder()), ("embeddings", &*embedded.1.folder())];
    let joint = run("joint", json!({"training": {"epochs": 1}}), &wired).done();
    let outcomes = outcomes.into_iter().chain(transformer);
    let outcomes = outcomes.chain([("split", split), ("correlation", correlation), ("joint", joint)]);
    let outcomes: Vec<(&str, Outcome)> = outcomes.collect();
    let mut seen = Vec::new();
    for (kind, outcome) in &outcomes {
        for output in outputs(kind).iter().filter(|output| output.always) {
            assert!(outcome.file(output.name).exists(), "{kind} does not write {}", output.name);
        }
        for path in files(&outcome.folder()) {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(outputs(kind).iter().any(|output| output.name == name), "{kind} writes {name}");
            if name.ends_with(".parquet") {
                assert_eq!(columns(&path), tables[&name][0], "{kind}: {name}");
                if name == "metrics.parquet" {
                    assert_metrics(kind, &path);
                }
                seen.push(name);
            }
        }
    }
    for path in files(&simulated.folder()) {
        seen.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(scores::FILE);
    scores::write(&path, &[]).unwrap();
    assert_eq!(columns(&path), tables[scores::FILE][0]);
    seen.push(scores::FILE.to_owned());
    assert!(tables.keys().all(|name| seen.contains(name)), "{:?} are listed", tables.keys());
}
