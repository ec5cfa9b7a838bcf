//! `export`: other programs read what is written.

use crate::support::{Outcome, fixture, run};
use data::embeddings::{self, Embeddings};
use data::formats::npy;
use data::hdf5_draft::{Group, Hdf5Draft};
use data::scores::{self, Score};
use learn::model::weights;
use needs::Readers;
use serde_json::json;
use std::path::{Path, PathBuf};
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

/// Reads a file with the current readers; a warning is an error.
fn python(modules: &str, program: &str, file: &Path) -> Option<String> {
    needs::python(Readers::Current, &format!("warnings, {modules}"), &strictly(program), &[file])
}

fn strictly(program: &str) -> String {
    format!("warnings.simplefilter('error')\n{program}")
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
fn pandas_reads_edges_as_beeline_and_pyscenic_do() {
    let folder = some_scores();
    for (format, file, separator, expected) in [
        ("beeline", "rankedEdges.csv", "\\t", "['Gene1', 'Gene2', 'EdgeWeight']"),
        ("pyscenic", "adjacencies.csv", ",", "['TF', 'target', 'importance']"),
    ] {
        let outcome = run("export", json!({"format": format}), &[("scores", folder.path())]).done();
        let program = format!(
            "a = pandas.read_csv(sys.argv[1], sep='{separator}'); print(list(a), a.values.tolist(), a.dtypes.iloc[2])"
        );
        if let Some(found) = python("pandas", &program, &outcome.file(file)) {
            let rows = "[['B', 'C<', -0.5], ['A', 'B', 0.25], ['A', 'C<', 0.25]] float64";
            assert_eq!(found, format!("{expected} {rows}"), "{format}");
        }
    }
}

/// Cytoscape reads GraphML; networkx stands in for it.
#[test]
fn networkx_reads_the_graph() {
    let folder = some_scores();
    let outcome = run("export", json!({"format": "graphml"}), &[("scores", folder.path())]).done();
    let path = outcome.file("network.graphml");
    assert!(text(&outcome, "network.graphml").contains("<edge source=\"B\" target=\"C&lt;\">"));
    let program = "a = networkx.read_graphml(sys.argv[1])\n\
                   print(sorted(a.edges(data='weight')), sorted(a.edges(data='sign')), sorted(a.nodes(data='tf')))";
    if let Some(found) = python("networkx", program, &path) {
        assert_eq!(
            found,
            "[('A', 'B', 0.25), ('A', 'C<', 0.25), ('B', 'C<', 0.5)] \
             [('A', 'B', 1), ('A', 'C<', 1), ('B', 'C<', -1)] \
             [('A', True), ('B', True), ('C<', False)]"
        );
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
    for readers in [Readers::Current, Readers::OlderHdf5] {
        let Some(found) = needs::python(readers, "warnings, anndata", &strictly(program), &[&path]) else {
            continue;
        };
        assert_eq!(
            found,
            "[[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 0.0], [4.0, 0.0, 5.0, 6.0]] ['c1', 'c2', 'c3'] ['A', 'B', 'C', 'D']\n\
             [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]] [[6.0, 7.0], [4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]"
        );
    }
}

/// Cells of genes that hold more values than one chunk does, and how to read them.
fn many_cells(folder: &Path) -> Outcome {
    let (cells, genes) = (257, 256);
    let mut text: String = (0..genes).map(|gene| format!(",g{gene}")).collect();
    for cell in 0..cells {
        let values = (0..genes).map(|gene| format!(",{}", (cell * gene + gene) % 5 + 1));
        text.push_str(&format!("\nc{cell}{}", values.collect::<String>()));
    }
    std::fs::write(folder.join("many.csv"), text + "\n").unwrap();
    let params = json!({"orient": "cells_by_genes"});
    run("dataset", params, &[("data", &folder.join("many.csv"))]).done()
}

const SCANPY: &str = r#"
a = scanpy.read_h5ad(sys.argv[1])
print(a.shape, a.X.sum(), a.X.indices.dtype, a.X.indptr.dtype)
a.obs["half"] = pandas.Categorical(["first", "second"] * (a.n_obs // 2) + ["first"] * (a.n_obs % 2))
scanpy.pp.calculate_qc_metrics(a, percent_top=None, inplace=True)
scanpy.pp.log1p(a)
scanpy.pp.pca(a, n_comps=5)
scanpy.tl.rank_genes_groups(a, "half", method="wilcoxon")
scanpy.pp.regress_out(a, ["total_counts"])
print(a.obs["total_counts"].sum(), a.obsm["X_pca"].shape, len(a.uns["rank_genes_groups"]["names"]))
"#;

#[test]
fn scanpy_computes_with_the_h5ad_of_many_cells() {
    let folder = TempDir::new().unwrap();
    let data = many_cells(folder.path());
    let sum: f32 = data.matrix().2.iter().flatten().sum();
    let outcome = run("export", json!({"format": "h5ad"}), &[("data", &data.folder())]).done();
    for readers in [Readers::Current, Readers::OlderHdf5] {
        let found = needs::python(readers, "pandas, scanpy", SCANPY, &[&outcome.file("data.h5ad")]);
        if let Some(found) = found {
            let expected = format!("(257, 256) {sum:.1} int32 int32\n{sum:.1} (257, 5) 256");
            assert_eq!(found, expected, "{readers:?}");
        }
    }
}

/// HDF5 2.0 refuses a chunk whose sides take more bytes than the longest one needs.
#[test]
fn both_hdf5s_read_chunks_of_every_shape() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("chunks.h5");
    let mut draft = Hdf5Draft::new(&[]);
    let mut group = Group::new("arrays", &[]);
    for (name, shape) in [("long", [70_000, 1]), ("wide", [2, 70_000]), ("square", [300, 300])] {
        let values: Vec<f32> = (0..shape.iter().product::<u64>()).map(|value| value as f32).collect();
        group.floats(name, &values, &shape, &[]);
    }
    group.integers("narrow", &(0..70_000).collect::<Vec<_>>());
    group.long_integers("large", &(0..70_000).map(|value| value << 20).collect::<Vec<_>>());
    draft.add(group);
    draft.write(&path).unwrap();
    let program = "f = h5py.File(sys.argv[1])['arrays']\n\
                   for name in sorted(f):\n  a = f[name][:].ravel()\n  print(name, a.dtype, (a == numpy.arange(a.size) * (a[1] - a[0])).all(), a[1])";
    let expected = "large int64 True 1048576\nlong float32 True 1.0\nnarrow int32 True 1\n\
                    square float32 True 1.0\nwide float32 True 1.0";
    for readers in [Readers::Current, Readers::OlderHdf5] {
        if let Some(found) = needs::python(readers, "h5py, numpy", program, &[&path]) {
            assert_eq!(found, expected, "{readers:?}");
        }
    }
}

/// `fixtures/long_chunks.h5ad` was exported when a chunk had 65,536 values, which HDF5 2.0 cannot open.
#[test]
fn an_h5ad_with_the_chunks_of_before_is_still_read() {
    let read = run("dataset", json!({}), &[("data", &fixture("long_chunks.h5ad"))]).done();
    let (genes, cells, matrix) = read.matrix();
    assert_eq!((genes.len(), cells.len()), (256, 257));
    for row in matrix {
        assert!(row.iter().enumerate().all(|(gene, value)| *value == (gene % 5 + 1) as f32));
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
fn an_npz_that_numpy_compresses_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("arrays.npz");
    let program = "numpy.savez_compressed(sys.argv[1], a=numpy.arange(6.0).reshape(2, 3), b=numpy.zeros(100_000, 'f4'))";
    if python("numpy", program, &path).is_some() {
        let arrays = npy::read_all(&path).unwrap();
        assert_eq!(
            (&*arrays["a"].shape, arrays["a"].floats()),
            (&[2, 3][..], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        );
        assert_eq!(arrays["b"].floats(), vec![0.0; 100_000]);
    }
}

#[test]
fn a_csv_that_was_written_is_read_with_the_same_cells() {
    let data = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    let outcome = run("export", json!({"format": "csv"}), &[("data", &data.folder())]).done();
    let path = outcome.file("expression.csv");
    let again = run("dataset", json!({"orient": "genes_by_cells"}), &[("data", &path)]).done();
    assert_eq!(again.matrix(), data.matrix());
    let program = "a = pandas.read_csv(sys.argv[1], index_col=0)\n\
                   print(list(a.index), list(a.columns), a.values.T.astype(float).tolist())";
    if let Some(found) = python("pandas", program, &path) {
        let (genes, cells, matrix) = data.matrix();
        assert_eq!(found, format!("{genes:?} {cells:?} {matrix:?}").replace('"', "'"));
    }
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
            let Some(rows) = python(module, &program, &file) else { continue };
            let expected = data::table::Table::open(&file).unwrap().rows();
            assert_eq!(rows, expected.to_string(), "{module}: {}", file.display());
        }
    }
}

#[test]
fn safetensors_reads_the_model() {
    let data = run("simulate", json!({"network": "mCAD", "cells": 40}), &[]).done();
    let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
    let params = json!({
        "model": {"width": 8, "depth": 1, "heads": 1, "head_width": 8},
        "training": {"epochs": 1, "batch": 8},
    });
    let model = run("pretrain", params, &[("tokens", &tokens.folder())]).done();
    let outcome = run("export", json!({"format": "huggingface"}), &[("model", &model.folder())]).done();
    let path = outcome.file("model.safetensors");
    let written = weights::read(&path).unwrap();
    let lines = written.iter().map(|(name, array)| {
        let sum: f64 = array.values.iter().map(|value| f64::from(*value)).sum();
        format!("{name} {:?} {sum:.6}", array.shape)
    });
    let program = "with safetensors.safe_open(sys.argv[1], 'np') as f:\n\
                   \x20 print(f.metadata())\n\
                   \x20 for name in sorted(f.keys()):\n\
                   \x20   a = f.get_tensor(name); print(name, list(a.shape), f'{a.astype(float).sum():.6f}')";
    if let Some(found) = python("safetensors", program, &path) {
        let (metadata, found) = found.split_once('\n').unwrap();
        assert_eq!(metadata, "{'format': 'pt'}");
        assert_eq!(found.lines().collect::<Vec<_>>(), lines.collect::<Vec<_>>());
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
