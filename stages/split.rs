//! `split`: divides TF–target pairs into training, validation and test.

mod matched;
mod published;

use anyhow::{Result, bail};
use contract::bounds::within;
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, always};
use data::genes;
use data::network::{self, Network};
use data::pairs::{self, Pair, Part};
use data::random::Random;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Split>(
    "split",
    "labelled pairs of TF and target, in parts for training, validation and test",
    Slots::Named(&[
        Slot {
            name: "data",
            about: "genes and a network",
            required: true,
            takes: Takes::OneOf(&[&[genes::FILE, network::FILE]]),
        },
        Slot {
            name: "published",
            about: "a folder of `Train_set.csv`, `Test_set.csv`, …",
            required: false,
            takes: Takes::OneOf(&[&["Train_set.csv", "Test_set.csv"]]),
        },
    ]),
    code!(),
)
.makes(&[always(pairs::FILE)]);

/// The first stream of the shuffles of each TF's pairs; the streams below it shuffle whole TFs or genes.
const PAIR_STREAM: u64 = 1 << 32;
/// GENELink's shares of training and validation pairs; the rest is for test.
const TRAIN: f64 = 0.67;
const VALIDATION: f64 = 0.10;

/// Divides labelled pairs into three parts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Split {
    /// How pairs are divided, i.e. what the parts may share.
    protocol: Protocol,
    /// Which pairs are negatives.
    negatives: Negatives,
    /// The number of folds, if pairs, TFs or genes are held out.
    folds: usize,
    /// The test fold; the next one is for validation.
    fold: usize,
    /// The random seed.
    seed: u64,
}

/// How pairs are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    /// As in the three files in the slot `published`.
    Published,
    /// Each TF's edges and non-edges are divided 67 : 10 : 23, so that every TF is in all parts.
    Genelink,
    /// Pairs are divided at random into folds, edges and other pairs in the same proportions.
    PairHeldOut,
    /// No TF is in two parts.
    TfHeldOut,
    /// No target is in two parts.
    GeneHeldOut,
}

/// Which pairs are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Negatives {
    /// All pairs of a TF that has edges and another gene, except the edges.
    All,
    /// As many as there are edges, with each TF and each target as often as in the edges: labels alone are then
    /// uninformative.
    DegreeMatched,
}

impl Default for Split {
    fn default() -> Split {
        Split { protocol: Protocol::Genelink, negatives: Negatives::All, folds: 5, fold: 0, seed: 0 }
    }
}

impl Stage for Split {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        within("folds", self.folds, 3..=1_000_000)?;
        if self.fold >= self.folds {
            let message = format!(
                "`fold` must be below `folds`, which is {}, not {} (folds count from 0)",
                self.folds, self.fold
            );
            return Err(Mistake::param("fold", message));
        }
        if self.protocol == Protocol::Published && !wires.has("published") {
            let message =
                "the protocol `published` needs the folder of the three files in the input `published`";
            return Err(Mistake::slot("published", message));
        }
        Ok(())
    }

    fn run(&self, io: &Io) -> Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let network = data.join(network::FILE);
        if !network.exists() {
            bail!("the data has no network to split; give `dataset` one in its input `network`");
        }
        let network = Network::read(&network)?;
        if network.is_empty() {
            bail!("the network has no edge between genes of the data");
        }
        let mut pairs = match self.protocol {
            Protocol::Published => published::read(io.input("published")?, &names, &network, io)?,
            Protocol::Genelink => self.per_tf(&names, &network),
            Protocol::PairHeldOut => self.pairs_held_out(&names, &network)?,
            Protocol::TfHeldOut => self.held_out(&names, &network, |pair| &pair.tf)?,
            Protocol::GeneHeldOut => self.held_out(&names, &network, |pair| &pair.target)?,
        };
        if self.negatives == Negatives::DegreeMatched {
            pairs = matched::matched(&pairs, &network, self.seed, io)?;
        }
        pairs.sort_unstable();
        self.check_parts(&pairs)?;
        report(&pairs, io);
        pairs::write(&io.out(pairs::FILE), &pairs)
    }
}

/// All pairs of a TF that has edges and another gene, ordered by TF name and gene index.
fn universe(names: &[String], network: &Network) -> Vec<Pair> {
    let edges: BTreeSet<(&str, &str)> = network.edges().map(|(tf, target, _)| (tf, target)).collect();
    let tfs: BTreeSet<&str> = edges.iter().map(|(tf, _)| *tf).collect();
    let mut pairs = Vec::with_capacity(tfs.len() * names.len());
    for tf in tfs {
        for target in names.iter().filter(|target| *target != tf) {
            let label = edges.contains(&(tf, target.as_str()));
            pairs.push(Pair { tf: tf.to_owned(), target: target.clone(), label, part: Part::Train });
        }
    }
    pairs
}

