//! The transformer's kinds: trainings that resume, embeddings that depend on no batch, and what is written.

use crate::support::{Outcome, run, run_on};
use contract::stage::{Device, Refusal};
use data::embeddings::{self, ByCell, Embeddings};
use data::table::Table;
use learn::masked::Masking;
use learn::training::schedule::{Every, Schedule};
use needs::shared;
use serde_json::{Value, json};
use std::path::Path;

/// Simulated cells and their tokens.
fn tokens() -> (Outcome, Outcome) {
    let data = run("simulate", json!({"network": "mCAD", "cells": 60}), &[]).done();
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
    (data, tokens)
}

fn small() -> Value {
    json!({
        "model": {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "features": 12},
        "training": {"epochs": 4, "batch": 8, "schedule": {"rate": 0.005}},
        "redraw_every": 9,
    })
}

fn bytes(outcome: &Outcome, file: &str) -> Vec<u8> {
    std::fs::read(outcome.file(file)).unwrap()
}

fn metric(outcome: &Outcome, name: &str) -> f64 {
    let table = Table::open(&outcome.file("metrics.parquet")).unwrap();
    let (names, values) = (table.strings("metric").unwrap(), table.floats("value").unwrap());
    let row = (0..table.rows()).find(|row| names.value(*row) == name).unwrap_or_else(|| panic!("no {name}"));
    values.value(row)
}

#[test]
fn learning_rates_are_those_of_scberts_scheduler() {
    let Some(path) = shared("goldens/scheduler_lrs.json") else { return };
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let schedule = Schedule {
        rate: 1e-4,
        least_rate: 1e-6,
        warm_up: 5.0,
        cycle: Some(15.0),
        stretch: 2.0,
        fade: 0.9,
        every: Every::Epoch,
        ..Schedule::default()
    };
    let expected = golden["lr_during_epoch_1_to_100"].as_array().unwrap();
    assert_eq!(expected.len(), 100);
    for (epoch, expected) in expected.iter().enumerate() {
        let (found, expected) = (schedule.rate(epoch, 3, 7, 100), expected.as_f64().unwrap());
        // A few roundings of 64 bits.
        assert!((found / expected - 1.0).abs() < 1e-12, "epoch {epoch}: {found} and {expected}");
    }
}

#[test]
fn the_number_of_hidden_genes_is_scberts() {
    let Some(path) = shared("goldens/masking_counts.json") else { return };
    let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let numbers = |name: &str| -> Vec<usize> {
        golden[name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
    };
    let masking = Masking::default();
    for (expressed, masked) in numbers("nonzero").into_iter().zip(numbers("masked")) {
        assert_eq!(masking.count(expressed, 1025), masked, "{expressed}");
    }
    for (expressed, masked) in numbers("edge_nonzero").into_iter().zip(numbers("edge_masked")) {
        assert_eq!(masking.count(expressed, 65), masked, "{expressed}");
    }
    let path = shared("goldens/masked_count_by_nonzero_16907.npy").unwrap();
    let all = data::formats::npy::read(&path).unwrap();
    for (expressed, masked) in all.integers().unwrap().iter().enumerate() {
        assert_eq!(masking.count(expressed, 16_907), *masked as usize, "{expressed}");
    }
}

#[test]
fn a_model_learns_and_the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let (_data, tokens) = tokens();
    let train = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run("pretrain", small(), &[("tokens", &tokens.folder())]).done())
    };
    let (one, three) = (train(1), train(3));
    for file in
        ["model.safetensors", "config.json", "vocabulary.parquet", "history.parquet", "metrics.parquet"]
    {
        assert_eq!(bytes(&one, file), bytes(&three, file), "{file}");
    }
    let history = Table::open(&one.file("history.parquet")).unwrap();
    let losses = history.floats("loss").unwrap();
    assert_eq!(history.rows(), 4 * 6);
    assert!(losses.value(history.rows() - 1) < 0.8 * losses.value(0), "{losses:?}");
    for name in
        ["accuracy", "cross_entropy_most_frequent_bin", "accuracy_gene_bins", "accuracy_above_gene_bins"]
    {
        assert!(metric(&one, name).is_finite(), "{name}");
    }
    let other = json!({"seed": 1, "model": small()["model"], "training": small()["training"]});
    let other = run("pretrain", other, &[("tokens", &tokens.folder())]).done();
    assert_ne!(bytes(&one, "model.safetensors"), bytes(&other, "model.safetensors"));
}

