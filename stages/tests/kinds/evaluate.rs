//! `evaluate`: one part judges, and what makes the numbers mean less is told.

use crate::support::{Outcome, Row, run, split};
use data::pairs::Part;
use data::scores::{self, Score};
use data::table::Table;
use serde_json::{Value, json};

const PAIRS: [Row<'static>; 8] = [
    ("A", "t", true, Part::Train),
    ("A", "u", true, Part::Test),
    ("A", "v", false, Part::Test),
    ("A", "w", false, Part::Test),
    ("B", "t", true, Part::Test),
    ("B", "u", false, Part::Test),
    ("B", "v", false, Part::Validation),
    ("B", "w", true, Part::Validation),
];

fn evaluate(rows: &[Row], scored: &[(&str, &str, f64)], params: Value) -> Outcome {
    let scores = tempfile::tempdir().unwrap();
    let score = |(tf, target, score): &(&str, &str, f64)| Score {
        tf: (*tf).to_owned(),
        target: (*target).to_owned(),
        score: *score,
    };
    scores::write(&scores.path().join(scores::FILE), &scored.iter().map(score).collect::<Vec<_>>()).unwrap();
    let split = split(rows);
    run("evaluate", params, &[("scores", scores.path()), ("split", split.path())])
}

/// The number of this name.
fn metric(outcome: &Outcome, name: &str) -> f64 {
    let table = Table::open(&outcome.file("metrics.parquet")).unwrap();
    let names = table.strings("metric").unwrap();
    let row = (0..table.rows()).find(|row| names.value(*row) == name).unwrap();
    table.floats("value").unwrap().value(row)
}

const SCORES: [(&str, &str, f64); 8] = [
    ("A", "t", 9.0),
    ("A", "u", -0.9),
    ("A", "v", 0.2),
    ("A", "w", 0.1),
    ("B", "t", 0.3),
    ("B", "u", 0.5),
    ("B", "v", 0.6),
    ("B", "w", 0.7),
];

#[test]
fn only_the_part_that_is_asked_for_judges() {
    let test = evaluate(&PAIRS, &SCORES, json!({})).done();
    assert!(test.warnings.is_empty(), "{:?}", test.warnings);
    // Edges at .9 (its sign does not matter) and .3, the others at .5, .2 and .1.
    assert!((metric(&test, "auroc") - 5.0 / 6.0).abs() < 1e-12);
    assert_eq!(metric(&test, "early_precision"), 0.5);
    assert_eq!(metric(&test, "auroc_per_tf"), 0.5);
    let validation = evaluate(&PAIRS, &SCORES, json!({"part": "validation"})).done();
    assert_eq!(metric(&validation, "auroc"), 1.0);
}

#[test]
fn tables_have_a_row_per_metric_per_tf_and_per_point() {
    let outcome = evaluate(&PAIRS, &SCORES, json!({})).done();
    let metrics = Table::open(&outcome.file("metrics.parquet")).unwrap();
    assert_eq!(metrics.columns(), ["metric", "value", "low", "high", "n"]);
    assert_eq!(metrics.rows(), 13);
    assert_eq!(metrics.integers("n").unwrap().value(0), 5);
    let (low, high) = (metrics.floats("low").unwrap(), metrics.floats("high").unwrap());
    assert!((0..13).all(|row| low.value(row) <= high.value(row)));
    let per_tf = Table::open(&outcome.file("per-tf.parquet")).unwrap();
    assert_eq!(per_tf.columns()[..4], ["tf", "edges", "others", "auroc"]);
    let tfs: Vec<String> = per_tf.strings("tf").unwrap().iter().flatten().map(str::to_owned).collect();
    assert_eq!(tfs, ["A", "B"]);
    assert_eq!(per_tf.integers("others").unwrap().values(), &[2, 1]);
    assert_eq!(per_tf.floats("auroc").unwrap().values(), &[1.0, 0.0]);
    let curves = Table::open(&outcome.file("curves.parquet")).unwrap();
    assert_eq!(curves.columns(), ["curve", "x", "y"]);
    assert_eq!(curves.rows(), 12);
}

