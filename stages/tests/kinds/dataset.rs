//! `dataset`: every dialect gives the same cells, and what is broken is told in one sentence.

use crate::support::{Outcome, fixture, run};
use data::network::{self, Network};
use data::pseudotime;
use needs::shared;
use serde_json::{Value, json};
use std::path::Path;

fn dataset(path: &str, params: Value) -> Outcome {
    run("dataset", params, &[("data", &fixture(path))])
}

#[test]
fn every_dialect_gives_the_same_cells() {
    for (path, params) in [
        ("csr_gzip.h5ad", json!({})),
        ("csc_lzf.h5ad", json!({})),
        ("dense_raw_layer.h5ad", json!({"matrix": "raw"})),
        ("dense_raw_layer.h5ad", json!({"matrix": "counts"})),
        ("nullable.h5ad", json!({})),
        ("legacy.h5ad", json!({"matrix": "raw"})),
        ("10x_v3.h5", json!({})),
        ("10x_v2.h5", json!({})),
        ("10x", json!({})),
        ("10x_by_gene", json!({})),
        ("small.loom", json!({})),
        ("beeline", json!({})),
        ("genelink", json!({})),
        ("genes_by_cells.csv", json!({"orient": "genes_by_cells"})),
        ("bom_crlf.tsv", json!({"orient": "cells_by_genes"})),
        ("from_r.csv", json!({"orient": "genes_by_cells"})),
        ("cells_by_genes.parquet", json!({"orient": "cells_by_genes"})),
    ] {
        let outcome = dataset(path, params).done();
        let (genes, cells, matrix) = outcome.matrix();
        assert_eq!(genes, ["A", "B", "C", "D"], "{path}");
        assert_eq!(cells, ["c1", "c2", "c3"], "{path}");
        assert_eq!(matrix, [[1.0, 0.0, 0.0, 2.0], [0.0, 3.0, 0.0, 0.0], [4.0, 0.0, 5.0, 6.0]], "{path}");
    }
}

#[test]
fn a_loom_that_loompy_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.loom");
    let program = "matrix = numpy.array([[1, 0, 4], [0, 3, 0], [0, 0, 5], [2, 0, 6]])\n\
                   rows, columns = numpy.array(['A', 'B', 'C', 'D']), numpy.array(['c1', 'c2', 'c3'])\n\
                   loompy.create(sys.argv[1], matrix, {'Gene': rows}, {'CellID': columns})";
    if needs::python(needs::Readers::Current, "numpy, loompy", program, &[&path]).is_some() {
        let outcome = run("dataset", json!({}), &[("data", &path)]).done();
        assert_eq!(outcome.matrix(), dataset("small.loom", json!({})).done().matrix());
    }
}

#[test]
fn an_artifact_can_be_read_again() {
    let first = dataset("csr_gzip.h5ad", json!({})).done();
    let second = run("dataset", json!({}), &[("data", &first.folder())]).done();
    assert_eq!(
        std::fs::read(first.file("cells.parquet")).unwrap(),
        std::fs::read(second.file("cells.parquet")).unwrap()
    );
}

#[test]
fn other_matrices_and_names_are_taken_where_asked() {
    let scaled = dataset("dense_raw_layer.h5ad", json!({})).done();
    assert_eq!(scaled.matrix().2[0], [-1.0, -2.0, -2.0, 0.0]);
    assert_eq!(
        scaled.warnings,
        ["7 values are negative: this is scaled data; counts may be in another `matrix`, such as `raw`"]
    );
    assert_eq!(dataset("10x", json!({"names": "id"})).done().matrix().0[0], "ENSG00000000000");
    assert_eq!(
        dataset("10x_v3.h5", json!({})).done().warnings,
        ["left out 1 of 5 features that are no genes"]
    );
}

#[test]
fn what_lies_beside_the_cells_is_kept() {
    let outcome = dataset("beeline", json!({})).done();
    let network = Network::read(&outcome.file(network::FILE)).unwrap();
    assert_eq!(network.edges().collect::<Vec<_>>(), [("A", "B", 1), ("B", "C", -1)]);
    let moments = pseudotime::read(&outcome.file(pseudotime::FILE)).unwrap();
    let moments: Vec<(&str, &str, f64)> = moments
        .iter()
        .map(|moment| (moment.cell.as_str(), moment.lineage.as_str(), moment.pseudotime))
        .collect();
    assert_eq!(moments, [("c1", "PseudoTime1", 0.5), ("c2", "PseudoTime1", 1.0), ("c2", "PseudoTime2", 2.0)]);
    assert_eq!(
        outcome.warnings,
        [
            "left out 1 edges that are there twice or lead from a gene to itself",
            "left out 2 of 5 pseudotimes of cells that the data lacks",
        ]
    );
}

