//! Scores that a transformer gives to pairs, which depend on no batch, and what it cannot be asked.

use crate::support::{Outcome, run};
use data::scores;
use serde_json::{Value, json};

/// Cells of a known network, their tokens, and a model of them.
struct Fixture {
    data: Outcome,
    tokens: Outcome,
    model: Outcome,
}

impl Fixture {
    fn new(cell_width: Value) -> Fixture {
        let data = run("simulate", json!({"network": "mCAD", "cells": 60}), &[]).done();
        let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
        let params = json!({
            "model": {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "cell_width": cell_width},
            "training": {"epochs": 1, "batch": 8},
        });
        let model = run("pretrain", params, &[("tokens", &tokens.folder())]).done();
        Fixture { data, tokens, model }
    }

    fn probe(&self, params: Value) -> Outcome {
        let (model, tokens, data) = (self.model.folder(), self.tokens.folder(), self.data.folder());
        run("probe", params, &[("model", &model), ("tokens", &tokens), ("data", &data)])
    }
}

fn bytes(outcome: &Outcome) -> Vec<u8> {
    std::fs::read(outcome.file(scores::FILE)).unwrap()
}

#[test]
fn scores_are_the_same_in_any_batch_and_on_any_number_of_threads() {
    let fixture = Fixture::new(json!(8));
    for by in ["perturbation", "gradient", "attention"] {
        let probe = |batch: Value, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let params = json!({"by": by, "cells": 3, "values": 2, "groups": 2, "batch": batch});
            pool.install(|| bytes(&fixture.probe(params).done()))
        };
        let expected = probe(json!(null), 2);
        let rows =
            scores::read(&fixture.probe(json!({"by": by, "cells": 3})).done().file(scores::FILE)).unwrap();
        assert!(rows.iter().any(|row| row.score != rows[0].score), "{by}: {rows:?}");
        for (batch, threads) in [(1, 2), (7, 1), (50, 3)] {
            assert!(
                probe(json!(batch), threads) == expected,
                "{by} in batches of {batch} on {threads} threads"
            );
        }
    }
}

#[test]
fn what_a_model_cannot_be_asked_is_refused_with_the_mend() {
    let fixture = Fixture::new(json!(null));
    let error = fixture.probe(json!({"by": "readout"})).error();
    assert_eq!(
        error,
        "the model has no readout to ask `by: readout`; pre-train it with `model: {cell_width: 64}`, or ask by something else"
    );
    let others = run("simulate", json!({"network": "GSD", "cells": 20}), &[]).done();
    let (model, tokens, data) = (fixture.model.folder(), fixture.tokens.folder(), others.folder());
    let probe = run("probe", json!({}), &[("model", &model), ("tokens", &tokens), ("data", &data)]);
    let error = probe.error();
    assert!(error.starts_with("the model knows both genes of none of the "), "{error}");
}