#[test]
fn a_pair_without_a_score_counts_as_zero_and_is_told() {
    let outcome = evaluate(&PAIRS, &SCORES[..4], json!({})).done();
    assert_eq!(
        outcome.warnings,
        ["2 of 5 pairs of the part `test`, 1 edges among them, have no score and count as 0"]
    );
    // The edge at 0 is below two others and tied with one.
    assert!((metric(&outcome, "auroc") - 3.5 / 6.0).abs() < 1e-12);
}

#[test]
fn a_constant_score_is_told() {
    let constant: Vec<(&str, &str, f64)> =
        SCORES.iter().map(|(tf, target, _)| (*tf, *target, 0.25)).collect();
    let outcome = evaluate(&PAIRS, &constant, json!({})).done();
    assert_eq!(
        outcome.warnings,
        ["every pair of the part `test` has the score 0.25: such scores tell nothing"]
    );
    assert_eq!(metric(&outcome, "auroc"), 0.5);
    assert_eq!(metric(&outcome, "early_precision_ratio"), 1.0);
    let none = evaluate(&PAIRS, &[], json!({})).done();
    assert_eq!(none.warnings.len(), 2);
    assert!(none.warnings[0].starts_with("5 of 5 pairs"), "{:?}", none.warnings);
}

#[test]
fn of_a_pair_that_is_scored_twice_the_larger_one_counts() {
    let mut twice = SCORES.to_vec();
    twice.insert(0, ("B", "t", -0.8));
    let outcome = evaluate(&PAIRS, &twice, json!({})).done();
    assert_eq!(metric(&outcome, "auroc"), 1.0);
}

#[test]
fn tfs_of_one_class_have_no_numbers_of_their_own() {
    let rows: Vec<Row> = PAIRS.into_iter().filter(|row| row.0 == "A" || row.2).collect();
    let outcome = evaluate(&rows, &SCORES, json!({})).done();
    assert!(outcome.warnings.is_empty());
    assert_eq!(metric(&outcome, "auroc_per_tf"), 1.0);
    let per_tf = Table::open(&outcome.file("per-tf.parquet")).unwrap();
    let error = per_tf.floats("auroc").unwrap_err().to_string();
    assert!(error.ends_with("the column `auroc` lacks 1 of 2 values"), "{error}");
}

#[test]
fn without_a_tf_of_both_classes_means_are_absent_and_told() {
    let rows = [("A", "u", true, Part::Test), ("B", "u", false, Part::Test)];
    let outcome = evaluate(&rows, &SCORES, json!({})).done();
    assert_eq!(
        outcome.warnings,
        ["no TF of the part `test` has edges and other pairs, so there are no means over TFs"]
    );
    let metrics = Table::open(&outcome.file("metrics.parquet")).unwrap();
    assert_eq!(metrics.rows(), 13);
    let error = metrics.floats("value").unwrap_err().to_string();
    assert!(error.ends_with("the column `value` lacks 7 of 13 values"), "{error}");
}

#[test]
fn a_part_of_one_class_is_refused() {
    let rows = [("A", "u", false, Part::Test), ("A", "v", true, Part::Train)];
    let error = evaluate(&rows, &SCORES, json!({})).error();
    assert_eq!(error, "the part `test` has 0 edges and 1 other pairs; it takes both to judge scores");
}

#[test]
fn correlation_finds_a_simulated_network_and_shuffled_expression_finds_nothing() {
    let cells = run("simulate", json!({}), &[]).done();
    let normalised = run("preprocess", json!({}), &[("data", &cells.folder())]).done();
    let shuffled = run("shuffle", json!({}), &[("data", &normalised.folder())]).done();
    let split = run("split", json!({}), &[("data", &normalised.folder())]).done();
    let judge = |data: &Outcome| {
        let scores =
            run("correlation", json!({}), &[("data", &data.folder()), ("split", &split.folder())]).done();
        run("evaluate", json!({}), &[("scores", &scores.folder()), ("split", &split.folder())]).done()
    };
    let (found, control) = (judge(&normalised), judge(&shuffled));
    println!("AUROC {:.3}, shuffled {:.3}", metric(&found, "auroc"), metric(&control, "auroc"));
    assert!(metric(&found, "auroc") > 0.7 && metric(&found, "early_precision_ratio") > 4.0);
    // Two and a half standard errors of some 180 edges.
    assert!((metric(&control, "auroc") - 0.5).abs() < 0.06);
}
