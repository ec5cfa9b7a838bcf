//! Weights from elsewhere: read without executing anything, and the same model in every format.

use crate::support::{Outcome, run};
use data::cells;
use data::cells::CellWriter;
use data::embeddings::{self, Embeddings};
use data::formats::npy;
use data::genes;
use learn::model::weights;
use needs::shared;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A list of genes, in a folder that lives as long as the test.
fn vocabulary(folder: &Path, count: usize) -> PathBuf {
    let path = folder.join("genes.txt");
    let names: String = (0..count).map(|gene| format!("G{gene}\n")).collect();
    std::fs::write(&path, names).unwrap();
    path
}

fn import(weights: &Path, vocabulary: &Path, params: Value) -> Outcome {
    run("import-model", params, &[("weights", weights), ("vocabulary", vocabulary)])
}

#[test]
fn every_layout_of_pytorch_gives_the_weights_that_were_saved() {
    let Some(golden) = shared("goldens/tiny_performer") else { return };
    let folder = tempfile::tempdir().unwrap();
    let list = vocabulary(folder.path(), 64);
    for (file, arrays) in [
        ("tiny_performer_init_0.pth", "params.npz"),
        ("tiny_performer_after_10.pth", "params_after10.npz"),
        ("tiny_performer_after_10_torch18.pth", "params_after10.npz"),
        ("tiny_performer_after_10_legacy.pth", "params_after10.npz"),
    ] {
        let outcome = import(&golden.join(file), &list, json!({"stabiliser": "batch"})).done();
        let expected = npy::read_all(&golden.join(arrays)).unwrap();
        let found = weights::read(&outcome.file("model.safetensors")).unwrap();
        for (name, array) in &found {
            assert_eq!(array.shape, expected[name].shape, "{file}: {name}");
            assert_eq!(array.values, expected[name].floats(), "{file}: {name}");
        }
        // All but the counter of redraws.
        assert_eq!(found.len() + 1, expected.len(), "{file}");
        let card: Value =
            serde_json::from_slice(&std::fs::read(outcome.file("config.json")).unwrap()).unwrap();
        assert_eq!(card["license"], "GPL-3.0");
        assert_eq!(card["performer"]["features"], 266);
        assert_eq!(
            (&card["performer"]["heads"], &card["performer"]["stabiliser"]),
            (&json!(4), &json!("batch"))
        );
        assert_eq!(outcome.warnings.len(), 1, "{:?}", outcome.warnings);
        assert!(
            outcome.warnings[0].starts_with("scBERT's weights are under GPL-3.0"),
            "{:?}",
            outcome.warnings
        );
    }
}

#[test]
fn no_damage_of_a_file_of_weights_is_a_panic() {
    let Some(golden) = shared("goldens/tiny_performer") else { return };
    let folder = tempfile::tempdir().unwrap();
    let list = vocabulary(folder.path(), 64);
    let damaged = folder.path().join("damaged.pth");
    for file in ["tiny_performer_init_0.pth", "tiny_performer_after_10_legacy.pth"] {
        let bytes = std::fs::read(golden.join(file)).unwrap();
        for share in 1..20 {
            std::fs::write(&damaged, &bytes[..bytes.len() * share / 20]).unwrap();
            import(&damaged, &list, json!({})).error();
            let mut flipped = bytes.clone();
            flipped[share * 337] ^= 0x55;
            std::fs::write(&damaged, flipped).unwrap();
            let _ = import(&damaged, &list, json!({})).result;
        }
    }
}

#[test]
fn a_checkpoint_that_asks_for_code_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let list = vocabulary(folder.path(), 2);
    let path = folder.path().join("evil.pth");
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let evil = b"\x80\x02cos\nsystem\nX\x0a\x00\x00\x00touch /tmp\x85R.";
    std::fs::write(&path, [&magic[..], b"\x80\x02M\xe9\x03.", evil].concat()).unwrap();
    let error = import(&path, &list, json!({})).error();
    assert!(
        error.ends_with("it asks Python for `os.system`, which a file of weights has no need of: refused"),
        "{error}"
    );
}

