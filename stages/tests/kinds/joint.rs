//! `joint` through simulated cells: what it learns, what its controls may not, and what it says of wrong inputs.

use crate::support::{Outcome, run, run_on};
use contract::stage::Device;
use data::embeddings::{self, ByCell, ByCellWriter, Embeddings};
use data::pairs::{self, Pair, Part};
use data::scores;
use data::table::Table;
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

struct Set {
    data: Outcome,
    split: Outcome,
}

fn set() -> Set {
    let network = json!({"scale_free": {"genes": 60, "tfs": 12}});
    let cells = run("simulate", json!({"cells": 80, "network": network}), &[]).done();
    let params = json!({"target_sum": 10000, "log1p": "natural", "min_cells": 0, "min_genes": 0});
    let data = run("preprocess", params, &[("data", &cells.folder())]).done();
    let split = run("split", json!({}), &[("data", &data.folder())]).done();
    Set { data, split }
}

/// Short, so that tests are.
fn small(more: Value) -> Value {
    let mut params = json!({
        "gnn": {"widths": [16, 8]},
        "scorer": {"widths": [8]},
        "fusion": {"width": 8},
        "pooling": {"width": 4, "most_cells": 3},
        "training": {"epochs": 3, "batch": 200},
    });
    merge(&mut params, more);
    params
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn joint(set: &Set, params: Value, embeddings: Option<&Path>) -> Outcome {
    joint_on(Device::Cpu, set, params, embeddings)
}

fn joint_on(device: Device, set: &Set, params: Value, embeddings: Option<&Path>) -> Outcome {
    let (data, split) = (set.data.folder(), set.split.folder());
    let mut inputs: Vec<(&str, &Path)> = vec![("data", &data), ("split", &split)];
    inputs.extend(embeddings.map(|folder| ("embeddings", folder)));
    run_on(device, "joint", params, &inputs)
}

fn auroc(set: &Set, outcome: &Outcome) -> f64 {
    let inputs: [(&str, &Path); 2] = [("scores", &outcome.folder()), ("split", &set.split.folder())];
    let judged = run("evaluate", json!({"part": "test", "replicates": 0}), &inputs).done();
    let metrics = Table::open(&judged.file("metrics.parquet")).unwrap();
    let names = metrics.strings("metric").unwrap();
    let row = (0..metrics.rows()).find(|row| names.value(*row) == "auroc").unwrap();
    metrics.floats("value").unwrap().value(row)
}

/// Vectors of every gene in some cells, drawn from the gene's name alone.
fn by_cell(set: &Set, cells: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    let (genes, _, _) = set.data.matrix();
    let mut writer = ByCellWriter::create(&folder.path().join(embeddings::BY_CELL), &genes, 4).unwrap();
    for cell in 0..cells {
        let vectors: Vec<f32> = (0..genes.len() * 4).map(|i| ((i * 7 + cell * 3) % 11) as f32).collect();
        writer.push(&format!("c{cell}"), &vectors).unwrap();
    }
    writer.finish().unwrap();
    folder
}

#[test]
fn every_tf_of_the_split_is_scored_with_every_other_gene() {
    let set = set();
    let outcome = joint(&set, small(json!({})), None).done();
    let scores = scores::read(&outcome.file(scores::FILE)).unwrap();
    let pairs = pairs::read(&set.split.file(pairs::FILE)).unwrap();
    let tfs: std::collections::BTreeSet<&str> = pairs.iter().map(|pair| pair.tf.as_str()).collect();
    assert_eq!(scores.len(), tfs.len() * 59);
    assert!(scores.is_sorted_by(|a, b| (&a.tf, &a.target) < (&b.tf, &b.target)));
    assert!(scores.iter().all(|score| score.score > 0.0 && score.score < 1.0));
    let vectors = Embeddings::read(&outcome.file(embeddings::FILE)).unwrap();
    assert_eq!((vectors.names.len(), vectors.dimensions), (60, 8));
    assert!(Table::open(&outcome.file("history.parquet")).unwrap().rows() > 0);
    assert!(outcome.file("model.safetensors").exists() && outcome.file("config.json").exists());
    assert!(!outcome.file("attention.parquet").exists());
}

#[test]
fn the_bytes_are_the_same_on_any_number_of_threads_for_every_setting() {
    let set = set();
    let cells = by_cell(&set, 5);
    let settings = [
        json!({}),
        json!({"gnn": {"layer": "sage", "residual": true}, "scorer": {"form": "bilinear"}}),
        json!({"gnn": {"layer": "gat", "dropout": 0.1, "attention_dropout": 0.2}, "fusion": {"form": "gated"}}),
        json!({"gnn": {"layer": "genelink"}, "scorer": {"form": "dot", "always_drop": true}, "hide": false}),
        json!({"gnn": {"layer": "gnnlink"}, "scorer": {"form": "dot", "widths": [], "biases": false}, "loss": "squared"}),
        json!({"gnn": {"layer": "deaf"}, "features": "random", "pooling": {"by": "mean"}, "select": "loss"}),
    ];
    for setting in settings {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let run = || joint(&set, small(setting.clone()), Some(cells.path()));
            let outcome = pool.install(run).done();
            ["scores.parquet", "model.safetensors", "history.parquet"]
                .map(|file| std::fs::read(outcome.file(file)).unwrap())
        };
        assert!(on(1) == on(3), "{setting}");
    }
}

