//! `shuffle`: each gene keeps its values, and nothing keeps its cell.

use crate::support::{Outcome, run};
use serde_json::json;

fn columns(outcome: &Outcome) -> Vec<Vec<f32>> {
    let (genes, _, rows) = outcome.matrix();
    (0..genes.len()).map(|gene| rows.iter().map(|row| row[gene]).collect()).collect()
}

fn sorted(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    values
}

#[test]
fn each_gene_keeps_its_values_and_all_else_stays() {
    let cells = run("simulate", json!({"cells": 100}), &[]).done();
    let shuffled = run("shuffle", json!({}), &[("data", &cells.folder())]).done();
    assert_eq!(cells.matrix().0, shuffled.matrix().0);
    assert_eq!(cells.matrix().1, shuffled.matrix().1);
    for name in ["genes.parquet", "network.parquet", "types.parquet"] {
        assert_eq!(std::fs::read(cells.file(name)).unwrap(), std::fs::read(shuffled.file(name)).unwrap());
    }
    let mut in_place = 0;
    for (before, after) in columns(&cells).into_iter().zip(columns(&shuffled)) {
        in_place += usize::from(before == after);
        assert_eq!(sorted(before), sorted(after));
    }
    // Genes with the same value in every cell, at most.
    assert!(in_place < 4, "{in_place}");
}

#[test]
fn genes_are_permuted_apart_from_each_other() {
    let cells = run("simulate", json!({"cells": 100}), &[]).done();
    let shuffled = run("shuffle", json!({}), &[("data", &cells.folder())]).done();
    let (before, after) = (columns(&cells), columns(&shuffled));
    // Where the first gene's value of each cell went tells nothing of the second's.
    let rows = |columns: &[Vec<f32>]| -> Vec<(u32, u32)> {
        let mut rows: Vec<(u32, u32)> =
            columns[0].iter().zip(&columns[1]).map(|(a, b)| (a.to_bits(), b.to_bits())).collect();
        rows.sort_unstable();
        rows
    };
    assert_ne!(rows(&before), rows(&after));
}

#[test]
fn a_seed_decides_the_permutations() {
    let cells = run("simulate", json!({"cells": 20}), &[]).done();
    let bytes = |seed: u64| {
        let outcome = run("shuffle", json!({"seed": seed}), &[("data", &cells.folder())]).done();
        std::fs::read(outcome.file("cells.parquet")).unwrap()
    };
    assert_eq!(bytes(0), bytes(0));
    assert_ne!(bytes(0), bytes(1));
}

#[test]
fn a_single_cell_is_refused() {
    let one = run("simulate", json!({"cells": 1, "network": "GSD"}), &[]).done();
    let error = run("shuffle", json!({}), &[("data", &one.folder())]).error();
    assert_eq!(error, "there is nothing to permute among 1 cells; give at least 2");
}
