//! The methods that stand beside a network: each finds what it should on a network that is known, and nothing where
//! there is nothing to find.

use crate::support::{Outcome, run, split};
use data::pairs::{self, Pair, Part};
use data::scores::{self, Score};
use data::table::Table;
use serde_json::{Value, json};
use std::path::PathBuf;

struct Example {
    cells: Outcome,
    split: Outcome,
}

impl Example {
    fn new(simulate: Value, split: Value) -> Example {
        let counts = run("simulate", simulate, &[]).done();
        let cells = run("preprocess", json!({}), &[("data", &counts.folder())]).done();
        let split = run("split", split, &[("data", &cells.folder())]).done();
        Example { cells, split }
    }

    fn shuffled(&self, params: Value) -> Outcome {
        run("shuffle", params, &[("data", &self.cells.folder())]).done()
    }

    fn score(&self, kind: &str, params: Value, data: &Outcome) -> Outcome {
        let (data, split) = (data.folder(), self.split.folder());
        let inputs: &[(&str, &std::path::Path)] =
            if kind == "labels" { &[("split", &split)] } else { &[("data", &data), ("split", &split)] };
        run(kind, params, inputs).done()
    }

    fn judge(&self, scores: &Outcome) -> Judged {
        let inputs = [("scores", scores.folder()), ("split", self.split.folder())];
        let inputs = inputs.each_ref().map(|(slot, path): &(&str, PathBuf)| (*slot, path.as_path()));
        Judged(run("evaluate", json!({"replicates": 0}), &inputs).done())
    }
}

struct Judged(Outcome);

impl Judged {
    fn number(&self, name: &str) -> f64 {
        let table = Table::open(&self.0.file("metrics.parquet")).unwrap();
        let names = table.strings("metric").unwrap();
        let row = (0..table.rows()).find(|row| names.value(*row) == name).unwrap();
        table.floats("value").unwrap().value(row)
    }
}

fn bytes(outcome: &Outcome) -> Vec<u8> {
    std::fs::read(outcome.file(scores::FILE)).unwrap()
}

const SMALL: &str = r#"{"cells": 150, "network": {"scale_free": {"genes": 60, "tfs": 15}}}"#;

fn small() -> Value {
    serde_json::from_str(SMALL).unwrap()
}

#[test]
fn methods_on_expression_find_a_simulated_network_and_nothing_once_it_is_shuffled() {
    let example = Example::new(json!({}), json!({}));
    let shuffled = example.shuffled(json!({}));
    for (kind, params, least) in [
        ("correlation", json!({}), 0.7),
        ("mutual-information", json!({}), 0.65),
        ("genie3", json!({"trees": 30}), 0.7),
        ("genie3", json!({"trees": 30, "method": "extra_trees"}), 0.7),
        ("genie3", json!({"method": "grnboost2"}), 0.65),
    ] {
        let found = example.judge(&example.score(kind, params.clone(), &example.cells)).number("auroc");
        let control = example.judge(&example.score(kind, params.clone(), &shuffled)).number("auroc");
        println!("{kind} {params}: AUROC {found:.3}, shuffled {control:.3}");
        assert!(found > least, "{kind} {params}: {found}");
        // Two and a half standard errors of some 180 edges.
        assert!((control - 0.5).abs() < 0.06, "{kind} {params}: {control}");
    }
}

#[test]
fn scores_are_the_same_bytes_on_any_number_of_threads_and_others_with_another_seed() {
    let example = Example::new(small(), json!({}));
    for (kind, params) in [
        ("mutual-information", json!({})),
        ("genie3", json!({"trees": 5})),
        ("genie3", json!({"trees": 5, "method": "extra_trees"})),
        ("genie3", json!({"method": "grnboost2"})),
        ("labels", json!({})),
        ("stack", json!({"trees": 20})),
    ] {
        let on = |threads: usize, params: &Value| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bytes(&example.score(kind, params.clone(), &example.cells)))
        };
        assert_eq!(on(1, &params), on(3, &params), "{kind} {params}");
        if kind != "mutual-information" {
            let mut other = params.clone();
            other["seed"] = json!(1);
            assert_ne!(on(2, &params), on(2, &other), "{kind} {params}");
        }
    }
}

#[test]
fn a_gene_never_explains_itself() {
    let counts = run("simulate", small(), &[]).done();
    let scored = run("genie3", json!({"trees": 5}), &[("data", &counts.folder())]).done();
    let scores = scores::read(&scored.file(scores::FILE)).unwrap();
    assert!(scores.iter().all(|score| score.tf != score.target && score.score >= 0.0));
    assert_eq!(scores.len() % 59, 0);
}

#[test]
fn labels_are_read_of_training_pairs_only() {
    let example = Example::new(json!({"cells": 2}), json!({}));
    let turned = tempfile::tempdir().unwrap();
    let mut pairs = pairs::read(&example.split.file(pairs::FILE)).unwrap();
    pairs.iter_mut().filter(|pair| pair.part != Part::Train).for_each(|pair| pair.label = !pair.label);
    pairs::write(&turned.path().join(pairs::FILE), &pairs).unwrap();
    for method in ["tf_rate", "rates", "reverse", "filter"] {
        let params = json!({"method": method});
        let (split, turned) = (example.split.folder(), turned.path());
        let plain = run("labels", params.clone(), &[("split", &split)]).done();
        assert_eq!(bytes(&plain), bytes(&run("labels", params, &[("split", turned)]).done()), "{method}");
        let scored = scores::read(&plain.file(scores::FILE)).unwrap();
        assert_eq!(scored.len(), pairs.iter().filter(|pair| pair.part != Part::Train).count());
    }
}

