//! The published splits: `Train_set.csv`, `Validation_set.csv`, `Test_set.csv`, whose pairs are gene indices.

use anyhow::{Result, bail};
use contract::stage::Io;
use data::formats;
use data::network::Network;
use data::pairs::{Pair, Part};
use std::collections::BTreeSet;
use std::path::Path;

/// Reads the files. If the validation file was not published, validation is the complement of the other two.
pub fn read(folder: &Path, names: &[String], network: &Network, io: &Io) -> Result<Vec<Pair>> {
    let edges: BTreeSet<(&str, &str)> = network.edges().map(|(tf, target, _)| (tf, target)).collect();
    let mut pairs = Vec::new();
    let mut unlike = 0;
    for (part, file) in [
        (Part::Train, "Train_set.csv"),
        (Part::Validation, "Validation_set.csv"),
        (Part::Test, "Test_set.csv"),
    ] {
        let path = folder.join(file);
        if part == Part::Validation && !path.exists() {
            continue;
        }
        for (tf, target, label) in formats::read_index_pairs(&path, names.len())? {
            let (tf, target) = (&names[tf], &names[target]);
            unlike += usize::from(edges.contains(&(tf.as_str(), target.as_str())) != label);
            pairs.push(Pair { tf: tf.clone(), target: target.clone(), label, part });
        }
    }
    if unlike * 100 > pairs.len() {
        bail!(
            "{}: {unlike} of {} labels are not those of the network; the split belongs to another set of genes",
            folder.display(),
            pairs.len()
        );
    }
    if unlike > 0 {
        io.warn(format!("{unlike} of {} published labels are not those of the network", pairs.len()));
    }
    if !folder.join("Validation_set.csv").exists() {
        let complement = complement(&pairs, names, &edges);
        io.note(format!("no validation pairs were published: {} are left by the others", complement.len()));
        pairs.extend(complement);
    }
    Ok(pairs)
}

/// Every pair of a TF in the files and another gene that is in neither file.
fn complement(pairs: &[Pair], names: &[String], edges: &BTreeSet<(&str, &str)>) -> Vec<Pair> {
    let known: BTreeSet<(&str, &str)> =
        pairs.iter().map(|pair| (pair.tf.as_str(), pair.target.as_str())).collect();
    let tfs: BTreeSet<&str> = known.iter().map(|(tf, _)| *tf).collect();
    let mut left = Vec::new();
    for tf in tfs {
        for target in
            names.iter().map(String::as_str).filter(|target| *target != tf && !known.contains(&(tf, target)))
        {
            let label = edges.contains(&(tf, target));
            left.push(Pair { tf: tf.to_owned(), target: target.to_owned(), label, part: Part::Validation });
        }
    }
    left
}