#[test]
fn names_are_brought_to_those_of_the_network() {
    let params = json!({"orient": "genes_by_cells"});
    let inputs = [fixture("spreadsheet.csv"), fixture("network.csv")];
    let outcome = run("dataset", params.clone(), &[("data", &inputs[0]), ("network", &inputs[1])]).done();
    assert_eq!(outcome.matrix().0, ["SEP15", "SRY", "SOX9", "DMRT1"]);
    assert_eq!(
        outcome.warnings,
        [
            "3 of the 3 genes of the network are in the data; 1 apart from upper and lower case (`Sox9` is `SOX9`); \
             1 after a spreadsheet made a date of the name (`15-Sep` is `SEP15`)",
            "left out 2 edges that are there twice or lead from a gene to itself",
        ]
    );
    let alone = run("dataset", params, &[("data", &inputs[0])]).done();
    assert_eq!(
        alone.warnings,
        ["1 names of genes look like dates that a spreadsheet made of them, such as `15-Sep`"]
    );
}

#[test]
fn too_few_known_genes_are_refused() {
    let inputs = [fixture("genes_by_cells.csv"), fixture("network.csv")];
    let outcome =
        run("dataset", json!({"orient": "genes_by_cells"}), &[("data", &inputs[0]), ("network", &inputs[1])]);
    assert_eq!(
        outcome.error(),
        "0 of the 3 genes of the network are in the data; not found: 3 (`SEP15`, `SOX9`, `SRY`); \
         at least 50 % must be there (`least_matched`)"
    );
}

/// Each broken file with the end of the sentence that it is told in; every sentence begins with the file.
const BROKEN: [(&str, &str); 33] = [
    ("10x_cut_off", "matrix.mtx: line 4 is the last: 2 entries of 6; the file may have been cut off"),
    ("10x_header", "matrix.mtx: line 1 should be `%%MatrixMarket matrix coordinate integer general`"),
    ("10x_index_out_of_range", "matrix.mtx: line 3 is about gene 5 and cell 1 of 4 genes and 3 cells"),
    ("10x_sizes", "matrix.mtx: line 2 announces 3 × 3, and there are 4 features and 3 barcodes"),
    ("10x_zero_index", "matrix.mtx: line 3 holds the index 0, and Matrix Market counts from 1"),
    ("all_zero.csv", "all_zero.csv: all values are zero"),
    (
        "cells_as_genes.csv",
        "cells_as_genes.csv: the genes have names of cells (`AAACCTGAGAAACC-1`); the matrix lies the other way round, \
         see `orient`",
    ),
    (
        "delimiter.csv",
        "delimiter.csv: line 1 has one column only; columns are separated by comma, tab or semicolon",
    ),
    ("duplicate_cell.csv", "duplicate_cell.csv: the cell `c1` is there twice"),
    ("duplicate_cell.h5ad", "duplicate_cell.h5ad: the cell `c1` is there twice"),
    (
        "duplicate_gene.csv",
        "duplicate_gene.csv: the gene `A` is there twice; of 10x files, `names: id` takes names that are unique",
    ),
    ("empty.csv", "empty.csv: is empty"),
    (
        "folder",
        "folder: is no folder of expression data; one holds `ExpressionData.csv` (BEELINE), `BL--network.csv` \
         (GENELink), `matrix.mtx` (10x) or `cells.parquet`",
    ),
    (
        "fraction.csv",
        "fraction.csv: cell `c2`, gene `A`: the count is 2.5, which is no whole number; these may be normalised values",
    ),
    ("genelink_index", "Target.csv: the gene at index 1 is not that of the expression's row"),
    (
        "genes_as_cells.csv",
        "genes_as_cells.csv: the cells have names of genes; the matrix lies the other way round, see `orient`",
    ),
    ("header_only.csv", "header_only.csv: has no genes"),
    (
        "index_out_of_range.h5ad",
        "index_out_of_range.h5ad: `X/indices` holds the index 9 in cell `c1`, and there are 4 genes",
    ),
    ("indptr.h5ad", "indptr.h5ad: `X/indptr` does not rise from 0 to the 6 values that there are"),
    ("latin1.csv", "latin1.csv: line 2 is not UTF-8 text"),
    ("missing_names.h5ad", "missing_names.h5ad: `obs/_index` lacks some names"),
    ("nan.csv", "nan.csv: line 2: column `c2` holds `nan`, which is no number"),
    ("nan.h5ad", "nan.h5ad: cell `c2`, gene `B`: the value is NaN, which is no number"),
    ("negative.csv", "negative.csv: cell `c2`, gene `A`: the count is -2, which is negative"),
    ("negative.h5ad", "negative.h5ad: cell `c2`, gene `B`: the count is -3, which is negative"),
    ("no_number.csv", "no_number.csv: line 2: column `c2` holds `x`, which is no number"),
    ("quote.csv", "quote.csv: line 2 has a quote that is never closed"),
    ("ragged.csv", "ragged.csv: line 3 has 2 fields where the header has 3"),
    ("truncated.h5ad", ""),
    ("unnamed_cell.csv", "unnamed_cell.csv: cell 2 has no name"),
    ("unnamed_gene.csv", "unnamed_gene.csv: gene 1 has no name"),
    ("utf16.csv", "utf16.csv: is UTF-16 text; save it as UTF-8"),
    (
        "zstd.h5ad",
        "zstd.h5ad: is compressed with zstd (HDF5 filter 32015), which cannot be read here; convert it with \
         `python -c \"import hdf5plugin, anndata; anndata.read_h5ad('in.h5ad').write_h5ad('out.h5ad', \
         compression='gzip')\"`",
    ),
];

