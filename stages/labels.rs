//! `labels`: baselines that score pairs without any expression data.

use crate::kit::labels::{self, Evidence, Folds, Labelled, Problem};
use anyhow::Result;
use contract::code;
use contract::stage::{Io, Kind, Slot, Slots, Stage, always};
use data::pairs;
use data::scores::{self, Score};
use learn::logistic::sigmoid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Labels>(
    "labels",
    "scores the pairs that are not for training by the labels of those that are, and by nothing else",
    Slots::Named(&[Slot {
        name: "split",
        about: "labelled pairs in parts",
        required: true,
        takes: pairs::ARTIFACT,
    }]),
    code!(),
)
.makes(&[always(scores::FILE)]);

/// Scores pairs by labels alone. The value of a method that uses expression is what it adds to this baseline.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Labels {
    /// Which label statistics are used.
    method: Method,
    /// The random seed of the folds of training pairs, for `filter`.
    seed: u64,
}

/// Which label statistics are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// The share of edges among the TF's pairs.
    TfRate,
    /// The same, and how many more edges the target has than expected from its TFs.
    Rates,
    /// Whether the reverse pair is an edge.
    Reverse,
    /// Both rates, the reverse pair, and the targets of TFs with similar targets, weighted by a logistic regression
    /// that is fitted out of fold.
    Filter,
}

impl Default for Labels {
    fn default() -> Labels {
        Labels { method: Method::Filter, seed: 0 }
    }
}

impl Stage for Labels {
    fn run(&self, io: &Io) -> Result<()> {
        let problem = Problem::read(&io.input("split")?.join(pairs::FILE))?;
        let (known, wanted) = (problem.known(), problem.wanted());
        let found: Vec<f64> = if self.method == Method::Filter {
            let folds = Folds::draw(&problem, &known, self.seed);
            let log_odds = labels::stack(&problem, &wanted, &folds, |_, _, _| Vec::new());
            log_odds.into_iter().map(sigmoid).collect()
        } else {
            let evidence = Evidence::of(&problem, &known);
            wanted.iter().map(|pair| self.score(&evidence, pair)).collect()
        };
        let score = |(pair, score): (&Labelled, f64)| Score {
            tf: problem.tfs[pair.tf].clone(),
            target: problem.targets[pair.target].clone(),
            score,
        };
        scores::write(&io.out(scores::FILE), &wanted.iter().zip(found).map(score).collect::<Vec<_>>())
    }
}

impl Labels {
    fn score(&self, evidence: &Evidence, pair: &Labelled) -> f64 {
        match self.method {
            Method::TfRate => evidence.rate(pair.tf),
            Method::Reverse => f64::from(u8::from(evidence.has_reverse(pair.tf, pair.target))),
            Method::Rates | Method::Filter => {
                let [rate, ratio, ..] = evidence.describe(pair.tf, pair.target);
                sigmoid(rate + ratio)
            }
        }
    }
}
