//! `correlation`: the values are those of the definition, for the pairs that are asked for.

use crate::support::{Outcome, fixture, run};
use data::cells::{self, CellWriter};
use data::genes;
use data::network::Network;
use data::pairs::{self, Pair, Part};
use data::scores::{self, Score};
use serde_json::{Value, json};
use std::path::Path;
use tempfile::TempDir;

/// Three TFs (one constant) and two targets over four cells.
fn data() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    genes::write(&folder.path().join(genes::FILE), &["B", "A", "C", "x", "y"]).unwrap();
    let mut writer = CellWriter::create(&folder.path().join(cells::FILE)).unwrap();
    for (id, values) in [
        ("1", [0.0, 3.0, 2.0, 1.0, 0.0]),
        ("2", [1.0, 2.0, 2.0, 1.0, 0.0]),
        ("3", [2.0, 1.0, 2.0, 4.0, 0.0]),
        ("4", [3.0, 0.0, 2.0, 5.0, 7.0]),
    ] {
        writer.push(id, &[0, 1, 2, 3, 4], &values).unwrap();
    }
    writer.finish().unwrap();
    let mut network = Network::default();
    for tf in ["A", "B", "C"] {
        network.add(tf, "x", 1);
    }
    network.write(&folder.path().join("network.parquet")).unwrap();
    folder
}

fn split(pairs: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = |(tf, target): &(&str, &str)| Pair {
        tf: (*tf).to_owned(),
        target: (*target).to_owned(),
        label: false,
        part: Part::Test,
    };
    pairs::write(&folder.path().join(pairs::FILE), &pairs.iter().map(pair).collect::<Vec<_>>()).unwrap();
    folder
}

fn read(outcome: &Outcome) -> Vec<Score> {
    scores::read(&outcome.file(scores::FILE)).unwrap()
}

fn score(scores: &[Score], tf: &str, target: &str) -> f64 {
    scores.iter().find(|score| (score.tf.as_str(), score.target.as_str()) == (tf, target)).unwrap().score
}

#[test]
fn every_tf_is_scored_with_every_other_gene_where_no_split_says() {
    let data = data();
    let outcome = run("correlation", json!({}), &[("data", data.path())]).done();
    let scores = read(&outcome);
    let names: Vec<(&str, &str)> =
        scores.iter().map(|score| (score.tf.as_str(), score.target.as_str())).collect();
    assert_eq!(names[..4], [("A", "B"), ("A", "C"), ("A", "x"), ("A", "y")]);
    assert_eq!(names.len(), 12);
    assert!(names.is_sorted());
    assert_eq!(
        outcome.warnings,
        ["1 of 5 genes have the same value in every cell, such as `C`: their pairs score 0"]
    );
    // B deviates by (-3, -1, 1, 3) / 2, x by (-7, -7, 5, 9) / 4: 15 / 2 over sqrt(5 · 51 / 4).
    assert!((score(&scores, "B", "x") - 7.5 / (5.0 * 12.75f64).sqrt()).abs() < 1e-7);
    assert_eq!(score(&scores, "A", "C"), 0.0);
    assert_eq!(score(&scores, "C", "x"), 0.0);
}

#[test]
fn a_sign_is_kept_where_it_is_asked_for() {
    let data = data();
    for (signed, expected) in [(true, -1.0), (false, 1.0)] {
        let scores = read(&run("correlation", json!({"signed": signed}), &[("data", data.path())]).done());
        assert!((score(&scores, "A", "B") - expected).abs() < 1e-12);
    }
}

#[test]
fn spearman_is_of_ranks() {
    let data = data();
    let scores = read(&run("correlation", json!({"method": "spearman"}), &[("data", data.path())]).done());
    // Ranks of x: (1.5, 1.5, 3, 4), of y: (2, 2, 2, 4).
    assert!((score(&scores, "B", "x") - 4.5 / (5.0 * 4.5f64).sqrt()).abs() < 1e-12);
    assert!((score(&scores, "B", "y") - 3.0 / (5.0 * 3.0f64).sqrt()).abs() < 1e-12);
}

#[test]
fn only_the_pairs_of_a_split_are_scored() {
    let data = data();
    let split = split(&[("A", "gone"), ("A", "x"), ("x", "y")]);
    let outcome = run("correlation", json!({}), &[("data", data.path()), ("split", split.path())]).done();
    let scores = read(&outcome);
    assert_eq!(scores.len(), 2);
    assert!(score(&scores, "x", "y") > 0.0);
    assert_eq!(outcome.warnings, ["1 of 3 pairs have no score: the data lacks their genes"]);
}

fn dense_pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum =
        |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(a - mean_a, b - mean_b)).sum::<f64>();
    sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
}

/// The number of smaller values and half of the equal ones.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let smaller = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        smaller as f64 + equal as f64 / 2.0
    };
    values.iter().map(rank).collect()
}

#[test]
fn correlations_are_those_of_the_definition() {
    let cells =
        run("simulate", json!({"cells": 60, "network": {"scale_free": {"genes": 40, "tfs": 12}}}), &[])
            .done();
    for scale in [false, true] {
        let normalised = run("preprocess", json!({"scale": scale}), &[("data", &cells.folder())]).done();
        let (names, _, rows) = normalised.matrix();
        let column = |gene: &str| -> Vec<f64> {
            let index = names.iter().position(|name| name == gene).unwrap();
            rows.iter().map(|row| f64::from(row[index])).collect()
        };
        for method in ["pearson", "spearman"] {
            let params = json!({"method": method, "signed": true});
            let scores = read(&run("correlation", params, &[("data", &normalised.folder())]).done());
            assert_eq!(scores.len() % 39, 0);
            for found in &scores {
                let (a, b) = (column(&found.tf), column(&found.target));
                let expected = match method {
                    "pearson" => dense_pearson(&a, &b),
                    _ => dense_pearson(&ranks(&a), &ranks(&b)),
                };
                assert!((found.score - expected).abs() < 1e-9, "{found:?}, not {expected}");
            }
        }
    }
}

#[test]
fn scores_are_the_same_bytes_on_any_number_of_threads() {
    let cells = run("simulate", json!({"cells": 50}), &[]).done();
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outcome = pool.install(|| run("correlation", json!({}), &[("data", &cells.folder())]).done());
        std::fs::read(outcome.file(scores::FILE)).unwrap()
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn what_cannot_be_correlated_is_said() {
    let bare = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    let elsewhere = split(&[("P", "Q")]);
    let one = run("simulate", json!({"cells": 1, "network": "GSD"}), &[]).done();
    let error = |params: Value, inputs: &[(&str, &Path)]| run("correlation", params, inputs).error();
    assert_eq!(
        error(json!({}), &[("data", &bare.folder())]),
        "nothing says which pairs to score; wire the input `split`, or a list to `tfs`"
    );
    assert_eq!(
        error(json!({}), &[("data", &bare.folder()), ("split", elsewhere.path())]),
        "none of the 1 pairs of the split is of genes that the data has"
    );
    assert_eq!(
        error(json!({}), &[("data", &one.folder())]),
        "there is no correlation over 1 cells; give at least 2"
    );
}