#[test]
fn rates_and_reverses_are_as_by_hand() {
    let split = split(&[
        ("A", "B", true, Part::Train),
        ("A", "x", true, Part::Train),
        ("A", "y", false, Part::Train),
        ("B", "A", true, Part::Test),
        ("B", "x", false, Part::Train),
        ("B", "y", false, Part::Train),
        ("C", "A", true, Part::Test),
    ]);
    let score = |method: &str| -> Vec<f64> {
        let scored = run("labels", json!({"method": method}), &[("split", split.path())]).done();
        scores::read(&scored.file(scores::FILE)).unwrap().iter().map(|score| score.score).collect()
    };
    // B has no edge among 2, drawn by two pairs towards 2 of 5; C is not seen.
    let rates = score("tf_rate");
    assert!((rates[0] - 0.2).abs() < 1e-12 && (rates[1] - 0.4).abs() < 1e-12, "{rates:?}");
    assert_eq!(score("reverse"), [1.0, 0.0]);
}

#[test]
fn a_stack_finds_edges_of_genes_whose_labels_are_unknown_by_their_expression() {
    let (mut found, mut filter, mut control) = (0.0, 0.0, 0.0);
    for fold in 0..3 {
        let protocol = json!({"protocol": "gene_held_out", "folds": 3, "fold": fold});
        let example = Example::new(json!({}), protocol);
        let others = example.shuffled(json!({"what": "profiles"}));
        let params = json!({"trees": 60});
        let judge = |scores: &Outcome| example.judge(scores).number("auroc_per_tf_by_edges") / 3.0;
        found += judge(&example.score("stack", params.clone(), &example.cells));
        control += judge(&example.score("stack", params, &others));
        filter += judge(&example.score("labels", json!({}), &example.cells));
    }
    println!("AUROC per TF {found:.3}, with other profiles {control:.3}, labels alone {filter:.3}");
    assert!(found > 0.6 && found > filter + 0.08 && found > control + 0.08);
    // Some 800 edges; folds share profiles.
    assert!((control - 0.5).abs() < 0.06 && (filter - 0.5).abs() < 0.06);
}

#[test]
fn a_stack_without_cells_is_the_filter_and_says_so() {
    let example = Example::new(json!({"cells": 2}), json!({}));
    std::fs::remove_file(example.cells.file("cells.parquet")).unwrap();
    let scored = example.score("stack", json!({}), &example.cells);
    assert_eq!(scored.warnings, ["the data has no cells: pairs are scored by labels alone"]);
    assert_eq!(bytes(&scored), bytes(&example.score("labels", json!({}), &example.cells)));
}

#[test]
fn other_scores_are_weighed_by_what_they_are_worth_on_validation() {
    let example = Example::new(small(), json!({}));
    let pairs = pairs::read(&example.split.file(pairs::FILE)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The truth, but for the pairs for training, where it is turned round.
    let truth = |pair: &Pair| Score {
        tf: pair.tf.clone(),
        target: pair.target.clone(),
        score: f64::from(u8::from(pair.label != (pair.part == Part::Train))),
    };
    scores::write(&folder.path().join(scores::FILE), &pairs.iter().map(truth).collect::<Vec<_>>()).unwrap();
    let (data, split) = (example.cells.folder(), example.split.folder());
    let inputs = [("data", data.as_path()), ("split", &split), ("scores", folder.path())];
    let scored = run("stack", json!({"trees": 10}), &inputs).done();
    assert!(example.judge(&scored).number("auroc") > 0.99);
}

#[test]
fn what_cannot_be_used_is_said() {
    let example = Example::new(small(), json!({}));
    let one = run("simulate", json!({"cells": 1, "network": "GSD"}), &[]).done();
    let no_edges = split(&[("A", "x", false, Part::Train), ("A", "y", true, Part::Test)]);
    let none_left = split(&[("A", "x", false, Part::Train), ("A", "y", true, Part::Train)]);
    let (data, split, one) = (example.cells.folder(), example.split.folder(), one.folder());
    let (data, split, one) = (data.as_path(), split.as_path(), one.as_path());
    for (kind, params, inputs, message) in [
        ("genie3", json!({"trees": 0}), vec![("data", data)], "`trees` must be at least 1, not 0"),
        ("genie3", json!({}), vec![("data", one)], "trees cannot be grown on 1 cells; give at least 2"),
        ("mutual-information", json!({"bins": 1}), vec![("data", data)], "`bins` must be at least 2, not 1"),
        (
            "mutual-information",
            json!({}),
            vec![("data", one)],
            "there is no mutual information over 1 cells; give at least 2",
        ),
        (
            "labels",
            json!({}),
            vec![("split", no_edges.path())],
            "the part `train` has 0 edges and 1 other pairs; it takes both to learn from labels",
        ),
        (
            "labels",
            json!({}),
            vec![("split", none_left.path())],
            "all pairs are for training, and none is left to score",
        ),
        (
            "stack",
            json!({"share": 0.0}),
            vec![("data", data), ("split", split)],
            "`share` must be above 0, not 0",
        ),
    ] {
        let error = run(kind, params, &inputs).error();
        assert!(error.ends_with(message), "{kind}: {error}");
    }
}
