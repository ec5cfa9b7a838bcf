//! Types of cells: read from everywhere they are kept, and predicted.

use crate::support::{Outcome, fixture, run};
use data::random::Random;
use data::table::Table;
use data::types;
use needs::{Readers, shared};
use serde_json::{Value, json};
use std::path::Path;

fn read(file: &Path, column: &str, more: &[(&str, &Path)]) -> Outcome {
    let inputs = [&[("data", file)], more].concat();
    run("dataset", json!({"types": {"column": column}}), &inputs)
}

fn types_of(outcome: &Outcome) -> Vec<(String, String)> {
    types::read(&outcome.file(types::FILE)).unwrap()
}

fn owned(types: &[(&str, &str)]) -> Vec<(String, String)> {
    types.iter().map(|(cell, of)| ((*cell).to_owned(), (*of).to_owned())).collect()
}

#[test]
fn a_column_of_cells_is_read_from_every_layout() {
    for (file, column, expected) in [
        ("typed.h5ad", "kind", &[("c1", "B"), ("c3", "T")][..]),
        ("typed.h5ad", "nullable", &[("c1", "B"), ("c3", "T")]),
        ("typed.h5ad", "cluster", &[("c1", "0"), ("c2", "0"), ("c3", "1")]),
        ("typed.h5ad", "tissue", &[("c1", "blood"), ("c2", "blood"), ("c3", "skin")]),
        ("typed_0_7.h5ad", "kind", &[("c1", "B"), ("c3", "T")]),
        ("typed_legacy.h5ad", "kind", &[("c1", "B"), ("c3", "T")]),
        ("typed_legacy.h5ad", "cluster", &[("c1", "0"), ("c2", "0"), ("c3", "1")]),
        ("typed_legacy.h5ad", "tissue", &[("c1", "blood"), ("c2", "blood"), ("c3", "skin")]),
        ("typed.loom", "kind", &[("c1", "B"), ("c3", "T")]),
    ] {
        let found = types_of(&read(&fixture(file), column, &[]).done());
        assert_eq!(found, owned(expected), "{file}: {column}");
    }
}

#[test]
fn a_column_that_holds_no_types_is_named_with_those_that_are_there() {
    for (file, column, expected) in [
        (
            "typed.h5ad",
            "celltype",
            "`obs/celltype` is not there, only `cluster`, `kind`, `nullable`, `quality`, `tissue`",
        ),
        ("typed.h5ad", "quality", "typed.h5ad: `obs/quality` should hold text and holds f64"),
        (
            "typed_legacy.h5ad",
            "celltype",
            "has no member `celltype`, only `index`, `kind`, `cluster`, `tissue`, `quality`",
        ),
        ("typed_legacy.h5ad", "quality", "the member `quality` holds neither text nor whole numbers"),
        ("typed.loom", "celltype", "`col_attrs/celltype` is not there, only `CellID`, `kind`"),
        (
            "10x",
            "kind",
            "has no columns of cells, as h5ad and loom have; give a table of cells in the input `types`",
        ),
    ] {
        let error = read(&fixture(file), column, &[]).error();
        assert!(error.contains(expected), "{file}: {error}");
    }
}