#[test]
fn another_seed_is_another_model() {
    let set = set();
    let scores = |seed: u64| {
        std::fs::read(joint(&set, small(json!({"seed": seed})), None).done().file(scores::FILE)).unwrap()
    };
    assert_ne!(scores(0), scores(1));
}

#[test]
fn known_edges_are_learned_and_shuffled_labels_are_chance() {
    let network = json!({"scale_free": {"genes": 200, "tfs": 20}});
    let cells = run("simulate", json!({"cells": 200, "network": network}), &[]).done();
    let data =
        run("preprocess", json!({"target_sum": 10000, "log1p": "natural"}), &[("data", &cells.folder())])
            .done();
    let split = run("split", json!({}), &[("data", &data.folder())]).done();
    let set = Set { data, split };
    let of = |shuffle: bool| {
        let params = json!({"shuffle_labels": shuffle, "training": {"epochs": 10}});
        auroc(&set, &joint(&set, params, None).done())
    };
    let (learned, chance) = (of(false), of(true));
    // 400 edges, a quarter of them for test: a standard error of .03.
    assert!(learned > 0.65 && (chance - 0.5).abs() < 0.09, "{learned} {chance}");
}

#[test]
fn attention_over_cells_sums_to_one_for_each_gene() {
    let set = set();
    let cells = by_cell(&set, 5);
    assert_eq!(ByCell::read(&cells.path().join(embeddings::BY_CELL)).unwrap().cells.len(), 5);
    let outcome = joint(&set, small(json!({})), Some(cells.path())).done();
    let attention = Table::open(&outcome.file("attention.parquet")).unwrap();
    // 60 genes in the 3 cells that the setting allows.
    assert_eq!(attention.rows(), 60 * 3);
    let shares = attention.floats("share").unwrap();
    for gene in 0..60 {
        let sum: f64 = (0..3).map(|cell| shares.value(gene * 3 + cell)).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
    }
    let mean = joint(&set, small(json!({"pooling": {"by": "mean"}})), Some(cells.path())).done();
    assert!(!mean.file("attention.parquet").exists());
}