fn trained() -> (Outcome, Outcome) {
    let data = run("simulate", json!({"network": "mCAD", "cells": 40}), &[]).done();
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
    let params = json!({
        "model": {"width": 8, "depth": 1, "heads": 1, "head_width": 8},
        "training": {"epochs": 1, "batch": 8},
    });
    (run("pretrain", params, &[("tokens", &tokens.folder())]).done(), tokens)
}

#[test]
fn what_is_exported_is_imported_with_the_same_bytes() {
    let (model, _) = trained();
    let exported = run("export", json!({"format": "huggingface"}), &[("model", &model.folder())]).done();
    let mut files: Vec<String> = std::fs::read_dir(exported.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["README.md", "config.json", "model.safetensors", "vocab.txt"]);
    let card = std::fs::read_to_string(exported.file("README.md")).unwrap();
    for text in ["| genes | 5 |", "- pre-trained on 40 cells", "None is recorded"] {
        assert!(card.contains(text), "{text} is not in {card}");
    }
    let imported = run("import-model", json!({}), &[("weights", &exported.folder())]).done();
    for file in ["model.safetensors", "config.json", "vocabulary.parquet"] {
        assert_eq!(
            std::fs::read(imported.file(file)).unwrap(),
            std::fs::read(model.file(file)).unwrap(),
            "{file}"
        );
    }
    let licensed =
        run("import-model", json!({"license": "GPL-3.0"}), &[("weights", &exported.folder())]).done();
    let exported = run("export", json!({"format": "huggingface"}), &[("model", &licensed.folder())]).done();
    let card = std::fs::read_to_string(exported.file("README.md")).unwrap();
    assert!(card.contains("license: gpl-3.0") && card.contains("scBERT's are under GPL-3.0"), "{card}");
}

#[test]
fn what_is_missing_or_extra_is_said() {
    let (model, tokens) = trained();
    let folder = tempfile::tempdir().unwrap();
    let mut arrays = weights::read(&model.file("model.safetensors")).unwrap();
    arrays.remove("to_out.bias");
    arrays.insert("to_out.fc1.weight".to_owned(), weights::Array { shape: vec![1], values: vec![0.0] });
    let path = folder.path().join("model.safetensors");
    weights::write(&path, &arrays).unwrap();
    let outcome = import(&path, &tokens.folder(), json!({})).done();
    assert_eq!(
        outcome.warnings,
        [
            "the weights lack `to_out.bias`, which guess hidden genes and start anew",
            "the model has no place for `to_out.fc1.weight`",
        ]
    );
    arrays.remove("norm.weight");
    std::fs::remove_file(&path).unwrap();
    weights::write(&path, &arrays).unwrap();
    assert!(import(&path, &tokens.folder(), json!({})).error().ends_with("the weights lack `norm.weight`"));
    let few = vocabulary(folder.path(), 4);
    let error = import(&path, &few, json!({})).error();
    assert!(error.ends_with("the weights are of 5 genes and the vocabulary has 4"), "{error}");
}

