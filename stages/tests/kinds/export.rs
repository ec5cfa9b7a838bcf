//! `export`: other programs read what is written.

use crate::support::{Outcome, fixture, run};
use data::embeddings::{self, Embeddings};
use data::scores::{self, Score};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn some_scores() -> TempDir {
    let folder = TempDir::new().unwrap();
    let score = |tf: &str, target: &str, score| Score { tf: tf.to_owned(), target: target.to_owned(), score };
    let scored = [score("A", "B", 0.25), score("B", "C<", -0.5), score("A", "C<", 0.25)];
    scores::write(&folder.path().join(scores::FILE), &scored).unwrap();
    folder
}

fn some_embeddings(names: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let values = (0..names.len() * 2).map(|value| value as f32).collect();
    Embeddings { names, dimensions: 2, values }.write(&folder.path().join(embeddings::FILE)).unwrap();
    folder
}

fn text(outcome: &Outcome, name: &str) -> String {
    std::fs::read_to_string(outcome.file(name)).unwrap()
}

/// Runs Python where it has the modules; says so where it has not.
fn python(modules: &str, program: &str, file: &Path) -> Option<String> {
    let there = Command::new("python3").args(["-c", &format!("import {modules}")]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("skipped: no python3 with {modules}");
        return None;
    }
    let program = format!("import sys, {modules}\n{program}");
    let output = Command::new("python3").args(["-W", "error", "-c", &program]).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn edges_come_likeliest_first() {
    let folder = some_scores();
    let export = |format: &str| run("export", json!({"format": format}), &[("scores", folder.path())]).done();
    assert_eq!(
        text(&export("beeline"), "rankedEdges.csv"),
        "Gene1\tGene2\tEdgeWeight\nB\tC<\t-0.5\nA\tB\t0.25\nA\tC<\t0.25\n"
    );
    assert_eq!(text(&export("pyscenic"), "adjacencies.csv").lines().nth(1), Some("B,C<,-0.5"));
    let top = run("export", json!({"format": "beeline", "top": 1}), &[("scores", folder.path())]).done();
    assert_eq!(text(&top, "rankedEdges.csv").lines().count(), 2);
}

#[test]
fn networkx_reads_the_graph() {
    let folder = some_scores();
    let outcome = run("export", json!({"format": "graphml"}), &[("scores", folder.path())]).done();
    let path = outcome.file("network.graphml");
    assert!(text(&outcome, "network.graphml").contains("<edge source=\"B\" target=\"C&lt;\">"));
    let program = "print(sorted(networkx.read_graphml(sys.argv[1]).edges(data='weight')))";
    if let Some(edges) = python("networkx", program, &path) {
        assert_eq!(edges, "[('A', 'B', 0.25), ('A', 'C<', 0.25), ('B', 'C<', 0.5)]");
    }
}

fn exported_h5ad() -> (Outcome, PathBuf) {
    let data = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    let (genes, cells) = (some_embeddings(&["D", "C", "B", "A"]), some_embeddings(&["c1", "c2", "c3"]));
    let inputs = [
        ("data", data.folder()),
        ("gene_embeddings", genes.path().into()),
        ("cell_embeddings", cells.path().into()),
    ];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let outcome = run("export", json!({"format": "h5ad"}), &inputs).done();
    let path = outcome.file("data.h5ad");
    (outcome, path)
}

#[test]
fn an_h5ad_that_was_written_is_read_with_the_same_cells() {
    let (_kept, path) = exported_h5ad();
    let again = run("dataset", json!({}), &[("data", &path)]).done().matrix();
    assert_eq!(again, run("dataset", json!({}), &[("data", &fixture("10x"))]).done().matrix());
    let (_other, other) = exported_h5ad();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(other).unwrap());
}

#[test]
fn anndata_reads_the_h5ad() {
    let (_kept, path) = exported_h5ad();
    let program = "a = anndata.read_h5ad(sys.argv[1])\n\
                   print(a.X.toarray().tolist(), list(a.obs_names), list(a.var_names))\n\
                   print(a.obsm['X_embedding'].tolist(), a.varm['X_embedding'].tolist())";
    if let Some(found) = python("anndata", program, &path) {
        assert_eq!(
            found,
            "[[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 0.0], [4.0, 0.0, 5.0, 6.0]] ['c1', 'c2', 'c3'] ['A', 'B', 'C', 'D']\n\
             [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]] [[6.0, 7.0], [4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]"
        );
    }
}

#[test]
fn numpy_reads_the_vectors() {
    let genes = some_embeddings(&["B", "A"]);
    let outcome = run("export", json!({"format": "npy"}), &[("gene_embeddings", genes.path())]).done();
    assert_eq!(text(&outcome, "genes.txt"), "B\nA\n");
    let program = "a = numpy.load(sys.argv[1]); print(a.dtype, a.tolist())";
    if let Some(found) = python("numpy", program, &outcome.file("genes.npy")) {
        assert_eq!(found, "float32 [[0.0, 1.0], [2.0, 3.0]]");
    }
}

#[test]
fn a_csv_that_was_written_is_read_with_the_same_cells() {
    let data = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    let outcome = run("export", json!({"format": "csv"}), &[("data", &data.folder())]).done();
    let path = outcome.file("expression.csv");
    let again = run("dataset", json!({"orient": "genes_by_cells"}), &[("data", &path)]).done();
    assert_eq!(again.matrix(), data.matrix());
}

#[test]
fn pandas_polars_and_duckdb_open_every_parquet() {
    let cells = run("simulate", json!({"cells": 20}), &[]).done();
    let split = run("split", json!({}), &[("data", &cells.folder())]).done();
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &cells.folder())]).done();
    let files =
        [cells.folder(), split.folder(), tokens.folder()].map(|folder| std::fs::read_dir(folder).unwrap());
    for file in files.into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        for (module, read) in [
            ("pandas", "pandas.read_parquet(f)"),
            ("polars", "polars.read_parquet(f)"),
            ("duckdb", "duckdb.sql(f\"select * from '{f}'\").fetchall()"),
        ] {
            let program = format!("f = sys.argv[1]; print(len({read}))");
            let Some(rows) = python(module, &program, &file) else { return };
            let expected = data::table::Table::open(&file).unwrap().rows();
            assert_eq!(rows, expected.to_string(), "{module}: {}", file.display());
        }
    }
}

#[test]
fn what_cannot_be_exported_is_said() {
    let error = run("export", json!({"format": "npy"}), &[]).error();
    assert_eq!(
        error,
        "nothing to export in this format: it needs the input `gene_embeddings` or `cell_embeddings`"
    );
    assert_eq!(
        run("export", json!({"format": "beeline"}), &[]).error(),
        "nothing to export in this format: it needs the input `scores`"
    );
}