#[test]
fn what_is_broken_is_told_in_one_sentence_with_its_place() {
    let mut wrong = Vec::new();
    for (name, expected) in BROKEN {
        let path = fixture(&format!("broken/{name}"));
        let mut params = json!({"values": "counts"});
        if name.ends_with(".csv") {
            params["orient"] = json!("genes_by_cells");
        }
        let outcome = run("dataset", params, &[("data", &path)]);
        let error = outcome.result.map_or_else(|error| format!("{error:#}"), |()| "was read".to_owned());
        let placed = error.contains(name) && !error.contains('\n');
        if !(placed && error.ends_with(expected)) {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_orientation_of_a_text_matrix_must_be_given() {
    let error = dataset("genes_by_cells.csv", json!({})).error();
    let expected =
        "does not say what its rows are; give `orient: genes_by_cells` or `orient: cells_by_genes`";
    assert!(error.ends_with(expected), "{error}");
}

/// Cells, genes, values that are not zero, edges.
fn counts(outcome: &Outcome) -> (usize, usize, usize, usize) {
    let (genes, cells, matrix) = outcome.matrix();
    let values = matrix.iter().flatten().filter(|value| **value != 0.0).count();
    let network = outcome.file(network::FILE);
    let edges = if network.exists() { Network::read(&network).unwrap().len() } else { 0 };
    (cells.len(), genes.len(), values, edges)
}

#[test]
fn every_published_file_loads() {
    for (path, matrix, expected) in [
        ("pretrain/pbmc_ctrl.h5ad", "X", (1000, 9015, 558_407, 0)),
        ("pretrain/pbmc_stim.h5ad", "X", (1000, 9015, 571_399, 0)),
        ("pretrain/oligodendroglioma184.h5ad", "X", (184, 10_338, 771_850, 0)),
        ("pretrain/yan2013_embryo90.h5ad", "X", (90, 20_214, 990_543, 0)),
        ("formats/10x", "X", (700, 765, 174_400, 0)),
        ("formats/10x/filtered_feature_bc_matrix.h5", "X", (700, 765, 174_400, 0)),
        ("formats/pbmc_modern_gzip.h5ad", "X", (700, 765, 174_400, 0)),
        ("formats/10x_pbmc68k_reduced.h5ad", "raw", (700, 765, 174_400, 0)),
        ("formats/tiny.loom", "X", (700, 765, 174_400, 0)),
        ("beeline/curated/GSD", "X", (2000, 19, 38_000, 76)),
        ("beeline/curated/HSC", "X", (2000, 11, 22_000, 26)),
        ("beeline/curated/VSC", "X", (2000, 8, 16_000, 15)),
        ("beeline/curated/mCAD", "X", (2000, 5, 10_000, 13)),
        ("beeline/human/hESC", "X", (758, 49, 0, 0)),
        ("beeline/mouse/mES-PE", "X", (456, 47, 0, 0)),
        ("beeline/mouse/mES-retinoic", "X", (1886, 12, 0, 0)),
        ("genelink/Specific Dataset/mDC/TFs+500", "X", (383, 821, 0, 756)),
    ] {
        let Some(found) = shared(&format!("data/{path}")) else { return };
        let outcome = run("dataset", json!({"matrix": matrix}), &[("data", &found)]).done();
        let (cells, genes, values, edges) = counts(&outcome);
        println!(
            "{path}: {cells} cells, {genes} genes, {values} values, {edges} edges; {:?}",
            outcome.warnings
        );
        assert_eq!((cells, genes), (expected.0, expected.1), "{path}");
        assert!(expected.2 == 0 || values == expected.2, "{path}: {values}");
        assert!(expected.3 == 0 || edges == expected.3, "{path}: {edges}");
    }
}

#[test]
fn published_labels_load_without_expression() {
    let Some(folder) = shared("data/genelink/Specific Dataset") else { return };
    for cell_type in std::fs::read_dir(folder).unwrap() {
        for set in std::fs::read_dir(cell_type.unwrap().path()).unwrap() {
            let path = set.unwrap().path();
            let outcome = run("dataset", json!({}), &[("data", &path)]).done();
            assert_labels(&outcome, &path);
        }
    }
}

fn assert_labels(outcome: &Outcome, path: &Path) {
    let lines = std::fs::read_to_string(path.join("Label.csv")).unwrap().lines().count() - 1;
    let network = Network::read(&outcome.file(network::FILE)).unwrap();
    // Label.csv holds a few edges of a gene to itself.
    assert!(
        network.len() <= lines && network.len() * 100 > lines * 99,
        "{}: {}",
        path.display(),
        network.len()
    );
    assert_eq!(outcome.file("cells.parquet").exists(), path.join("BL--ExpressionData.csv").exists());
}
