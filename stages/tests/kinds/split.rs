//! `split`: no protocol breaks what it promises.

use crate::support::{Outcome, fixture, run};
use data::pairs::{self, Pair, Part};
use needs::shared;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn simulated() -> Outcome {
    run("simulate", json!({"cells": 2}), &[]).done()
}

fn split(data: &Outcome, params: Value) -> Vec<Pair> {
    pairs::read(&run("split", params, &[("data", &data.folder())]).done().file(pairs::FILE)).unwrap()
}

/// Either end of a pair.
type Side = fn(&Pair) -> &String;

fn parts_of(pairs: &[Pair], side: Side) -> BTreeMap<&String, BTreeSet<Part>> {
    let mut parts: BTreeMap<&String, BTreeSet<Part>> = BTreeMap::new();
    for pair in pairs {
        parts.entry(side(pair)).or_default().insert(pair.part);
    }
    parts
}

#[test]
fn genelink_divides_each_tf_in_the_published_shares() {
    let pairs = split(&simulated(), json!({}));
    for of_tf in pairs.chunk_by(|a, b| a.tf == b.tf) {
        for label in [true, false] {
            let count = |part| of_tf.iter().filter(|pair| pair.label == label && pair.part == part).count();
            let all: usize = Part::ALL.into_iter().map(count).sum();
            assert_eq!(count(Part::Train), (all as f64 * 0.67) as usize);
            assert_eq!(count(Part::Train) + count(Part::Validation), (all as f64 * 0.77) as usize);
        }
    }
}

#[test]
fn held_out_tfs_and_genes_are_in_one_part_and_each_is_tested_once() {
    let data = simulated();
    let sides: [(&str, Side); 2] = [("tf_held_out", |pair| &pair.tf), ("gene_held_out", |pair| &pair.target)];
    for (protocol, side) in sides {
        let mut tested = BTreeMap::new();
        for fold in 0..5 {
            let pairs = split(&data, json!({"protocol": protocol, "fold": fold}));
            for (unit, parts) in parts_of(&pairs, side) {
                assert_eq!(parts.len(), 1, "{protocol}: {unit}");
                *tested.entry(unit.clone()).or_insert(0) += usize::from(parts.contains(&Part::Test));
            }
        }
        assert!(tested.values().all(|times| *times == 1), "{protocol}");
    }
}

#[test]
fn held_out_pairs_are_tested_once_with_as_many_edges_in_each_fold() {
    let data = simulated();
    let mut tested = BTreeMap::new();
    let mut edges = Vec::new();
    for fold in 0..5 {
        let pairs = split(&data, json!({"protocol": "pair_held_out", "fold": fold}));
        let of_fold = || pairs.iter().filter(|pair| pair.part == Part::Test);
        for pair in &pairs {
            *tested.entry((pair.tf.clone(), pair.target.clone())).or_insert(0) +=
                usize::from(pair.part == Part::Test);
        }
        edges.push(of_fold().filter(|pair| pair.label).count());
    }
    assert!(tested.values().all(|times| *times == 1));
    assert!(edges.iter().max().unwrap() - edges.iter().min().unwrap() <= 1, "{edges:?}");
}

#[test]
fn matched_negatives_have_the_degrees_of_the_edges() {
    let data = simulated();
    for protocol in ["genelink", "gene_held_out"] {
        let outcome = run(
            "split",
            json!({"protocol": protocol, "negatives": "degree_matched"}),
            &[("data", &data.folder())],
        )
        .done();
        let pairs = pairs::read(&outcome.file(pairs::FILE)).unwrap();
        let sides: [Side; 2] = [|pair| &pair.tf, |pair| &pair.target];
        let mut differ = 0;
        for side in sides {
            let mut degrees: BTreeMap<(&String, Part), i32> = BTreeMap::new();
            for pair in &pairs {
                *degrees.entry((side(pair), pair.part)).or_default() += if pair.label { 1 } else { -1 };
            }
            differ += degrees.values().map(|degree| degree.abs()).sum::<i32>();
        }
        let edges = pairs.iter().filter(|pair| pair.label).count() as i32;
        println!("{protocol}: {differ} of {} degrees differ; {:?}", 2 * edges, outcome.warnings);
        assert!(differ * 20 < edges, "{protocol}: {differ} of {edges}");
    }
}