#[test]
fn what_cannot_be_learned_from_is_said() {
    let set = set();
    let error = |params: Value| joint(&set, params, None).error();
    assert_eq!(error(json!({"gnn": {"widths": []}})), "`gnn.widths` must have at least one layer");
    assert_eq!(
        error(json!({"scorer": {"widths": []}})),
        "`scorer.widths` is empty, which is for `form: dot` and `bilinear`; give at least one layer"
    );
    assert_eq!(error(json!({"most_cells": 0})), "`most_cells` must be at least 1, not 0");
    assert_eq!(
        error(json!({"fusion": {"dropout": 1.0}})),
        "`fusion.dropout` must be a share from 0 to below 1, not 1"
    );
    assert_eq!(error(json!({"positive_weight": 0.0})), "`positive_weight` must be above 0, not 0");
    let folder = TempDir::new().unwrap();
    let names = vec!["elsewhere".to_owned()];
    let vectors = Embeddings { names, dimensions: 2, values: vec![1.0, 2.0] };
    vectors.write(&folder.path().join(embeddings::FILE)).unwrap();
    let found = joint(&set, small(json!({})), Some(folder.path())).error();
    assert!(
        found.ends_with("embeddings.parquet: has no vector for any of the 60 genes of the data"),
        "{found}"
    );
    let one_class = TempDir::new().unwrap();
    let (genes, _, _) = set.data.matrix();
    let pair = |target: usize| Pair {
        tf: genes[0].clone(),
        target: genes[target].clone(),
        label: true,
        part: Part::Train,
    };
    let mut all: Vec<Pair> = (1..4).map(pair).collect();
    all.sort();
    pairs::write(&one_class.path().join(pairs::FILE), &all).unwrap();
    let found = run("joint", json!({}), &[("data", &set.data.folder()), ("split", one_class.path())]).error();
    assert!(
        found.ends_with(
            "the part `train` has 3 edges and 0 other pairs of genes of the data; it takes both to learn"
        ),
        "{found}"
    );
}

/// A small transformer of the cells, and their tokens.
fn transformer(set: &Set) -> (Outcome, Outcome) {
    let data = [("data", &*set.data.folder())];
    let tokens = run("tokenise", json!({"min_genes": 1, "target_sum": 600}), &data).done();
    let params = json!({
        "model": {"width": 8, "depth": 2, "heads": 2, "head_width": 4},
        "training": {"epochs": 1, "batch": 8},
    });
    (run("pretrain", params, &[("tokens", &tokens.folder())]).done(), tokens)
}

/// With the model itself wired, of which so many blocks are trained.
fn together(set: &Set, pair: &(Outcome, Outcome), blocks: usize, more: Value) -> Outcome {
    together_on(Device::Cpu, set, pair, blocks, more)
}

fn together_on(
    device: Device,
    set: &Set,
    (model, tokens): &(Outcome, Outcome),
    blocks: usize,
    more: Value,
) -> Outcome {
    let mut params = small(json!({"transformer": {"last_blocks": blocks, "cells_per_step": 2}}));
    merge(&mut params, more);
    let folders = [
        ("data", set.data.folder()),
        ("split", set.split.folder()),
        ("model", model.folder()),
        ("tokens", tokens.folder()),
    ];
    run_on(device, "joint", params, &folders.each_ref().map(|(slot, path)| (*slot, path.as_path())))
}

#[test]
fn a_transformer_that_is_not_trained_is_its_embeddings() {
    let set = set();
    let pair = transformer(&set);
    let folders = [("model", pair.0.folder()), ("tokens", pair.1.folder())];
    let inputs = folders.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let vectors = run("embed", json!({"of": "both"}), &inputs).done();
    for by in ["attention", "mean"] {
        let pooling = json!({"pooling": {"by": by}});
        let wired = together(&set, &pair, 0, pooling.clone()).done();
        let given = joint(&set, small(pooling), Some(&vectors.folder())).done();
        for file in ["scores.parquet", "model.safetensors", "history.parquet", "embeddings.parquet"] {
            let read = |outcome: &Outcome| std::fs::read(outcome.file(file)).unwrap();
            assert!(read(&wired) == read(&given), "{by}: {file}");
        }
        assert!(!wired.file("transformer").exists());
    }
}

#[test]
fn the_last_blocks_are_trained_and_written_and_the_others_stay() {
    let set = set();
    let pair = transformer(&set);
    let weights = |folder: &Path| learn::model::weights::read(&folder.join("model.safetensors")).unwrap();
    let before = weights(&pair.0.folder());
    for by in ["attention", "mean"] {
        let outcome = together(&set, &pair, 1, json!({"pooling": {"by": by}})).done();
        for (name, after) in weights(&outcome.file("transformer")) {
            let trained = name.contains("layers.1") && !name.contains("projection_matrix");
            let trained = trained || name.starts_with("norm.");
            assert_eq!(after != before[&name], trained, "{by}: {name}");
        }
        assert_eq!(outcome.file("attention.parquet").exists(), by == "attention");
        assert!(weights(&outcome.folder()).keys().all(|name| !name.contains("performer")));
        let exported =
            run("export", json!({"format": "huggingface"}), &[("model", &outcome.folder())]).done();
        assert!(weights(&exported.folder()) == weights(&outcome.file("transformer")));
        let card = std::fs::read_to_string(exported.file("README.md")).unwrap();
        assert!(card.contains("- the last block trained together with a graph network"), "{card}");
        let inputs = [("model", outcome.folder()), ("tokens", pair.1.folder())];
        run("embed", json!({}), &inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()))).done();
    }
}

