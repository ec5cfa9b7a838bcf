//! `evaluate`: measures how well scores find the edges in one part of a split.

mod report;

use anyhow::{Result, bail};
use contract::bounds::within;
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, always};
use data::metrics::summary::{self, Row};
use data::metrics::{Metrics, Ranking, Scored, table};
use data::pairs::{self, Pair};
use data::scores;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Evaluate>(
    "evaluate",
    "measures scores against labelled pairs: all together and per TF, with intervals and curves",
    Slots::Named(&[
        Slot { name: "scores", about: "scored pairs", required: true, takes: scores::ARTIFACT },
        Slot { name: "split", about: "labelled pairs in parts", required: true, takes: pairs::ARTIFACT },
    ]),
    code!(),
)
.makes(&[always(table::FILE), always(report::PER_TF), always(report::CURVES)])
.judges(&[&Metrics::NAMES, &summary::MEANS]);

/// Evaluates scores on the labelled pairs of one part.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Evaluate {
    /// The part to evaluate on.
    part: Part,
    /// Bootstrap replicates over TFs for the 95 % intervals; 0 omits the intervals.
    replicates: usize,
    /// The random seed of the bootstrap.
    seed: u64,
}

/// The parts to evaluate on. Training pairs are excluded, because models were fitted to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Part {
    /// For model selection.
    Validation,
    /// For the final result; look at it only once.
    Test,
}

impl Part {
    fn of_pairs(self) -> pairs::Part {
        match self {
            Part::Validation => pairs::Part::Validation,
            Part::Test => pairs::Part::Test,
        }
    }
}

impl Default for Evaluate {
    fn default() -> Evaluate {
        Evaluate { part: Part::Test, replicates: 1000, seed: 0 }
    }
}

/// Scores by TF, then by target.
type Scores = HashMap<String, HashMap<String, f64>>;

impl Stage for Evaluate {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("replicates", self.replicates, 0..=1_000_000)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let scores = read_scores(&io.input("scores")?.join(scores::FILE))?;
        let mut pairs = pairs::read(&io.input("split")?.join(pairs::FILE))?;
        pairs.retain(|pair| pair.part == self.part.of_pairs());
        let name = self.part.of_pairs().name();
        let edges = pairs.iter().filter(|pair| pair.label).count();
        let others = pairs.len() - edges;
        if edges == 0 || others == 0 {
            bail!(
                "the part `{name}` has {edges} edges and {others} other pairs; it takes both to judge scores"
            );
        }
        let found: Vec<Option<f64>> =
            pairs.iter().map(|pair| scores.get(&pair.tf)?.get(&pair.target).copied()).collect();
        tell(&pairs, &found, name, io);
        let (tfs, ranking) = rank(&pairs, &found);
        let of_tfs = summary::per_tf(&ranking, tfs.len());
        if of_tfs.iter().all(Option::is_none) {
            io.warn(format!(
                "no TF of the part `{name}` has edges and other pairs, so there are no means over TFs"
            ));
        }
        let rows = summary::summarise(&ranking, &of_tfs, self.replicates, self.seed);
        note(&rows, edges as f64 / pairs.len() as f64, io);
        table::write(&io.out(table::FILE), &rows)?;
        report::per_tf(&io.out(report::PER_TF), &tfs, &ranking, &of_tfs)?;
        report::curves(&io.out(report::CURVES), &ranking)
    }
}

/// The absolute value of each score: the sign distinguishes activation from repression, and both are edges. If a pair
/// occurs twice, the larger score counts, as in BEELINE.
fn read_scores(path: &Path) -> Result<Scores> {
    let mut found = Scores::new();
    for score in scores::read(path)? {
        let size = score.score.abs();
        let of_tf = found.entry(score.tf).or_default();
        of_tf.entry(score.target).and_modify(|known| *known = known.max(size)).or_insert(size);
    }
    Ok(found)
}

/// Warns about anything that makes the metrics less meaningful than they look.
fn tell(pairs: &[Pair], found: &[Option<f64>], part: &str, io: &Io) {
    let missing = || pairs.iter().zip(found).filter(|(_, score)| score.is_none());
    let count = missing().count();
    if count > 0 {
        let edges = missing().filter(|(pair, _)| pair.label).count();
        io.warn(format!(
            "{count} of {} pairs of the part `{part}`, {edges} edges among them, have no score and count as 0",
            pairs.len()
        ));
    }
    let mut scores = found.iter().map(|score| score.unwrap_or(0.0));
    if let Some(first) = scores.next()
        && scores.all(|score| score == first)
    {
        io.warn(format!("every pair of the part `{part}` has the score {first}: such scores tell nothing"));
    }
}

/// The names of the TFs, and the pairs in descending order of score.
fn rank(pairs: &[Pair], found: &[Option<f64>]) -> (Vec<String>, Ranking) {
    let mut numbers: BTreeMap<&str, u32> = pairs.iter().map(|pair| (pair.tf.as_str(), 0)).collect();
    numbers.values_mut().zip(0..).for_each(|(number, next)| *number = next);
    let scored = |(pair, score): (&Pair, &Option<f64>)| Scored {
        score: score.unwrap_or(0.0),
        edge: pair.label,
        tf: numbers[pair.tf.as_str()],
    };
    let ranking = Ranking::new(pairs.iter().zip(found).map(scored).collect());
    (numbers.into_keys().map(str::to_owned).collect(), ranking)
}

fn note(rows: &[Row], chance: f64, io: &Io) {
    let value = |name| {
        let row = rows.iter().find(|row| row.metric == name);
        row.and_then(|row| row.value).map_or_else(|| "none".to_owned(), |value| format!("{value:.3}"))
    };
    io.note(format!(
        "AUROC {}, per TF {}; average precision {} (chance {chance:.3}); early precision {} times chance",
        value("auroc"),
        value("auroc_per_tf"),
        value("average_precision"),
        value("early_precision_ratio"),
    ));
}