#[test]
fn an_untrained_model_is_a_control_that_is_told_from_a_trained_one() {
    let (_data, tokens) = tokens();
    let params = json!({"model": small()["model"], "training": {"epochs": 0, "batch": 8}});
    let outcome = run("pretrain", params, &[("tokens", &tokens.folder())]).done();
    assert!(
        outcome.warnings[0].contains("the model has learned nothing about cells"),
        "{:?}",
        outcome.warnings
    );
    assert_eq!(Table::open(&outcome.file("history.parquet")).unwrap().rows(), 0);
}

#[test]
fn a_vector_of_the_cell_lets_a_small_model_beat_the_genes_own_bins() {
    let network = json!({"scale_free": {"genes": 100, "tfs": 12}});
    let data = run("simulate", json!({"network": network, "cells": 300, "seed": 1}), &[]).done();
    let params = json!({"min_genes": 1, "target_sum": 1000});
    let tokens = run("tokenise", params, &[("data", &data.folder())]).done();
    let pretrain = |cell_width: Value| {
        let params = json!({
            "model": {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "cell_width": cell_width},
            "masking": {"share": 0.5},
            "training": {"epochs": 8, "batch": 16, "schedule": {"rate": 0.005}},
        });
        run("pretrain", params, &[("tokens", &tokens.folder())]).done()
    };
    let (with, without) = (pretrain(json!(16)), pretrain(json!(null)));
    // 1.259 against 1.325, and 1.406 without.
    assert!(metric(&with, "cross_entropy_below_gene_bins") > 0.03);
    assert!(metric(&with, "squared_error") < 1.05 * metric(&with, "squared_error_ridge"));
    assert!(metric(&with, "squared_error_ridge") < metric(&with, "squared_error_gene_bins"));
    assert!(with.warnings.is_empty(), "{:?}", with.warnings);
    assert!(metric(&without, "cross_entropy_below_gene_bins") < 0.0);
    // The yardsticks do not depend on the model.
    for name in ["accuracy_nearest_cell", "squared_error_nearest_cell", "squared_error_ridge"] {
        assert_eq!(metric(&with, name), metric(&without, name), "{name}");
    }
    // And its vectors hold what the cells are, which the averages of the other model do not.
    let judged = |model: &Outcome, of: &str, by: &str| {
        let inputs = [("model", model.folder()), ("tokens", tokens.folder()), (by, data.folder())];
        let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
        run("embed", json!({"of": of}), &inputs).done()
    };
    let (of_cells, of_mean) = (judged(&with, "cells", "types"), judged(&without, "cells", "types"));
    let vectors = Embeddings::read(&of_cells.file(embeddings::FILE)).unwrap();
    assert_eq!((vectors.names.len(), vectors.dimensions), (300, 16));
    for by in ["types_by_neighbours", "types_by_regression"] {
        let above = metric(&of_cells, &format!("{by}_above_pca"));
        assert!((above - metric(&of_cells, by) + metric(&of_cells, &format!("{by}_pca"))).abs() < 1e-12);
        assert!(above > -0.1, "{by}: {above}");
        assert!(metric(&of_mean, by) < metric(&of_cells, by) - 0.1, "{by}");
        assert_eq!(metric(&of_mean, &format!("{by}_pca")), metric(&of_cells, &format!("{by}_pca")));
    }
    assert!(of_mean.warnings.iter().any(|warning| warning.contains("the model's vectors hold less")));
    let of_genes = judged(&with, "genes", "network");
    let (own, pca) = (metric(&of_genes, "partners_auroc"), metric(&of_genes, "partners_auroc_pca"));
    assert!(pca > 0.6, "{pca}");
    assert!((metric(&of_genes, "partners_auroc_above_pca") - (own - pca)).abs() < 1e-12);
    // The encodings of a model with a vector of the cell hold what that leaves over.
    assert!(of_genes.warnings.iter().any(|warning| warning.contains("more like it than another gene in 0.")));
}

