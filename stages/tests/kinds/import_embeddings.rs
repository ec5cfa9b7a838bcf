//! Other people's vectors of genes: every layout gives the same vectors for the genes of the data, and nothing in them is
//! executed.

use crate::support::{Outcome, fixture, run, split};
use data::embeddings::{self, Embeddings};
use data::genes;
use data::pairs::Part;
use data::scores;
use learn::model::weights::{self, Array};
use serde_json::json;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// An artifact of data that has these genes; kinds that need no cells read nothing else of it.
fn data_of(names: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    genes::write(&folder.path().join(genes::FILE), names).unwrap();
    folder
}

fn import(weights: &Path, data: &TempDir, more: &[(&str, &Path)]) -> Outcome {
    let inputs = [&[("weights", weights), ("data", data.path())], more].concat();
    run("import-embeddings", json!({}), &inputs)
}

fn vectors(outcome: &Outcome) -> Embeddings {
    Embeddings::read(&outcome.file(embeddings::FILE)).unwrap()
}

/// What all layouts give for WT1, Sry and SOX9.
fn expected(names: &[&str]) -> Embeddings {
    let values = vec![3.0, -3.0, 0.5, 1.0, -1.0, 0.5, 0.0, 0.0, 0.5];
    Embeddings { names: names.iter().map(|name| (*name).to_owned()).collect(), dimensions: 3, values }
}

/// The same vectors as text, in the ways that people write them.
fn texts(folder: &Path) -> Vec<PathBuf> {
    let rows = [("SOX9", "0", "0"), ("SRY", "1", "-1"), ("DMRT1", "2", "-2"), ("WT1", "3", "-3")];
    let lines = |between: &str, after_name: &str| -> String {
        let line =
            |(gene, a, b): &(&str, &str, &str)| format!("{gene}{after_name}{a}{between}{b}{between}0.5\n");
        rows.iter().map(line).collect()
    };
    let files = [
        ("header.csv", format!("gene,v1,v2,v3\n{}", lines(",", ","))),
        ("bare.csv", lines(",", ",")),
        ("word2vec.txt", format!("4 3\n{}", lines(" ", " "))),
        ("gene2vec.txt", lines(" ", "\t")),
        ("header.tsv", format!("\tdim0\tdim1\tdim2\n{}", lines("\t", "\t"))),
    ];
    let write = |(name, text): (&str, String)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    files.into_iter().map(write).collect()
}

#[test]
fn every_layout_gives_the_same_vectors() {
    let data = data_of(&["WT1", "Sry", "SOX9", "GATA4"]);
    let folder = TempDir::new().unwrap();
    let of_scgpt = import(&fixture("scgpt"), &data, &[]).done();
    assert_eq!(vectors(&of_scgpt), expected(&["WT1", "Sry", "SOX9"]));
    assert_eq!(of_scgpt.warnings, ["3 of 4 genes of the data have a vector; not found: `GATA4`"]);
    for path in texts(folder.path()) {
        assert_eq!(vectors(&import(&path, &data, &[]).done()), vectors(&of_scgpt), "{}", path.display());
    }
    // scBERT's table has a last row for no gene.
    let values = (0..4).flat_map(|n| [n as f32, -(n as f32), 0.5]).chain([7.0; 3]).collect();
    let arrays = [("pos_emb.emb.weight".to_owned(), Array { shape: vec![5, 3], values })].into();
    let scbert = folder.path().join("scbert.safetensors");
    weights::write(&scbert, &arrays).unwrap();
    let list = folder.path().join("genes.txt");
    std::fs::write(&list, "SOX9\nSRY\nDMRT1\nWT1\n").unwrap();
    assert_eq!(vectors(&import(&scbert, &data, &[("vocabulary", &list)]).done()), vectors(&of_scgpt));
    std::fs::write(&list, "SOX9\nSRY\n").unwrap();
    let error = import(&scbert, &data, &[("vocabulary", &list)]).error();
    assert!(error.contains("has 5 rows, and ") && error.ends_with("names 2 genes"), "{error}");
    // What another stage of ours wrote.
    let again = import(&of_scgpt.folder(), &data, &[]).done();
    assert_eq!(vectors(&again), vectors(&of_scgpt));
    let parquet = import(&of_scgpt.file(embeddings::FILE), &data, &[]).done();
    assert_eq!(vectors(&parquet), vectors(&of_scgpt));
}

#[test]
fn ensembl_ids_are_matched_with_symbols_by_a_table_of_both() {
    let (geneformer, symbols) = (fixture("geneformer"), data_of(&["WT1", "Sry", "SOX9"]));
    let by_id = data_of(&["ENSG00000184937.7", "ENSG00000184895", "ENSG00000125398"]);
    let found = import(&geneformer, &by_id, &[]).done();
    assert_eq!(vectors(&found), expected(&["ENSG00000184937.7", "ENSG00000184895", "ENSG00000125398"]));
    assert!(found.warnings.is_empty());
    let error = import(&geneformer, &symbols, &[]).error();
    assert_eq!(
        error,
        "none of the 3 genes of the data has a vector: the data has names such as `WT1`, the vectors `ENSG00000125398`; \
         a table of symbols and Ensembl ids can be given in the input `names`"
    );
    let folder = TempDir::new().unwrap();
    let table = folder.path().join("names.tsv");
    std::fs::write(&table, "id\tsymbol\nENSG00000184937\tWT1\nENSG00000184895\tSRY\nENSG00000125398\tSOX9\n")
        .unwrap();
    for names in [&table, &geneformer.join("gene_name_id_dict.pkl")] {
        let found = import(&geneformer, &symbols, &[("names", names)]).done();
        assert_eq!(vectors(&found), expected(&["WT1", "Sry", "SOX9"]), "{}", names.display());
    }
    let tokens = geneformer.join("token_dictionary.pkl");
    let file = import(&geneformer.join("model.safetensors"), &by_id, &[("vocabulary", &tokens)]).done();
    assert_eq!(vectors(&file), vectors(&found));
}

