//! `simulate`: the same seed is the same cells, and the cells tell of the network.

use crate::support::{Outcome, run};
use data::network::{self, Network};
use data::random::Random;
use needs::shared;
use serde_json::json;
use std::collections::BTreeSet;

fn bytes(outcome: &Outcome) -> Vec<Vec<u8>> {
    ["cells.parquet", "genes.parquet", "network.parquet"]
        .map(|name| std::fs::read(outcome.file(name)).unwrap())
        .into()
}

fn on_threads(threads: usize, params: serde_json::Value) -> Outcome {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let outcome = pool.install(|| run("simulate", params, &[]).done());
    assert!(outcome.warnings.is_empty());
    outcome
}

#[test]
fn a_seed_gives_the_same_bytes_on_any_number_of_threads() {
    for params in [json!({"cells": 50}), json!({"network": "HSC", "cells": 50})] {
        assert_eq!(bytes(&on_threads(1, params.clone())), bytes(&on_threads(3, params)));
    }
}

#[test]
fn another_seed_gives_another_network() {
    let outcomes = [0, 1].map(|seed| run("simulate", json!({"cells": 5, "seed": seed}), &[]).done());
    assert_ne!(bytes(&outcomes[0])[2], bytes(&outcomes[1])[2]);
}

#[test]
fn params_out_of_range_are_refused() {
    for (params, message) in [
        (json!({"cells": 0}), "`cells` must be at least 1, not 0"),
        (json!({"dropout": 1.5}), "`dropout` must be at most 1, not 1.5"),
        (
            json!({"network": {"scale_free": {"tfs": 500}}}),
            "`network.scale_free.tfs` must be at least 2 and below `genes`, which is 400, not 500",
        ),
    ] {
        assert_eq!(run("simulate", params, &[]).error(), message);
    }
}

/// Normalised, log-transformed columns, centred and scaled to unit length.
fn profiles(rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
    let genes = rows[0].len();
    let totals: Vec<f64> =
        rows.iter().map(|row| row.iter().map(|value| f64::from(*value)).sum::<f64>()).collect();
    (0..genes)
        .map(|gene| {
            let mut column: Vec<f64> = rows
                .iter()
                .zip(&totals)
                .map(|(row, total)| (f64::from(row[gene]) * 1e4 / total.max(1.0)).ln_1p())
                .collect();
            let mean = column.iter().sum::<f64>() / column.len() as f64;
            column.iter_mut().for_each(|value| *value -= mean);
            let length = column.iter().map(|value| value * value).sum::<f64>().sqrt().max(1e-12);
            column.iter_mut().for_each(|value| *value /= length);
            column
        })
        .collect()
}

/// How well |correlation| ranks the network's pairs among all TF × gene pairs: AUROC, and precision among
/// as many pairs as there are edges over that of chance.
fn recovery(genes: &[String], profiles: &[Vec<f64>], network: &Network) -> (f64, f64) {
    let tfs: BTreeSet<&str> = network.edges().map(|(tf, _, _)| tf).collect();
    let edges: BTreeSet<(&str, &str)> = network.edges().map(|(tf, target, _)| (tf, target)).collect();
    let mut scored = Vec::new();
    for (a, tf) in genes.iter().enumerate().filter(|(_, gene)| tfs.contains(gene.as_str())) {
        for (b, target) in genes.iter().enumerate().filter(|(b, _)| *b != a) {
            let score = profiles[a].iter().zip(&profiles[b]).map(|(x, y)| x * y).sum::<f64>().abs();
            scored.push((score, edges.contains(&(tf.as_str(), target.as_str()))));
        }
    }
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = edges.len();
    let early = scored[..positives].iter().filter(|(_, edge)| *edge).count() as f64 / positives as f64;
    let (mut seen, mut pairs) = (0u64, 0u64);
    for (_, edge) in &scored {
        if *edge {
            seen += 1;
        } else {
            pairs += seen;
        }
    }
    let auroc = pairs as f64 / (positives as f64 * (scored.len() - positives) as f64);
    (auroc, early * scored.len() as f64 / positives as f64)
}

#[test]
fn correlation_recovers_the_network_and_shuffled_expression_does_not() {
    for (params, least_auroc, least_ratio) in [
        (json!({}), 0.7, 5.0),
        (json!({"seed": 1}), 0.7, 5.0),
        (json!({"network": "HSC", "cells": 1000, "counts": false}), 0.55, 1.0),
    ] {
        let outcome = run("simulate", params.clone(), &[]).done();
        let network = Network::read(&outcome.file(network::FILE)).unwrap();
        let (genes, _, mut rows) = outcome.matrix();
        let (auroc, ratio) = recovery(&genes, &profiles(&rows), &network);
        println!("{params}: AUROC {auroc:.3}, early precision {ratio:.2} times that of chance");
        assert!(auroc > least_auroc && ratio > least_ratio, "{params}: {auroc} {ratio}");
        let mut random = Random::new(0, 0);
        for gene in 0..genes.len() {
            let mut column: Vec<f32> = rows.iter().map(|row| row[gene]).collect();
            random.shuffle(&mut column);
            rows.iter_mut().zip(column).for_each(|(row, value)| row[gene] = value);
        }
        let (auroc, ratio) = recovery(&genes, &profiles(&rows), &network);
        println!("{params}, shuffled: AUROC {auroc:.3}, early precision {ratio:.2} times that of chance");
        if genes.len() > 100 {
            assert!((auroc - 0.5).abs() < 0.04 && ratio < 1.7, "{params}, shuffled: {auroc} {ratio}");
        }
    }
}

#[test]
fn curated_networks_are_those_of_beeline() {
    for model in ["GSD", "HSC", "VSC", "mCAD"] {
        let Some(path) = shared(&format!("data/beeline/curated/{model}/refNetwork.csv")) else { return };
        let text = std::fs::read_to_string(path).unwrap();
        let mut expected = Network::default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            expected.add(fields[0], fields[1], if fields[2] == "+" { 1 } else { -1 });
        }
        let outcome = run("simulate", json!({"network": model, "cells": 5}), &[]).done();
        let network = Network::read(&outcome.file(network::FILE)).unwrap();
        // BEELINE's file has two of mCAD's signs against its own rules: Coup on Emx2, Sp8 on Pax6.
        let edges = |network: &Network| -> Vec<(String, String, i8)> {
            let sign = |sign| if model == "mCAD" { 0 } else { sign };
            network.edges().map(|(tf, target, s)| (tf.to_owned(), target.to_owned(), sign(s))).collect()
        };
        assert_eq!(edges(&network), edges(&expected), "{model}");
    }
}