#[test]
fn a_table_beside_the_data_has_the_types() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("cells.csv");
    let with = |text: &str, column: &str| {
        std::fs::write(&table, text).unwrap();
        read(&fixture("10x"), column, &[("types", &table)])
    };
    let found = with("cell,n,kind\nc1,3,B\nc2,4,\nc3,5,T\nother,5,T\n", "kind").done();
    assert_eq!(types_of(&found), owned(&[("c1", "B"), ("c3", "T")]));
    assert_eq!(found.warnings, ["left out 1 of 3 types of cells that the data lacks"]);
    // R leaves the header of the row names out, and pandas leaves it empty.
    for text in ["kind\nc1\tB\nc2\tNA\nc3\tT\n".replace('\t', ","), ",kind\nc1,B\nc2,NA\nc3,T\n".to_owned()] {
        let found = with(&text, "kind");
        assert_eq!(types_of(&found.done()), owned(&[("c1", "B"), ("c3", "T")]), "{text}");
    }
    let error = with("cell,kind\nx1,B\n", "kind").error();
    assert_eq!(error, "none of the 1 cells that have a type, such as `x1`, is in the data");
    let error = with("cell,kind\nc1,B\nc1,T\n", "kind").error();
    assert!(error.ends_with("the cell `c1` is there twice"), "{error}");
    assert!(with("cell,kind\nc1,\n", "kind").error().ends_with("no cell has a type"));
    assert!(with("cell,kind\nc1,B\n", "sort").error().ends_with("has no column `sort`, only `cell`, `kind`"));
    let unnamed = run("dataset", json!({}), &[("data", &fixture("10x")), ("types", &table)]).error();
    assert_eq!(unnamed, "name the column that holds the types: `types: {column: …}`");
}

#[test]
fn a_logarithm_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("logs.csv");
    for (base, of) in [("natural", f64::ln_1p as fn(f64) -> f64), ("base2", |x| (1.0 + x).log2())] {
        std::fs::write(&file, format!(",A,B\nc1,{},0\nc2,0,{}\n", of(3.0), of(40.0))).unwrap();
        let params = json!({"orient": "cells_by_genes", "undo_log1p": base});
        let (_, _, rows) = run("dataset", params, &[("data", &file)]).done().matrix();
        let expected = [3.0, 0.0, 0.0, 40.0];
        for (found, expected) in rows.iter().flatten().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{base}: {rows:?}");
        }
    }
}

fn small() -> Value {
    json!({
        "model": {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "features": 12},
        "training": {"epochs": 1, "batch": 8},
    })
}

/// Cells of three types, each with ten genes that it expresses more than others do; their tokens; a model of them.
fn pretrained() -> [Outcome; 3] {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(3, 0);
    let genes: String = (0..30).map(|gene| format!(",g{gene}")).collect();
    let (mut counts, mut types) = (format!("cell{genes}\n"), "cell,of\n".to_owned());
    for cell in 0..200 {
        let of = random.below(3);
        let value = |gene: usize| {
            let mean = if gene / 10 == of { 5.0 } else { 3.0 };
            format!(",{}", (mean * (0.9 * random.normal()).exp()).round())
        };
        counts.push_str(&format!("k{cell}{}\n", (0..30).map(value).collect::<String>()));
        types.push_str(&format!("k{cell},t{of}\n"));
    }
    let [data, table] = ["counts.csv", "types.csv"].map(|name| folder.path().join(name));
    std::fs::write(&data, counts).unwrap();
    std::fs::write(&table, types).unwrap();
    let params = json!({"orient": "cells_by_genes", "types": {"column": "of"}});
    let data = run("dataset", params, &[("data", &data), ("types", &table)]).done();
    let tokens = run("tokenise", json!({"min_genes": 1, "bins": 12}), &[("data", &data.folder())]).done();
    let model = run("pretrain", small(), &[("tokens", &tokens.folder())]).done();
    [data, tokens, model]
}

fn finetune(params: &Value, [_, tokens, model]: &[Outcome; 3], types: &Path) -> Outcome {
    let inputs = [("model", model.folder()), ("tokens", tokens.folder()), ("types", types.to_owned())];
    run("finetune", params.clone(), &inputs.each_ref().map(|(slot, path)| (*slot, path.as_path())))
}

fn metric(outcome: &Outcome, name: &str) -> [f64; 3] {
    let table = Table::open(&outcome.file("metrics.parquet")).unwrap();
    let names = table.strings("metric").unwrap();
    let row = (0..table.rows()).find(|row| names.value(*row) == name).unwrap_or_else(|| panic!("no {name}"));
    ["value", "low", "high"].map(|column| table.floats(column).unwrap().value(row))
}