#[test]
fn blocks_are_trained_to_the_same_bytes_on_any_number_of_threads() {
    let set = set();
    let pair = transformer(&set);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outcome = pool.install(|| together(&set, &pair, 2, json!({}))).done();
        ["scores.parquet", "transformer/model.safetensors", "history.parquet", "attention.parquet"]
            .map(|file| std::fs::read(outcome.file(file)).unwrap())
    };
    assert!(on(1) == on(3));
}

#[test]
fn a_transformer_that_does_not_fit_is_refused_with_the_mend() {
    let set = set();
    let pair = transformer(&set);
    assert_eq!(
        together(&set, &pair, 3, json!({})).error(),
        "`transformer.last_blocks` is 3, and the model has 2 blocks"
    );
    assert_eq!(
        together(&set, &pair, 1, json!({"transformer": {"cells_per_step": 0}})).error(),
        "`transformer.cells_per_step` must be at least 1, not 0"
    );
    let (data, split) = (set.data.folder(), set.split.folder());
    let (model, tokens) = (pair.0.folder(), pair.1.folder());
    let error = |params: Value, more: &[(&str, &Path)]| {
        let inputs = [&[("data", &*data), ("split", &*split)], more].concat();
        run("joint", params, &inputs).error()
    };
    assert_eq!(
        error(json!({}), &[("model", &model)]),
        "the inputs `model` and `tokens` go together; wire both or none"
    );
    let both: [(&str, &Path); 3] = [("model", &model), ("tokens", &tokens), ("embeddings", &model)];
    assert_eq!(
        error(json!({}), &both),
        "`embeddings` and `model` are both wired; embeddings are what the model would compute, so give one"
    );
    assert_eq!(
        error(json!({"transformer": {"last_blocks": 1}}), &[]),
        "`transformer.last_blocks` is 1, and no transformer is wired; give it in `model`, with its `tokens`"
    );
}

#[test]
fn a_gpu_learns_as_the_processor_does() {
    let (set, emulator) = (set(), Device::Cuda(u32::MAX));
    let (cells, pair) = (by_cell(&set, 5), transformer(&set));
    let settings = [
        json!({}),
        json!({"gnn": {"layer": "sage"}, "scorer": {"form": "bilinear"}, "loss": "squared"}),
        json!({"gnn": {"layer": "gat", "attention_dropout": 0.2}, "fusion": {"form": "gated"}}),
        json!({"gnn": {"layer": "genelink"}, "scorer": {"form": "dot", "always_drop": true}, "hide": false}),
        json!({"gnn": {"layer": "gnnlink"}, "pooling": {"by": "mean"}, "select": "loss"}),
    ];
    let given = settings.iter().map(|setting| {
        let on = |device| joint_on(device, &set, small(setting.clone()), Some(cells.path()));
        (setting.to_string(), on(emulator), on(Device::Cpu))
    });
    let trained = ["attention", "mean"].map(|by| {
        let on = |device| together_on(device, &set, &pair, 1, json!({"pooling": {"by": by}}));
        (format!("last block, {by}"), on(emulator), on(Device::Cpu))
    });
    for (setting, found, expected) in given.chain(trained) {
        let losses = |outcome: &Outcome| -> Vec<f64> {
            let history = Table::open(&outcome.file("history.parquet")).unwrap();
            history.floats("loss").unwrap().iter().flatten().collect()
        };
        let (found, expected) = (losses(&found.done()), losses(&expected.done()));
        assert_eq!(found.len(), expected.len(), "{setting}");
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found / expected - 1.0).abs() < 1e-4, "{setting}: {found} and {expected}");
        }
        assert_ne!(found, expected, "{setting}: another order of sums gives other last bits");
    }
}
