//! `tokenise`: the tokens are scBERT's, byte for byte.

use crate::support::{Outcome, fixture, run};
use arrow::array::AsArray;
use arrow::datatypes::{UInt8Type, UInt32Type};
use data::cells::{self, CellWriter};
use data::genes;
use data::table::Batches;
use needs::shared;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Tokens by cell, with the positions of their genes.
fn tokens(outcome: &Outcome) -> BTreeMap<String, (Vec<u32>, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for batch in Batches::open(&outcome.file("tokens.parquet")).unwrap() {
        let batch = batch.unwrap();
        let [ids, genes, tokens] = [0, 1, 2].map(|column| batch.column(column).clone());
        for row in 0..batch.num_rows() {
            let genes = genes.as_list::<i32>().value(row).as_primitive::<UInt32Type>().values().to_vec();
            let tokens = tokens.as_list::<i32>().value(row).as_primitive::<UInt8Type>().values().to_vec();
            found.insert(ids.as_string::<i32>().value(row).to_owned(), (genes, tokens));
        }
    }
    found
}

/// The body of a `.npy` file whose shape the test knows.
fn npy(bytes: &[u8]) -> &[u8] {
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    &bytes[10 + length..]
}

/// A file in an archive that is stored, not packed; such an archive holds each file behind its name.
fn stored<'a>(archive: &'a [u8], name: &str) -> &'a [u8] {
    let mut at = 0;
    while archive[at..].starts_with(b"PK\x03\x04") {
        let number = |offset: usize, bytes: usize| {
            archive[at + offset..at + offset + bytes]
                .iter()
                .rev()
                .fold(0usize, |number, byte| number << 8 | *byte as usize)
        };
        let (name_length, extra_length) = (number(26, 2), number(28, 2));
        let start = at + 30 + name_length + extra_length;
        // Large archives keep the size in the extra field.
        let size =
            if number(18, 4) == 0xffff_ffff { number(30 + name_length + 12, 8) } else { number(18, 4) };
        if &archive[at + 30..at + 30 + name_length] == format!("{name}.npy").as_bytes() {
            return npy(&archive[start..start + size]);
        }
        at = start + size;
    }
    panic!("no {name} in the archive");
}

#[test]
fn tokens_of_published_counts_are_the_golden_ones() {
    let Some(golden) = shared("goldens/tokenisation") else { return };
    let Some(counts) = shared("data/pretrain/pbmc_ctrl.h5ad") else { return };
    let data = run("dataset", json!({"values": "counts"}), &[("data", &counts)]).done();
    let inputs = [("data", data.folder()), ("vocabulary", golden.join("gene_order.txt"))];
    let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
    let outcome = run("tokenise", json!({}), &inputs).done();
    let found = tokens(&outcome);
    let info: Value = serde_json::from_slice(&std::fs::read(golden.join("info.json")).unwrap()).unwrap();
    let kept = info["kept_cells"].as_array().unwrap();
    let bytes = std::fs::read(golden.join("tokens.npy")).unwrap();
    let rows: Vec<&[u8]> = npy(&bytes).chunks_exact(16_906).collect();
    assert_eq!((rows.len(), kept.len(), found.len()), (48, 48, 998));
    for (cell, row) in kept.iter().zip(rows) {
        let (genes, tokens) = &found[cell.as_str().unwrap()];
        assert_eq!(&tokens[..16_906], row, "{cell}");
        assert_eq!((tokens[16_906], genes[16_906]), (0, 16_906));
    }
    let dropped: Vec<&Value> =
        info["input_cells"].as_array().unwrap().iter().filter(|cell| !kept.contains(cell)).collect();
    assert!(dropped.len() == 2 && dropped.iter().all(|cell| !found.contains_key(cell.as_str().unwrap())));
}

#[test]
fn tokens_at_the_edges_are_the_golden_ones() {
    let Some(golden) = shared("goldens/tokenisation") else { return };
    let vocabulary = std::fs::read_to_string(golden.join("gene_order.txt")).unwrap();
    let vocabulary: Vec<&str> = vocabulary.lines().collect();
    let archive = std::fs::read(golden.join("edge_raw_counts_csr.npz")).unwrap();
    let data: Vec<f32> =
        stored(&archive, "data").as_chunks().0.iter().copied().map(f32::from_le_bytes).collect();
    let indices: Vec<u32> =
        stored(&archive, "indices").as_chunks().0.iter().copied().map(u32::from_le_bytes).collect();
    let indptr: Vec<u64> =
        stored(&archive, "indptr").as_chunks().0.iter().copied().map(u64::from_le_bytes).collect();
    let folder = tempfile::tempdir().unwrap();
    genes::write(&folder.path().join(genes::FILE), &vocabulary).unwrap();
    let mut writer = CellWriter::create(&folder.path().join(cells::FILE)).unwrap();
    for (cell, ends) in indptr.windows(2).enumerate() {
        let range = ends[0] as usize..ends[1] as usize;
        writer.push(&format!("{cell:02}"), &indices[range.clone()], &data[range]).unwrap();
    }
    writer.finish().unwrap();
    let found = tokens(&run("tokenise", json!({}), &[("data", folder.path())]).done());
    let bytes = std::fs::read(golden.join("edge_tokens.npy")).unwrap();
    let rows: Vec<&[u8]> = npy(&bytes).chunks_exact(16_906).collect();
    assert_eq!(found.len(), rows.len());
    for ((cell, (_, tokens)), row) in found.iter().zip(rows) {
        assert_eq!(&tokens[..16_906], row, "{cell}");
    }
}

fn small(params: Value, vocabulary: Option<&Path>) -> Outcome {
    let data = run("dataset", json!({}), &[("data", &fixture("10x"))]).done();
    let mut inputs = vec![("data", data.folder())];
    inputs.extend(vocabulary.map(|path| ("vocabulary", path.to_owned())));
    let inputs: Vec<(&str, &Path)> = inputs.iter().map(|(slot, path)| (*slot, path.as_path())).collect();
    run("tokenise", params, &inputs)
}

#[test]
fn zeros_are_kept_or_dropped_and_the_trailing_token_stays() {
    let kept = tokens(&small(json!({"min_genes": 0}), None).done());
    assert_eq!(kept["c2"], (vec![0, 1, 2, 3, 4], vec![0, 5, 0, 0, 0]));
    let dropped = tokens(&small(json!({"min_genes": 0, "zeros": "drop"}), None).done());
    assert_eq!(dropped["c2"], (vec![1, 4], vec![5, 0]));
}

#[test]
fn the_numbers_of_a_model_are_beside_the_tokens() {
    let outcome = small(json!({"min_genes": 1, "bins": 7}), None).done();
    let about: Value = serde_json::from_slice(&std::fs::read(outcome.file("tokens.json")).unwrap()).unwrap();
    assert_eq!(
        about,
        json!({"bins": 7, "mask": 8, "classes": 9, "genes": 4, "trailing": 4, "zeros": "keep"})
    );
}

#[test]
fn a_vocabulary_of_another_species_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("genes.txt");
    std::fs::write(&list, "X\nY\n").unwrap();
    let error = small(json!({}), Some(&list)).error();
    assert_eq!(error, "none of 4 genes is in the vocabulary of 2; are they of the same species?");
    let few = small(json!({}), None).error();
    assert_eq!(few, "none of 3 cells has 200 genes of the vocabulary: see `min_genes`");
}
