//! Metrics: the numbers are scikit-learn's and those of BEELINE's own code.

use data::metrics::{Metrics, Ranking, Scored};
use needs::shared;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The arrays of an `.npz` whose members are stored as they are: their bytes after the header.
fn members(npz: &[u8]) -> BTreeMap<String, &[u8]> {
    let number = |at: usize, bytes: usize| {
        npz[at..at + bytes].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let end = npz.windows(4).rposition(|four| four == b"PK\x05\x06").unwrap();
    let (count, mut entry) = (number(end + 10, 2), number(end + 16, 4));
    let mut found = BTreeMap::new();
    for _ in 0..count {
        assert_eq!(number(entry + 10, 2), 0, "a member is compressed");
        let [size, name_length, extra, comment, local] =
            [(20, 4), (28, 2), (30, 2), (32, 2), (42, 4)].map(|(at, bytes)| number(entry + at, bytes));
        let name = String::from_utf8(npz[entry + 46..][..name_length].to_vec()).unwrap();
        let array = &npz[local + 30 + number(local + 26, 2) + number(local + 28, 2)..][..size];
        let header = usize::from(array[8]) | usize::from(array[9]) << 8;
        found.insert(name.trim_end_matches(".npy").to_owned(), &array[10 + header..]);
        entry += 46 + name_length + extra + comment;
    }
    found
}

/// The largest difference seen, relative to 1 or the number itself.
#[derive(Default)]
struct Error(f64);

impl Error {
    fn compare(&mut self, found: f64, expected: &Value, what: &str) {
        let expected = expected.as_f64().unwrap();
        let error = (found - expected).abs() / expected.abs().max(1.0);
        self.0 = self.0.max(error);
        // Sums of up to 20,000 terms in another order.
        assert!(error < 1e-12, "{what}: {found}, not {expected}");
    }
}

#[test]
fn numbers_are_those_of_scikit_learn() {
    let Some(folder) = shared("goldens/metrics") else { return };
    let npz = std::fs::read(folder.join("cases.npz")).unwrap();
    let arrays = members(&npz);
    let mut error = Error::default();
    let mut cases = 0;
    for case in json(&folder.join("expected.json"))["cases"].as_array().unwrap() {
        let name = format!("case{:02}", case["case"].as_u64().unwrap());
        let scores =
            arrays[&format!("{name}_scores")].as_chunks::<8>().0.iter().copied().map(f64::from_le_bytes);
        let labels = arrays[&format!("{name}_labels")];
        let pairs: Vec<Scored> =
            scores.zip(labels).map(|(score, label)| Scored { score, edge: *label == 1, tf: 0 }).collect();
        assert_eq!(pairs.len() as u64, case["n"].as_u64().unwrap());
        let found = Ranking::new(pairs).metrics(|_| 1).unwrap();
        error.compare(found.auroc, &case["roc_auc"], &name);
        error.compare(found.average_precision, &case["average_precision"], &name);
        error.compare(found.auprc_trapezoid, &case["auc_pr_trapezoid"], &name);
        error.compare(found.average_precision_ratio, &case["aupr_over_prevalence"], &name);
        cases += 1;
    }
    println!("{cases} cases, largest error {:.1e}", error.0);
    assert!(cases >= 20);
}

type Edge = (String, String);

/// Pairs of a BEELINE file with their weights, without self loops, the largest weight of each.
fn edges(path: &Path) -> BTreeMap<Edge, f64> {
    let mut found: BTreeMap<Edge, f64> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        if fields[0] != fields[1] {
            let weight = fields.get(2).map_or(1.0, |weight| weight.parse::<f64>().unwrap().abs());
            let known = found.entry((fields[0].to_owned(), fields[1].to_owned())).or_default();
            *known = known.max(weight);
        }
    }
    found
}

#[test]
fn numbers_are_those_of_beeline() {
    let Some(folder) = shared("goldens/metrics") else { return };
    let mut error = Error::default();
    for case in json(&folder.join("beeline_expected.json")).as_array().unwrap() {
        let name = case["case"].as_str().unwrap();
        let truth = edges(&folder.join(format!("beeline_{name}_truth.csv")));
        let predicted = edges(&folder.join(format!("beeline_{name}_pred.csv")));
        let genes: BTreeSet<&String> = truth.keys().flat_map(|(tf, target)| [tf, target]).collect();
        let tfs: BTreeSet<&String> = truth.keys().map(|(tf, _)| tf).collect();
        let universe = |regulators: &BTreeSet<&String>| -> BTreeSet<Edge> {
            let of = |tf: &&String| {
                let tf = (*tf).clone();
                genes
                    .iter()
                    .filter(|gene| **gene != &tf)
                    .map(|gene| (tf.clone(), (*gene).clone()))
                    .collect::<Vec<_>>()
            };
            regulators.iter().flat_map(of).collect()
        };
        let scored = |pair: &Edge| Scored {
            score: predicted.get(pair).copied().unwrap_or(0.0),
            edge: truth.contains_key(pair),
            tf: 0,
        };
        let all = universe(&genes);
        let found: Metrics = Ranking::new(all.iter().map(scored).collect()).metrics(|_| 1).unwrap();
        error.compare(found.auroc, &case["auroc"], name);
        error.compare(found.auprc_trapezoid, &case["auprc"], name);

        let of_tfs = universe(&tfs);
        let within: HashMap<bool, Vec<Scored>> = [
            (false, predicted.keys().map(scored).collect()),
            (true, predicted.keys().filter(|pair| of_tfs.contains(*pair)).map(scored).collect()),
        ]
        .into();
        for (restricted, universe) in [(false, &all), (true, &of_tfs)] {
            let expected = &case[if restricted { "tf_edges_True" } else { "tf_edges_False" }];
            let early = Ranking::new(within[&restricted].clone()).early_precision(truth.len() as u64, |_| 1);
            let chance = truth.len() as f64 / universe.len() as f64;
            error.compare(early, &expected["early_precision"], name);
            error.compare(early / chance, &expected["EPR"], name);
        }
    }
    println!("largest error {:.1e}", error.0);
}