#[test]
fn a_seed_decides_the_parts() {
    let data = simulated();
    let seeds = [0, 0, 1].map(|seed| split(&data, json!({"seed": seed})));
    assert_eq!(seeds[0], seeds[1]);
    assert_ne!(seeds[0], seeds[2]);
}

#[test]
fn what_cannot_be_split_is_said() {
    let data = simulated();
    let bare = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    for (data, params, message) in [
        (&bare, json!({}), "the data has no network to split; give `dataset` one in its input `network`"),
        (
            &data,
            json!({"protocol": "published"}),
            "the protocol `published` needs the folder of the three files in the input `published`",
        ),
        (
            &data,
            json!({"protocol": "tf_held_out", "fold": 5}),
            "`fold` must be below `folds`, which is 5, not 5 (folds count from 0)",
        ),
        (
            &data,
            json!({"protocol": "tf_held_out", "folds": 99}),
            "there are 39 of what is held out, fewer than the 99 `folds`",
        ),
    ] {
        let error = run("split", params, &[("data", &data.folder())]).error();
        assert_eq!(error, message);
    }
}

/// Lines of a published file without its header.
fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count() - 1)
}

#[test]
fn published_splits_are_read_and_completed() {
    let Some(splits) = shared("data/genelink/splits") else { return };
    for cell_type in std::fs::read_dir(&splits).unwrap() {
        for set in std::fs::read_dir(cell_type.unwrap().path()).unwrap() {
            let published = set.unwrap().path();
            let name = published.strip_prefix(&splits).unwrap();
            let labels = splits.join("../Specific Dataset").join(name);
            let data = run("dataset", json!({}), &[("data", &labels)]).done();
            let inputs = [("data", data.folder()), ("published", published.clone())];
            let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
            let outcome = run("split", json!({"protocol": "published"}), &inputs).done();
            let pairs = pairs::read(&outcome.file(pairs::FILE)).unwrap();
            let count = |part| pairs.iter().filter(|pair| pair.part == part).count();
            println!("{}: {:?} {:?}", name.display(), Part::ALL.map(count), outcome.warnings);
            assert_eq!(count(Part::Train), lines(&published.join("Train_set.csv")));
            assert_eq!(count(Part::Test), lines(&published.join("Test_set.csv")));
            let validation = lines(&published.join("Validation_set.csv"));
            let edges = pairs.iter().filter(|pair| pair.part == Part::Validation && pair.label).count();
            assert!(edges > 0 && (validation == 0 || count(Part::Validation) == validation));
        }
    }
}

#[test]
fn published_folds_hold_out_what_they_say() {
    let Some(folds) = shared("data/genelink/splits-held-out") else { return };
    let Some(labels) = shared("data/genelink/Specific Dataset/mDC/TFs+500") else { return };
    let data = run("dataset", json!({}), &[("data", &labels)]).done();
    for fold in std::fs::read_dir(folds).unwrap() {
        let fold = fold.unwrap();
        let outcome = run(
            "split",
            json!({"protocol": "published"}),
            &[("data", &data.folder()), ("published", &fold.path())],
        );
        let pairs = pairs::read(&outcome.done().file(pairs::FILE)).unwrap();
        let name = fold.file_name().into_string().unwrap();
        let side: Side = if name.contains("tfheld") { |pair| &pair.tf } else { |pair| &pair.target };
        let parts = parts_of(&pairs, side);
        assert!(
            parts.values().all(|parts| !(parts.contains(&Part::Train) && parts.contains(&Part::Test))),
            "{name}"
        );
    }
}
