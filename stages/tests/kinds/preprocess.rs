//! `preprocess`: the numbers are scanpy's.

use crate::support::{Outcome, fixture, run};
use data::network::{self, Network};
use needs::shared;
use serde_json::{Value, json};

fn counts() -> Outcome {
    run(
        "dataset",
        json!({"orient": "cells_by_genes", "values": "counts"}),
        &[("data", &fixture("counts.csv"))],
    )
    .done()
}

fn preprocess(data: &Outcome, params: Value) -> Outcome {
    run("preprocess", params, &[("data", &data.folder())])
}

fn golden(name: &str) -> (Vec<String>, Vec<String>, Vec<Vec<f32>>) {
    let text = std::fs::read_to_string(fixture(&format!("preprocessed/{name}.csv"))).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let genes = lines.next().unwrap()[1..].to_vec();
    let (mut cells, mut rows) = (Vec::new(), Vec::new());
    for line in lines {
        cells.push(line[0].clone());
        rows.push(line[1..].iter().map(|field| field.parse().unwrap()).collect());
    }
    (genes, cells, rows)
}

#[test]
fn numbers_are_those_of_scanpy() {
    let data = counts();
    let filters = json!({"min_genes": 3, "min_cells": 3, "target_sum": null, "log1p": "none"});
    for (name, changes) in [
        ("filtered", json!({})),
        ("median", json!({"target_sum": "median"})),
        ("base2", json!({"target_sum": 1e4, "log1p": "base2"})),
        ("natural", json!({"target_sum": 1e4, "log1p": "natural"})),
        ("scaled", json!({"target_sum": 1e4, "log1p": "natural", "scale": true, "max_value": 2.0})),
    ] {
        let mut params = filters.clone();
        changes.as_object().unwrap().iter().for_each(|(key, value)| params[key] = value.clone());
        let (genes, cells, rows) = preprocess(&data, params).done().matrix();
        let (golden_genes, golden_cells, golden_rows) = golden(name);
        assert_eq!((genes, cells), (golden_genes, golden_cells), "{name}");
        for (row, golden) in rows.iter().zip(&golden_rows) {
            for (value, golden) in row.iter().zip(golden) {
                // scanpy computes in single precision; what is scaled loses a digit more by cancellation.
                let tolerance = if name == "scaled" { 2e-6 } else { 5e-7 };
                assert!(
                    (value - golden).abs() <= tolerance * golden.abs().max(1.0),
                    "{name}: {value} {golden}"
                );
            }
        }
    }
}

#[test]
fn a_summary_counts_what_was_left_out() {
    let outcome = preprocess(&counts(), json!({"min_genes": 3, "min_cells": 3})).done();
    let summary: Value =
        serde_json::from_slice(&std::fs::read(outcome.file("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["cells"], json!({"before": 30, "after": 28}));
    assert_eq!(summary["genes"]["before"], json!(20));
    assert!(summary["genes"]["after"].as_u64() < Some(20));
}

#[test]
fn tfs_that_vary_along_pseudotime_are_selected() {
    let cells = run("simulate", json!({"network": "GSD", "cells": 600, "counts": false}), &[]).done();
    let params = json!({"target_sum": null, "log1p": "none", "select": {"genes": 2}});
    let outcome = preprocess(&cells, params).done();
    let genes = outcome.matrix().0;
    // 16 of the 19 genes regulate others, and all of them change on the way from the bipotential gonad.
    assert!(genes.contains(&"SOX9".to_owned()) && genes.contains(&"UGR".to_owned()), "{genes:?}");
    let network = Network::read(&outcome.file(network::FILE)).unwrap();
    assert!(
        network
            .edges()
            .all(|(tf, target, _)| genes.iter().any(|g| g == tf) && genes.iter().any(|g| g == target))
    );
}

#[test]
fn genes_of_the_largest_variance_are_selected() {
    let cells = run("simulate", json!({}), &[]).done();
    let outcome = preprocess(&cells, json!({"select": {"genes": 100, "tfs": "all"}})).done();
    let genes = outcome.matrix().0;
    assert_eq!(genes.iter().filter(|gene| gene.starts_with('G')).count(), 100);
    assert!(outcome.file("types.parquet").exists());
}

#[test]
fn what_cannot_be_done_is_said() {
    let data = counts();
    for (params, message) in [
        (json!({"min_genes": 99}), "no cell is left of 30: see `min_genes` and `min_counts`"),
        (json!({"min_cells": 99}), "no gene is left of 20: see `min_cells` and `select`"),
        (json!({"target_sum": 0.0}), "`target_sum` must be above 0, not 0"),
        (json!({"select": {}}), "nothing says which genes are TFs; wire a list to the input `tfs`"),
    ] {
        assert_eq!(preprocess(&data, params).error(), message);
    }
    let scaled = run("dataset", json!({}), &[("data", &fixture("dense_raw_layer.h5ad"))]).done();
    let error = preprocess(&scaled, json!({"target_sum": null})).error();
    assert_eq!(error, "cell `c1` holds -1, which has no logarithm; is the data scaled already?");
}

#[test]
fn published_counts_become_what_scanpy_makes_of_them() {
    let Some(path) = shared("data/pretrain/pbmc_ctrl.h5ad") else { return };
    let data = run("dataset", json!({"values": "counts"}), &[("data", &path)]).done();
    let (genes, cells, rows) = preprocess(&data, json!({"min_genes": 200, "min_cells": 3})).done().matrix();
    assert_eq!((cells.len(), genes.len()), (998, 8835));
    let sum = |values: &mut dyn Iterator<Item = f32>| values.map(f64::from).sum::<f64>();
    let of_cells = cells.iter().zip(&rows).map(|(cell, row)| (cell, sum(&mut row.iter().copied())));
    // The golden has every twentieth gene.
    let of_genes = genes.iter().enumerate().step_by(20);
    let of_genes = of_genes.map(|(at, gene)| (gene, sum(&mut rows.iter().map(|row| row[at]))));
    let golden = std::fs::read_to_string(fixture("preprocessed/pbmc_ctrl_sums.csv")).unwrap();
    let mut golden = golden.lines().skip(1);
    for (name, sum) in of_cells.chain(of_genes) {
        let (golden_name, golden_sum) = golden.next().unwrap().split_once(',').unwrap();
        let golden_sum: f64 = golden_sum.parse().unwrap();
        assert_eq!(name, golden_name);
        assert!((sum / golden_sum - 1.0).abs() < 1e-6, "{name}: {sum} {golden_sum}");
    }
    assert_eq!(golden.next(), None);
}