#[test]
fn embeddings_are_the_same_whatever_the_batch() {
    let (_data, tokens) = tokens();
    let model = run("pretrain", small(), &[("tokens", &tokens.folder())]).done();
    let inputs = [("model", model.folder()), ("tokens", tokens.folder())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let embed =
        |of: &str, batch: Value| run("embed", json!({"of": of, "batch": batch, "cells": 20}), &inputs).done();
    for (of, former, file) in [
        ("genes", "cells", embeddings::FILE),
        ("cells", "genes", embeddings::FILE),
        ("both", "none", embeddings::BY_CELL),
    ] {
        let expected = bytes(&embed(of, json!(null)), file);
        for batch in [1, 7, 50] {
            assert_eq!(bytes(&embed(of, json!(batch)), file), expected, "{of} in batches of {batch}");
        }
        let formerly = run("embed", json!({"pool": former, "cells": 20}), &inputs).done();
        assert_eq!(bytes(&formerly, file), expected, "{of}");
    }
    let by_cell = ByCell::read(&embed("both", json!(null)).file(embeddings::BY_CELL)).unwrap();
    let genes = Embeddings::read(&embed("genes", json!(null)).file(embeddings::FILE)).unwrap();
    let cells = Embeddings::read(&embed("cells", json!(null)).file(embeddings::FILE)).unwrap();
    assert_eq!((&by_cell.genes, &by_cell.cells, by_cell.dimensions), (&genes.names, &cells.names, 16));
    let count = by_cell.genes.len();
    assert_eq!((by_cell.cells.len(), by_cell.values.len()), (20, 20 * count * 16));
    let mean_of_first: f64 =
        (0..20).map(|cell| f64::from(by_cell.values[cell * count * 16])).sum::<f64>() / 20.0;
    assert_eq!(genes.values[0], mean_of_first as f32);
    let mean_of_first: f64 =
        (0..count).map(|gene| f64::from(by_cell.values[gene * 16])).sum::<f64>() / count as f64;
    assert_eq!(cells.values[0], mean_of_first as f32);
}

#[test]
fn a_vocabulary_that_is_not_the_models_is_refused_with_the_mend() {
    let (data_of_model, tokens) = tokens();
    let model = run("pretrain", small(), &[("tokens", &tokens.folder())]).done();
    let data = run("simulate", json!({"network": "GSD", "cells": 20}), &[]).done();
    let others = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
    let embed = |tokens: &Path| run("embed", json!({}), &[("model", &model.folder()), ("tokens", tokens)]);
    let error = embed(&others.folder()).error();
    assert!(error.starts_with("the model knows 5 genes and the tokens are of 19, not the same"), "{error}");
    assert!(error.ends_with("give `tokenise` the model in its input `vocabulary`"), "{error}");
    let inputs = [("data", data.folder()), ("vocabulary", model.folder())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let others = run("tokenise", json!({"min_genes": 1}), &inputs).error();
    assert_eq!(others, "none of 19 genes is in the vocabulary of 5; are they of the same species?");
    let inputs = [("data", data_of_model.folder()), ("vocabulary", model.folder())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let mended = run("tokenise", json!({"min_genes": 1}), &inputs).done();
    embed(&mended.folder()).done();
    let bins =
        run("tokenise", json!({"min_genes": 1, "bins": 7}), &[("data", &data_of_model.folder())]).done();
    assert_eq!(
        embed(&bins.folder()).error(),
        "the model knows 5 bins and the tokens have 7; tokenise with `bins: 5`"
    );
}

#[test]
fn fine_tuning_moves_the_last_blocks_alone() {
    let (_data, tokens) = tokens();
    let model = run("pretrain", small(), &[("tokens", &tokens.folder())]).done();
    let inputs = [("model", model.folder()), ("tokens", tokens.folder())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let tuned = run("finetune", json!({"training": {"epochs": 2}, "held_out": 0.2}), &inputs).done();
    let [before, after] = [&model, &tuned]
        .map(|outcome| learn::model::weights::read(&outcome.file("model.safetensors")).unwrap());
    for (name, array) in &before {
        let moves = name.contains("layers.1") && !name.contains("projection")
            || name.starts_with("norm.")
            || name.starts_with("to_out.");
        assert_eq!(after[name] != *array, moves, "{name}");
    }
    let card: Value = serde_json::from_slice(&bytes(&tuned, "config.json")).unwrap();
    assert_eq!(card["history"], json!(["pre-trained on 60 cells", "fine-tuned on 60 cells"]));
}

#[test]
fn types_of_cells_are_learned() {
    let network = json!({"scale_free": {"genes": 30, "tfs": 8, "types": 3}});
    let data = run("simulate", json!({"network": network, "cells": 200}), &[]).done();
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
    let model = json!({"model": small()["model"], "training": {"epochs": 1, "batch": 8}});
    let model = run("pretrain", model, &[("tokens", &tokens.folder())]).done();
    let folders = [("model", model.folder()), ("tokens", tokens.folder()), ("types", data.folder())];
    let inputs = folders.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let params = json!({
        "task": "types",
        "last_blocks": null,
        "training": {"epochs": 25, "batch": 8, "patience": null, "schedule": {"rate": 0.003}},
        "held_out": 0.2,
        "hidden": [64, 32],
    });
    let tuned = run("finetune", params.clone(), &inputs).done();
    let (found, trivial) = (metric(&tuned, "accuracy"), metric(&tuned, "accuracy_most_frequent_type"));
    assert!(found > trivial + 0.1, "{found} and {trivial}");
    assert!(metric(&tuned, "macro_f1") > 0.3);
    let predictions = Table::open(&tuned.file("predictions.parquet")).unwrap();
    assert_eq!((predictions.rows(), predictions.columns().len()), (200, 5));
    let error = run("finetune", params.clone(), &inputs[..2]).error();
    assert_eq!(error, "the task `types` needs the input `types`: cells with their types");
    // A model that comes with a head goes on from it, and without epochs says what that head says.
    let of_tuned = tuned.folder();
    let inputs = [("model", of_tuned.as_path()), inputs[1], inputs[2]];
    let mut again = params;
    again["training"]["epochs"] = json!(0);
    let again = run("finetune", again, &inputs).done();
    assert!(again.warnings.is_empty(), "{:?}", again.warnings);
    assert_eq!(metric(&again, "accuracy"), found);
    assert_eq!(bytes(&again, "classifier.safetensors"), bytes(&tuned, "classifier.safetensors"));
}

#[test]
fn of_a_model_that_learns_types_a_frozen_trunk_stays_bit_for_bit() {
    let network = json!({"scale_free": {"genes": 20, "tfs": 6, "types": 2}});
    let data = run("simulate", json!({"network": network, "cells": 60}), &[]).done();
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
    let mut params = small();
    params["model"]["depth"] = json!(3);
    let model = run("pretrain", params, &[("tokens", &tokens.folder())]).done();
    let folders = [("model", model.folder()), ("tokens", tokens.folder()), ("types", data.folder())];
    let inputs = folders.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let tune = |last_blocks: usize| {
        let training = json!({"epochs": 2, "batch": 8, "patience": null});
        let params =
            json!({"task": "types", "last_blocks": last_blocks, "training": training, "held_out": 0});
        run("finetune", params, &inputs).done()
    };
    let read = |outcome: &Outcome| learn::model::weights::read(&outcome.file("model.safetensors")).unwrap();
    let before = read(&model);
    for last_blocks in [0, 1, 2] {
        let after = read(&tune(last_blocks));
        for (name, array) in &before {
            let block = (0..3).find(|block| name.contains(&format!("layers.{block}.")));
            let trained = block.is_some_and(|block| block >= 3 - last_blocks) && !name.contains("projection")
                || name.starts_with("norm.");
            assert_eq!(after[name] != *array, trained, "{name} with the last {last_blocks}");
        }
    }
}

#[test]
fn tokens_of_several_data_sets_are_merged() {
    let (data, first) = tokens();
    let second =
        run("tokenise", json!({"min_genes": 1, "zeros": "drop"}), &[("data", &data.folder())]).done();
    let merged = run("merge", json!({}), &[("b", &first.folder()), ("a", &first.folder())]).done();
    let table = Table::open(&merged.file("tokens.parquet")).unwrap();
    let cells = table.strings("cell").unwrap();
    assert_eq!(table.rows(), 120);
    assert!(cells.value(0).starts_with("a/") && cells.value(60).starts_with("b/"));
    assert_eq!(bytes(&merged, "vocabulary.parquet"), bytes(&first, "vocabulary.parquet"));
    let error = run("merge", json!({}), &[("a", &first.folder()), ("b", &second.folder())]).error();
    assert!(error.starts_with("the inputs `a` and `b` have other tokens or genes; "), "{error}");
}

#[test]
fn positions_come_from_vectors_of_genes() {
    let (_data, tokens) = tokens();
    let folder = tempfile::tempdir().unwrap();
    let genes = data::genes::read(&tokens.file("vocabulary.parquet")).unwrap();
    let names = vec![genes[1].clone(), genes[0].clone()];
    let values = (0..32).map(|value| value as f32).collect();
    let path = folder.path().join(embeddings::FILE);
    Embeddings { names, dimensions: 16, values }.write(&path).unwrap();
    let inputs = [("tokens", tokens.folder()), ("positions", folder.path().to_owned())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let outcome = run("pretrain", small(), &inputs).done();
    assert_eq!(outcome.warnings[0], "3 of 5 genes have no vector in `positions`, and get zeros");
    let weights = learn::model::weights::read(&outcome.file("model.safetensors")).unwrap();
    let table = &weights["pos_emb.emb.weight"];
    assert_eq!(table.shape, [6, 16]);
    let expected: Vec<f32> = (16..32).chain(0..16).map(|value| value as f32).chain(vec![0.0; 64]).collect();
    assert_eq!(table.values, expected);
    let wide = json!({"model": {"width": 20, "depth": 1, "heads": 1, "head_width": 4}});
    let error = run("pretrain", wide, &inputs).error();
    assert!(error.ends_with("its vectors have 16 numbers, and `model.width` is 20"), "{error}");
}

#[test]
fn what_a_device_cannot_do_is_refused_in_a_sentence() {
    let (_data, tokens) = tokens();
    let inputs = [("tokens", &*tokens.folder())];
    let mut params = small();
    params["precision"] = json!("bf16");
    let error = run("pretrain", params, &inputs).error();
    assert!(error.starts_with("`precision` is \"bf16\", which only a GPU computes in"), "{error}");
    // No machine has as many.
    let outcome = run_on(Device::Cuda(4_000_000), "pretrain", small(), &inputs);
    let error = outcome.result.expect_err("there is no such GPU");
    assert!(
        error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.0.contains("4000000")),
        "{error:#}"
    );
}

#[test]
fn a_gpu_trains_and_embeds_as_the_processor_does() {
    let (_data, tokens) = tokens();
    let chain = |device: Device| {
        let model = run_on(device, "pretrain", small(), &[("tokens", &tokens.folder())]).done();
        let inputs = [("model", &*model.folder()), ("tokens", &*tokens.folder())];
        let mut params = small();
        params.as_object_mut().unwrap().retain(|name, _| name == "training");
        let tuned = run_on(device, "finetune", params, &inputs).done();
        let embedded = run_on(device, "embed", json!({"of": "cells"}), &inputs).done();
        let vectors = Embeddings::read(&embedded.file(embeddings::FILE)).unwrap().values;
        let losses = [&model, &tuned].map(|outcome| metric(outcome, "cross_entropy"));
        (losses, vectors)
    };
    let ((losses, vectors), (expected_losses, expected)) =
        (chain(Device::Cuda(u32::MAX)), chain(Device::Cpu));
    for (found, expected) in losses.iter().zip(expected_losses) {
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} and {expected}");
    }
    let most =
        |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |most: f32, value| most.max(value.abs()));
    let size = most(&mut expected.iter().copied());
    let error = most(&mut vectors.iter().zip(&expected).map(|(a, b)| a - b));
    // After 24 steps of Adam, which divides by the size of a gradient that may be next to nothing.
    assert!(error < 1e-2 * size, "{error} of {size}");
    assert_ne!(vectors, expected, "another order of sums gives other last bits: this was no other device");
}