#[test]
fn the_head_of_a_fine_tuned_scbert_comes_with_its_model() {
    let (model, tokens) = trained();
    let folder = tempfile::tempdir().unwrap();
    let mut arrays = weights::read(&model.file("model.safetensors")).unwrap();
    arrays.retain(|name, _| !name.starts_with("to_out."));
    // Two types; 5 genes and the trailing token; hidden layers of 4 and 3; a convolution as wide as an encoding.
    for (name, shape) in [
        ("conv1.weight", vec![1, 1, 1, 8]),
        ("conv1.bias", vec![1]),
        ("fc1.weight", vec![4, 6]),
        ("fc1.bias", vec![4]),
        ("fc2.weight", vec![3, 4]),
        ("fc2.bias", vec![3]),
        ("fc3.weight", vec![2, 3]),
        ("fc3.bias", vec![2]),
    ] {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|value| value as f32 / count as f32 - 0.5).collect();
        arrays.insert(format!("to_out.{name}"), weights::Array { shape, values });
    }
    let path = folder.path().join("model.safetensors");
    weights::write(&path, &arrays).unwrap();
    let numbered = import(&path, &tokens.folder(), json!({})).done();
    assert!(numbered.warnings[0].starts_with("nothing names the types"), "{:?}", numbered.warnings);
    let list = folder.path().join("types.txt");
    std::fs::write(&list, "B cell\nT cell\n").unwrap();
    let folders = [("weights", path.clone()), ("vocabulary", tokens.folder()), ("types", list.clone())];
    let inputs = folders.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let imported = run("import-model", json!({}), &inputs).done();
    assert_eq!(
        imported.warnings,
        ["the weights lack `to_out.weight`, `to_out.bias`, which guess hidden genes and start anew"]
    );
    let head = std::fs::read(imported.file("classifier.safetensors")).unwrap();
    let (found, types) = weights::from_bytes(&head, "types").unwrap();
    assert_eq!(types.as_deref(), Some(r#"["B cell","T cell"]"#));
    for (name, array) in &found {
        assert_eq!(array.values, arrays[name].values, "{name}");
    }
    assert_eq!(found.len(), 8);
    let exported = run("export", json!({"format": "huggingface"}), &[("model", &imported.folder())]).done();
    let again = run("import-model", json!({}), &[("weights", &exported.folder())]).done();
    assert_eq!(std::fs::read(again.file("classifier.safetensors")).unwrap(), head);
    std::fs::write(&list, "B cell\n").unwrap();
    let error = run("import-model", json!({}), &inputs).error();
    assert_eq!(error, "the head tells 2 types apart, and 1 have a name");
    arrays.remove("to_out.fc2.bias");
    std::fs::remove_file(&path).unwrap();
    weights::write(&path, &arrays).unwrap();
    assert!(run("import-model", json!({}), &inputs).error().ends_with("the weights lack `to_out.fc2.bias`"));
}

#[test]
fn a_table_of_gene2vec_becomes_vectors_of_genes() {
    let Some(golden) = shared("goldens/tiny_performer/gene2vec.npy") else { return };
    let folder = tempfile::tempdir().unwrap();
    let outcome = import(&golden, &vocabulary(folder.path(), 64), json!({})).done();
    let found = Embeddings::read(&outcome.file(embeddings::FILE)).unwrap();
    let expected = npy::read(&golden).unwrap();
    assert_eq!((found.names[1].as_str(), found.dimensions), ("G1", 32));
    assert_eq!(found.values, expected.floats());
}

#[test]
fn genes_that_go_together_have_vectors_that_do() {
    // Three groups of eight genes; a cell expresses one group, with noise.
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..24).map(|gene| format!("G{gene}")).collect();
    genes::write(&folder.path().join(genes::FILE), &names).unwrap();
    let mut writer = CellWriter::create(&folder.path().join(cells::FILE)).unwrap();
    let mut random = data::random::Random::new(1, 0);
    let all: Vec<u32> = (0..24).collect();
    for cell in 0..90 {
        let group = random.below(3) as u32;
        let value = |gene: &u32, noise: f64| (if gene / 8 == group { 3.0 } else { 0.5 } + noise) as f32;
        let values: Vec<f32> = all.iter().map(|gene| value(gene, random.unit())).collect();
        writer.push(&format!("c{cell}"), &all, &values).unwrap();
    }
    writer.finish().unwrap();
    let params = json!({"dimensions": 8, "neighbours": 5, "epochs": 200});
    let learn = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outcome = pool.install(|| run("gene2vec", params.clone(), &[("data", folder.path())]).done());
        Embeddings::read(&outcome.file(embeddings::FILE)).unwrap()
    };
    let found = learn(1);
    assert_eq!(found, learn(3));
    let vector = |gene: usize| &found.values[gene * 8..][..8];
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for gene in 0..24 {
        let others = (0..24).filter(|other| *other != gene);
        let likeness = |other: &usize| cosine(vector(gene), vector(*other));
        let nearest = others.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap();
        assert_eq!(nearest / 8, gene / 8, "the nearest to G{gene} is G{nearest}");
    }
}