#[test]
fn what_is_no_table_of_vectors_is_refused() {
    let data = data_of(&["SOX9"]);
    let folder = TempDir::new().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let said = |path: PathBuf, more: &[(&str, &Path)]| import(&path, &data, more).error();
    let evil = write("evil.pkl", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04echo\x85R.");
    let weights = fixture("geneformer/model.safetensors");
    let error = said(weights.clone(), &[("vocabulary", &evil)]);
    assert!(error.contains("it asks Python for `os.system`"), "{error}");
    assert!(said(weights, &[]).starts_with("weights do not say which genes they are of"));
    assert!(said(write("cells.h5ad", b""), &[]).starts_with("`.h5ad` is no file of gene vectors"));
    assert!(
        said(write("a.csv", b"gene,a\nSOX9,1\nSRY,1,2\n"), &[])
            .ends_with("line 3 has 2 numbers where others have 1")
    );
    assert!(
        said(write("b.csv", b"gene,a\nSOX9,high\n"), &[]).ends_with("line 2 should be a name and numbers")
    );
    assert!(said(write("c.csv", b"gene,a\nSOX9,NaN\n"), &[]).ends_with("a vector holds what is no number"));
    assert!(said(write("d.csv", b"gene,a\n"), &[]).ends_with("has no vectors"));
    assert!(said(folder.path().to_owned(), &[]).contains("has none of `best_model.pt`"));
    let short = write("vocab.json", br#"{"SOX9": 70}"#);
    let error = said(fixture("scgpt/best_model.pt"), &[("vocabulary", &short)]);
    assert!(error.ends_with("vocab.json has `SOX9` in row 70"), "{error}");
}

#[test]
fn like_vectors_score_high_and_permuted_ones_belong_to_other_genes() {
    let names: Vec<String> = (0..40).map(|gene| format!("G{gene}")).collect();
    let data = data_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    // Even genes point one way, odd ones the other.
    let vector = |gene: usize| [if gene.is_multiple_of(2) { 1.0 } else { -1.0 }, gene as f32 / 400.0];
    let given =
        Embeddings { names: names.clone(), dimensions: 2, values: (0..40).flat_map(vector).collect() };
    let folder = TempDir::new().unwrap();
    given.write(&folder.path().join(embeddings::FILE)).unwrap();
    let rows =
        [("G0", "G2", true, Part::Test), ("G0", "G3", false, Part::Test), ("G0", "G39", false, Part::Test)];
    let pairs = split(&rows);
    let score = |vectors: &Path| {
        let inputs = [("embeddings", vectors), ("data", data.path()), ("split", pairs.path())];
        let outcome = run("similarity", json!({}), &inputs).done();
        let read = scores::read(&outcome.file(scores::FILE)).unwrap();
        read.into_iter().map(|score| score.score).collect::<Vec<f64>>()
    };
    let found = score(folder.path());
    assert!(found[0] > 0.99 && found[1] < 0.01 && found[2] < 0.01, "{found:?}");
    let shuffle = |seed: u64| {
        let params = json!({"what": "vectors", "seed": seed});
        run("shuffle", params, &[("embeddings", folder.path())]).done()
    };
    let shuffled = vectors(&shuffle(1));
    assert_eq!(shuffled.names, names);
    assert_ne!(shuffled.values, given.values);
    assert_ne!(shuffled.values, vectors(&shuffle(2)).values);
    let sorted = |vectors: &Embeddings| {
        let mut rows: Vec<Vec<u32>> =
            vectors.values.chunks(2).map(|row| row.iter().map(|value| value.to_bits()).collect()).collect();
        rows.sort();
        rows
    };
    assert_eq!(sorted(&shuffled), sorted(&given));
    let error = run("shuffle", json!({}), &[("embeddings", folder.path())]).error();
    assert_eq!(error, "there is nothing to permute: it needs the input `data`");
}

#[test]
fn pairs_of_a_gene_without_a_vector_score_0() {
    let data = data_of(&["SOX9", "SRY", "GATA4"]);
    let imported = import(&fixture("scgpt"), &data, &[]).done();
    let pairs = split(&[("SOX9", "GATA4", true, Part::Test), ("SOX9", "SRY", false, Part::Test)]);
    let folder = imported.folder();
    let inputs = [("embeddings", folder.as_path()), ("data", data.path()), ("split", pairs.path())];
    let outcome = run("similarity", json!({"centre": false}), &inputs).done();
    assert_eq!(outcome.warnings, ["1 of 3 genes have no vector: their pairs score 0"]);
    let read = scores::read(&outcome.file(scores::FILE)).unwrap();
    assert_eq!(read[0].score, 0.0);
    // (0, 0, 0.5) and (1, -1, 0.5): cosine 1 / 3.
    assert!((read[1].score - 2.0 / 3.0).abs() < 1e-6);
}
