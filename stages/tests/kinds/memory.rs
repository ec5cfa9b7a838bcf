//! Cells are streamed: what a reader holds does not grow with the file.

use crate::support::run;
use data::hdf5_draft::{Group, Hdf5Draft};
use serde_json::json;
use std::path::Path;

const CELLS: usize = 200_000;
const PER_CELL: usize = 60;
const GENES: usize = 2_000;
/// The values alone are 96 MB, a cell's name and place another 100 bytes.
const MOST_MEMORY_KIB: u64 = 600_000;

fn write(path: &Path) {
    let encoding = |name| [("encoding-type", name), ("encoding-version", "0.1.0")];
    let names =
        |prefix: &str, count| (0..count).map(|index| format!("{prefix}{index}")).collect::<Vec<String>>();
    let mut draft = Hdf5Draft::new(&encoding("anndata"));
    let mut matrix = Group::new("X", &encoding("csr_matrix"));
    let values = CELLS * PER_CELL;
    let place = |value: usize| (value % PER_CELL * (GENES / PER_CELL) + value / PER_CELL % 33) as i32;
    matrix.sizes("shape", &[CELLS as i64, GENES as i64]);
    matrix.floats(
        "data",
        &(0..values).map(|value| (value % 5 + 1) as f32).collect::<Vec<_>>(),
        &[values as u64],
        &[],
    );
    matrix.integers("indices", &(0..values).map(place).collect::<Vec<_>>());
    matrix.long_integers("indptr", &(0..=CELLS).map(|cell| (cell * PER_CELL) as i64).collect::<Vec<_>>());
    draft.add(matrix);
    for (table, names) in [("obs", names("cell", CELLS)), ("var", names("gene", GENES))] {
        let mut group = Group::new(table, &encoding("dataframe"));
        group.text("_index", "_index");
        group.strings("_index", &names, &[]);
        draft.add(group);
    }
    draft.write(path).unwrap();
}

/// The most memory that the process has held since it was asked to forget (Linux only).
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

#[test]
fn two_hundred_thousand_cells_are_read_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.h5ad");
    write(&path);
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        return needs::left_out("the peak of the memory cannot be measured here");
    }
    run("dataset", json!({"values": "counts"}), &[("data", &path)]).done();
    let peak = peak_memory_kib().unwrap();
    println!("{CELLS} cells with {PER_CELL} values each: {peak} KiB");
    assert!(peak < MOST_MEMORY_KIB, "{peak} KiB");
}