#[test]
fn a_table_of_types_is_as_good_as_an_artifact_and_the_rest_is_predicted() {
    let all = pretrained();
    let known = types_of(&all[0]);
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("types.csv");
    let half = &known[..150];
    let rows: String = half.iter().map(|(cell, of)| format!("{cell},{of}\n")).collect();
    std::fs::write(&table, format!("barcode,celltype\n{rows}")).unwrap();
    let params = json!({"task": "types", "training": {"epochs": 1, "batch": 8}, "held_out": 0.2});
    let tuned = finetune(&params, &all, &table).done();
    let predictions = Table::open(&tuned.file("predictions.parquet")).unwrap();
    assert_eq!(predictions.rows(), 200);
    let (cells, of, said) = (
        predictions.texts("cell").unwrap(),
        predictions.texts("type").unwrap(),
        predictions.texts("predicted").unwrap(),
    );
    let (parts, probability) =
        (predictions.texts("part").unwrap(), predictions.floats("probability").unwrap());
    for row in 0..200 {
        let typed = half.iter().find(|(cell, _)| Some(cell) == cells[row].as_ref()).map(|(_, of)| of);
        assert_eq!(of[row].as_ref(), typed);
        assert_eq!(parts[row].as_deref() == Some("unlabelled"), typed.is_none());
        assert!(said[row].is_some() && (1.0 / 3.0..=1.0).contains(&probability.value(row)));
    }
    // The cells without a type are told by what was learned from the others.
    let right = |row: &usize| {
        known.iter().any(|(cell, of)| cells[*row].as_ref() == Some(cell) && said[*row].as_ref() == Some(of))
    };
    let unlabelled = || (0..200).filter(|row| of[*row].is_none());
    assert!(unlabelled().filter(right).count() * 2 > unlabelled().count());
    let parquet = folder.path().join("types.parquet");
    types::write(&parquet, half).unwrap();
    let again = finetune(&params, &all, &parquet).done();
    assert_eq!(
        std::fs::read(again.file("predictions.parquet")).unwrap(),
        std::fs::read(tuned.file("predictions.parquet")).unwrap()
    );
    std::fs::write(&table, "cell,type\nx1,a\nx2,b\n").unwrap();
    let error = finetune(&params, &all, &table).error();
    assert!(
        error.contains("types.csv: has a type for none of the cells: it names cells such as `x1`"),
        "{error}"
    );
    let error = finetune(&params, &all, &folder.path().join("types.h5ad")).error();
    assert!(error.contains("opening") || error.contains("is no table of cells"), "{error}");
}

