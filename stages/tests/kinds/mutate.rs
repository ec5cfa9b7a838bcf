//! No input, however damaged, makes a reader panic or fill the memory.
//!
//! Each mutation is drawn from its number, so that a failure can be run again. `PIPELINE_MUTATIONS`
//! sets how many are made of each file; without it, as many as a test run has time for. The memory is
//! that of the whole process: `--test-threads=1` tells which reader took it.

use crate::support::{fixture, run};
use data::random::Random;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

const MUTATIONS: u64 = 60;
/// The fixtures are small: a reader that holds more has believed a damaged size.
const MOST_MEMORY_KIB: u64 = 1 << 20;
const NUMBERS: [&[u8]; 8] = [
    &[0],
    &[0xff; 4],
    &[0xff; 8],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0, 0, 0, 0, 0x10],
    b"\n",
    b"-1e39,",
];

/// Damages a file in one to three places.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.bits() as u8,
            2 => bytes.truncate(at),
            3 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                let end = (at + number.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
            4 => drop(bytes.splice(at..at, NUMBERS[random.below(NUMBERS.len())].iter().copied())),
            _ => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
        }
    }
}

fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Damages a fixture, or one file of it if it is a folder, again and again.
fn survives(name: &str, file: Option<&str>, params: &Value) {
    survives_from(&fixture(name), name, file, params);
}

/// As above, of what lies at `source`.
fn survives_from(source: &Path, name: &str, file: Option<&str>, params: &Value) {
    let mutations =
        std::env::var("PIPELINE_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTATIONS);
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join(name);
    if file.is_some() {
        copy_folder(source, &input);
    }
    let target = file.map_or_else(|| input.clone(), |file| input.join(file));
    let whole = std::fs::read(file.map_or_else(|| source.to_owned(), |file| source.join(file))).unwrap();
    for number in 0..mutations {
        let mut bytes = whole.clone();
        mutate(&mut bytes, &mut Random::new(number, 0));
        std::fs::write(&target, &bytes).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| run("dataset", params.clone(), &[("data", &input)])));
        let outcome = outcome.unwrap_or_else(|_| panic!("{name}: mutation {number} makes the reader panic"));
        if let Err(error) = outcome.result {
            let text = format!("{error:#}");
            assert!(!text.is_empty() && text.len() < 2000, "{name}: mutation {number}: {text}");
        }
        let peak = peak_memory_kib().unwrap_or(0);
        assert!(peak < MOST_MEMORY_KIB, "{name}: mutation {number}: {peak} KiB were held at one time");
    }
}

#[test]
fn damaged_h5ad_is_survived() {
    for name in ["csr_gzip.h5ad", "csc_lzf.h5ad", "dense_raw_layer.h5ad", "nullable.h5ad"] {
        survives(name, None, &json!({"format": "h5ad"}));
    }
    survives("legacy.h5ad", None, &json!({"format": "h5ad", "matrix": "raw"}));
}

#[test]
fn damaged_10x_is_survived() {
    for name in ["10x_v3.h5", "10x_v2.h5"] {
        survives(name, None, &json!({"format": "10x_h5"}));
    }
    for file in ["matrix.mtx", "features.tsv", "barcodes.tsv"] {
        survives("10x", Some(file), &json!({}));
    }
}

#[test]
fn damaged_loom_is_survived() {
    survives("small.loom", None, &json!({"format": "loom"}));
}

#[test]
fn damaged_text_is_survived() {
    survives("genes_by_cells.csv", None, &json!({"format": "text", "orient": "genes_by_cells"}));
    survives("bom_crlf.tsv", None, &json!({"format": "text", "orient": "cells_by_genes"}));
    for file in ["ExpressionData.csv", "PseudoTime.csv", "refNetwork.csv"] {
        survives("beeline", Some(file), &json!({}));
    }
    for file in ["Target.csv", "BL--network.csv"] {
        survives("genelink", Some(file), &json!({}));
    }
}

#[test]
fn damaged_parquet_is_survived() {
    survives("cells_by_genes.parquet", None, &json!({"format": "parquet", "orient": "cells_by_genes"}));
    let artifact = run("dataset", json!({}), &[("data", &fixture("csr_gzip.h5ad"))]).done();
    for file in ["cells.parquet", "genes.parquet"] {
        survives_from(&artifact.folder(), "artifact", Some(file), &json!({"format": "parquet"}));
    }
}