impl Split {
    fn per_tf(&self, names: &[String], network: &Network) -> Vec<Pair> {
        let mut pairs = universe(names, network);
        for (index, of_tf) in pairs.chunk_by_mut(|a, b| a.tf == b.tf).enumerate() {
            let mut random = Random::new(self.seed, PAIR_STREAM + index as u64);
            let (mut edges, mut others): (Vec<&mut Pair>, Vec<&mut Pair>) =
                of_tf.iter_mut().partition(|pair| pair.label);
            for group in [&mut edges, &mut others] {
                random.shuffle(group);
                let length = group.len() as f64;
                let (train, validation) =
                    ((length * TRAIN) as usize, (length * (TRAIN + VALIDATION)) as usize);
                for (place, pair) in group.iter_mut().enumerate() {
                    pair.part = match place {
                        place if place < train => Part::Train,
                        place if place < validation => Part::Validation,
                        _ => Part::Test,
                    };
                }
            }
        }
        pairs
    }

    /// Divides edges and other pairs into folds.
    fn pairs_held_out(&self, names: &[String], network: &Network) -> Result<Vec<Pair>> {
        let mut pairs = universe(names, network);
        let (mut edges, mut others): (Vec<&mut Pair>, Vec<&mut Pair>) =
            pairs.iter_mut().partition(|pair| pair.label);
        for (stream, group) in [(0, &mut edges), (1, &mut others)] {
            self.check_folds(group.len())?;
            Random::new(self.seed, stream).shuffle(group);
            group.iter_mut().enumerate().for_each(|(place, pair)| pair.part = self.part(place));
        }
        Ok(pairs)
    }

    /// Divides the TFs, or the targets, into folds.
    fn held_out(&self, names: &[String], network: &Network, side: fn(&Pair) -> &String) -> Result<Vec<Pair>> {
        let mut pairs = universe(names, network);
        let units: BTreeSet<String> = pairs.iter().map(|pair| side(pair).clone()).collect();
        self.check_folds(units.len())?;
        let mut units: Vec<String> = units.into_iter().collect();
        Random::new(self.seed, 0).shuffle(&mut units);
        let parts: BTreeMap<String, Part> =
            units.into_iter().enumerate().map(|(place, unit)| (unit, self.part(place))).collect();
        for pair in &mut pairs {
            pair.part = parts[side(pair)];
        }
        Ok(pairs)
    }

    fn check_folds(&self, units: usize) -> Result<()> {
        if units < self.folds {
            bail!("there are {units} of what is held out, fewer than the {} `folds`", self.folds);
        }
        Ok(())
    }

    /// The part of a unit, by its position in a shuffled sequence.
    fn part(&self, place: usize) -> Part {
        // The distance from the test fold: 0 is that fold, 1 the next one.
        match (place + self.folds - self.fold) % self.folds {
            0 => Part::Test,
            1 => Part::Validation,
            _ => Part::Train,
        }
    }

    /// Checks the guarantees of the protocol, whatever the source of the pairs. Prereq: the pairs are sorted.
    fn check_parts(&self, pairs: &[Pair]) -> Result<()> {
        if let Some(twice) =
            pairs.windows(2).find(|two| (&two[0].tf, &two[0].target) == (&two[1].tf, &two[1].target))
        {
            bail!("the pair of `{}` and `{}` is there twice", twice[0].tf, twice[0].target);
        }
        let side: fn(&Pair) -> &String = match self.protocol {
            Protocol::Published | Protocol::Genelink | Protocol::PairHeldOut => return Ok(()),
            Protocol::TfHeldOut => |pair| &pair.tf,
            Protocol::GeneHeldOut => |pair| &pair.target,
        };
        let mut parts: BTreeMap<&String, Part> = BTreeMap::new();
        for pair in pairs {
            if *parts.entry(side(pair)).or_insert(pair.part) != pair.part {
                bail!("`{}` is in two parts, which this protocol rules out", side(pair));
            }
        }
        Ok(())
    }
}

/// Reports how many pairs of each class a part has. Metrics need both classes.
fn report(pairs: &[Pair], io: &Io) {
    for part in Part::ALL {
        let count = |label| pairs.iter().filter(|pair| pair.part == part && pair.label == label).count();
        let (edges, others) = (count(true), count(false));
        io.note(format!("{}: {edges} edges, {others} other pairs", part.name()));
        if edges == 0 || others == 0 {
            io.warn(format!("{} has {edges} edges and {others} other pairs", part.name()));
        }
    }
}