#[test]
fn predictions_are_exported_as_columns_of_an_h5ad() {
    let all = pretrained();
    let folder = tempfile::tempdir().unwrap();
    let half = &types_of(&all[0])[..150];
    let table = folder.path().join("types.parquet");
    types::write(&table, half).unwrap();
    let params = json!({"task": "types", "training": {"epochs": 0}, "held_out": 0.1});
    let tuned = finetune(&params, &all, &table).done();
    let inputs = [("data", all[0].folder()), ("predictions", tuned.folder())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let exported = run("export", json!({"format": "h5ad"}), &inputs).done();
    let file = exported.file("data.h5ad");
    assert_eq!(types_of(&read(&file, "type", &[]).done()), half);
    let predictions = Table::open(&tuned.file("predictions.parquet")).unwrap();
    let columns = ["cell", "predicted"].map(|name| predictions.texts(name).unwrap());
    let [cells, predicted] = columns.map(|column| column.into_iter().map(Option::unwrap));
    let expected: Vec<(String, String)> = cells.zip(predicted).collect();
    assert_eq!(types_of(&read(&file, "predicted_type", &[]).done()), expected);
    let program = "a = anndata.read_h5ad(sys.argv[1]).obs\n\
                   print(list(a), a['type'].isna().sum(), a['predicted_type'].cat.ordered,\n\
                   sorted(a['predicted_type'].cat.categories), a['predicted_type_probability'].min() > 0.3)";
    for readers in [Readers::Current, Readers::OlderHdf5] {
        if let Some(found) = needs::python(readers, "anndata", program, &[&file]) {
            assert_eq!(
                found,
                "['type', 'predicted_type', 'predicted_type_probability'] 50 False ['t0', 't1', 't2'] True",
                "{readers:?}"
            );
        }
    }
    let other = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    let inputs = [("data", other.folder()), ("predictions", tuned.folder())];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let error = run("export", json!({"format": "h5ad"}), &inputs).error();
    assert!(error.ends_with("predicts none of the 3 cells of the data"), "{error}");
}

#[test]
fn the_metrics_have_yardsticks_intervals_and_a_confusion_matrix() {
    let all = pretrained();
    let params = json!({"task": "types", "training": {"epochs": 0}, "held_out": 0.2});
    let tuned = finetune(&params, &all, &all[0].folder()).done();
    // Without training a head says what the regression says that it starts from.
    let [model, low, high] = metric(&tuned, "accuracy");
    assert_eq!(model, metric(&tuned, "accuracy_logistic_regression")[0]);
    assert_eq!(metric(&tuned, "accuracy_above_logistic_regression"), [0.0; 3]);
    assert!(low < model && model < high && model > metric(&tuned, "accuracy_most_frequent_type")[0] + 0.1);
    let confusion = Table::open(&tuned.file("confusion.parquet")).unwrap();
    let (of, said, cells) = (
        confusion.strings("type").unwrap(),
        confusion.strings("predicted").unwrap(),
        confusion.integers("cells").unwrap(),
    );
    let right: i64 =
        (0..9).filter(|row| of.value(*row) == said.value(*row)).map(|row| cells.value(row)).sum();
    let total: i64 = (0..9).map(|row| cells.value(row)).sum();
    assert_eq!((confusion.rows(), total), (9, 40));
    assert!((right as f64 / 40.0 - model).abs() < 1e-12);
    let per_type = Table::open(&tuned.file("per-type.parquet")).unwrap();
    let (cells, recall) = (per_type.integers("cells").unwrap(), per_type.floats("recall").unwrap());
    let found: f64 = (0..3).map(|row| cells.value(row) as f64 * recall.value(row)).sum();
    assert!((found - right as f64).abs() < 1e-9);
    // Without the regression, an untrained head tells nothing.
    let mut without = params;
    without["shortcut"] = json!(false);
    let untrained = finetune(&without, &all, &all[0].folder()).done();
    assert!(metric(&untrained, "accuracy")[0] < model - 0.1);
    assert!(
        untrained.warnings[0].contains("no better than the most frequent type")
            || untrained.warnings[0].contains("a logistic regression of the same tokens"),
        "{:?}",
        untrained.warnings
    );
}

#[test]
fn types_of_real_cells_are_read_from_a_legacy_file() {
    let Some(file) = shared("data/formats/10x_pbmc68k_reduced.h5ad") else { return };
    let params = json!({"matrix": "raw", "undo_log1p": "natural", "types": {"column": "bulk_labels"}});
    let outcome = run("dataset", params, &[("data", &file)]).done();
    let types = types_of(&outcome);
    let dendritic = types.iter().filter(|(_, of)| of == "Dendritic").count();
    assert_eq!((types.len(), dendritic), (700, 240));
    // The smallest value of a cell stands for one molecule: all others are its multiples. The file has three decimals.
    let (_, _, rows) = outcome.matrix();
    let row = &rows[0];
    let least = row.iter().copied().filter(|value| *value > 0.0).fold(f32::INFINITY, f32::min);
    let few = row.iter().map(|value| value / least).filter(|count| *count < 10.0);
    assert!(
        few.clone().count() > 700 && few.map(|count| (count - count.round()).abs()).all(|off| off < 0.02)
    );
}
