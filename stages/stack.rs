//! `stack`: combines labels with what expression adds to them.

mod describe;
mod groups;

use crate::kit::candidates::Pair;
use crate::kit::labels::{self, Evidence, FOLDS, Folds, Labelled, Problem, Unseen};
use crate::kit::trees::Features;
use crate::kit::trees::outputs::Outputs;
use anyhow::{Result, bail};
use contract::bounds::{MOST, above_zero, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, always};
use data::cells;
use data::columns::Columns;
use data::embeddings::{self, Embeddings};
use data::genes;
use data::pairs;
use data::scores::{self, Score};
use learn::logistic::{Logistic, sigmoid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Stack>(
    "stack",
    "scores the pairs that are not for training by their labels and by what the targets' expression adds",
    Slots::Named(&[
        Slot { name: "data", about: "cells and genes, normalised", required: true, takes: cells::ARTIFACT },
        Slot { name: "split", about: "labelled pairs in parts", required: true, takes: pairs::ARTIFACT },
        Slot {
            name: "gene_embeddings",
            about: "vectors of genes, as further features",
            required: false,
            takes: embeddings::ARTIFACT,
        },
        Slot {
            name: "scores",
            about: "scores of another method, weighed on the pairs for validation",
            required: false,
            takes: scores::ARTIFACT,
        },
    ]),
    code!(),
)
.makes(&[always(scores::FILE)]);

/// Labels tell how often a TF regulates and a target is regulated; expression tells which targets resemble a TF's known
/// targets. A forest learns the latter for all TFs at once, never from the target that it predicts; a logistic
/// regression, fitted out of fold, weighs both. A gene without labels is scored by the remaining features.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Stack {
    /// The number of trees that learn from expression.
    trees: usize,
    /// The minimum number of genes in a leaf.
    leaf: usize,
    /// The share of the features tried at each node.
    share: f64,
    /// The random seed of the folds and the trees.
    seed: u64,
}

impl Default for Stack {
    fn default() -> Stack {
        Stack { trees: 300, leaf: 8, share: 0.3, seed: 0 }
    }
}

impl Stage for Stack {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("trees", self.trees, 1..=1_000_000)?;
        within("leaf", self.leaf, 1..=MOST)?;
        above_zero("share", self.share, 1.0)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let problem = Problem::read(&io.input("split")?.join(pairs::FILE))?;
        let (known, wanted) = (problem.known(), problem.wanted());
        let folds = Folds::draw(&problem, &known, self.seed);
        let mut log_odds = match self.expression(&problem, &known, &folds, io)? {
            Some(expression) => labels::stack(&problem, &wanted, &folds, |evidence, unseen, pair| {
                expression.of(evidence, unseen, pair)
            }),
            None => labels::stack(&problem, &wanted, &folds, |_, _, _| Vec::new()),
        };
        if let Some(other) = io.optional_input("scores") {
            weigh(&mut log_odds, &problem, &wanted, &other.join(scores::FILE))?;
        }
        let score = |(pair, log_odds): (&Labelled, f64)| Score {
            tf: problem.tfs[pair.tf].clone(),
            target: problem.targets[pair.target].clone(),
            score: sigmoid(log_odds),
        };
        scores::write(&io.out(scores::FILE), &wanted.iter().zip(log_odds).map(score).collect::<Vec<_>>())
    }
}

/// Features of pairs from expression. The correlation of TF and target is left out: combined with these features, it
/// lost its gain over chance.
struct Expression {
    /// The row of each target, if the data contains it.
    rows: Vec<Option<usize>>,
    /// By row, then TF: the predicted surplus of the label over the TF's rate, in standard deviations, learned from the
    /// labels of other genes.
    surplus: Vec<f64>,
    /// Whether each TF has labels.
    seen: Vec<bool>,
}

impl Expression {
    /// The number of features of a pair.
    const WIDTH: usize = 3;

    /// The prediction for this target from the TF's other targets, in standard deviations and as a shift of the log
    /// odds; and the prediction from other TFs that share the TF's targets.
    fn of(&self, evidence: &Evidence, unseen: Unseen, pair: &Labelled) -> Vec<f64> {
        let Some(target) = self.rows[pair.target] else { return vec![0.0; Expression::WIDTH] };
        let tfs = self.seen.len();
        let surplus = &self.surplus[target * tfs..][..tfs];
        let own = match unseen {
            Unseen::Neither | Unseen::Target => surplus[pair.tf],
            // For a TF without labels: the predictions of all other TFs.
            Unseen::Tf | Unseen::Both => {
                let others = || (0..tfs).filter(|tf| self.seen[*tf] && *tf != pair.tf);
                others().map(|tf| surplus[tf]).sum::<f64>() / others().count().max(1) as f64
            }
        };
        vec![own, own / evidence.deviation(pair.tf), evidence.by_neighbours(pair.tf, surplus)]
    }
}

impl Stack {
    /// `None`, with a message, if there are no cells.
    fn expression(
        &self,
        problem: &Problem,
        known: &[Labelled],
        folds: &Folds,
        io: &Io,
    ) -> Result<Option<Expression>> {
        let data = io.input("data")?;
        let path = data.join(cells::FILE);
        if !path.exists() {
            io.warn("the data has no cells: pairs are scored by labels alone");
            return Ok(None);
        }
        let names = genes::read(&data.join(genes::FILE))?;
        let asked: BTreeSet<&String> = problem.targets.iter().collect();
        let wanted: Vec<bool> = names.iter().map(|name| asked.contains(name)).collect();
        let mut columns = Columns::read(&path, &wanted, || Ok(io.check_stop()?))?;
        let mut kept = wanted.iter();
        columns.genes.retain(|_| *kept.next().expect("as many columns as genes"));
        let names: Vec<String> =
            names.into_iter().zip(&wanted).filter(|(_, wanted)| **wanted).map(|(name, _)| name).collect();
        if names.len() < asked.len() {
            let (lacking, all) = (asked.len() - names.len(), asked.len());
            io.warn(format!(
                "the data lacks {lacking} of {all} targets of the split: labels alone score them"
            ));
        }
        if names.is_empty() || columns.ids.len() < 2 {
            bail!(
                "the data has {} cells and {} targets of the split; it takes at least 2 cells and 1 target",
                columns.ids.len(),
                names.len()
            );
        }
        let groups = groups::of_cells(data, &columns.ids)?;
        io.note(format!("{} targets in {} groups of cells", names.len(), groups.count));
        let vectors =
            io.optional_input("gene_embeddings").map(|path| vectors(path, &names, io)).transpose()?;
        let features = describe::describe(&columns, &groups, vectors);
        io.check_stop()?;
        let places: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
        let rows: Vec<Option<usize>> =
            problem.targets.iter().map(|name| places.get(name.as_str()).copied()).collect();
        let mut seen = vec![false; problem.tfs.len()];
        known.iter().for_each(|pair| seen[pair.tf] = true);
        let targets = Targets { problem, known, folds, rows: &rows };
        let surplus = self.surplus(&features, &targets, io)?;
        Ok(Some(Expression { rows, surplus, seen }))
    }

    /// The surplus of each gene: with labels, predicted by the forest grown without its fold; otherwise by one grown on
    /// all genes with labels.
    fn surplus(&self, features: &Features, targets: &Targets, io: &Io) -> Result<Vec<f64>> {
        let (rows, tfs) = (features.samples(), targets.problem.tfs.len());
        let evidence = Evidence::of(targets.problem, targets.known);
        let labels = targets.beyond_rates(&evidence, rows);
        let folds = targets.folds_of_rows(rows);
        let forest = Outputs { trees: self.trees, leaf: self.leaf, share: self.share };
        let mut found = vec![0.0; rows * tfs];
        let left_out = (0..FOLDS).map(Some).chain([None]);
        for (grown, fold) in left_out.enumerate() {
            io.check_stop()?;
            let (mut asked, mut others) = (Vec::new(), Vec::new());
            for (row, of_row) in (0..rows as u32).zip(&folds) {
                if *of_row == fold {
                    asked.push(row)
                } else if of_row.is_some() {
                    others.push(row)
                }
            }
            if !asked.is_empty() && !others.is_empty() {
                let predicted = forest.predict(features, &others, &labels, tfs, self.seed + grown as u64);
                for row in asked {
                    let values = row as usize * tfs..(row as usize + 1) * tfs;
                    found[values.clone()].copy_from_slice(&predicted[values]);
                }
            }
            io.progress(grown as u64 + 1, FOLDS as u64 + 1);
        }
        let deviations: Vec<f64> = (0..tfs).map(|tf| evidence.deviation(tf)).collect();
        found.chunks_exact_mut(tfs).for_each(|row| {
            row.iter_mut().zip(&deviations).for_each(|(value, deviation)| *value /= deviation);
        });
        Ok(found)
    }
}

/// The targets with labels, as rows of the features.
struct Targets<'a> {
    problem: &'a Problem,
    known: &'a [Labelled],
    folds: &'a Folds,
    rows: &'a [Option<usize>],
}

impl Targets<'_> {
    /// By row, then TF: the label minus the TF's rate; 0 if unknown. Not in standard deviations: for TFs with few edges
    /// those are mostly noise, and a forest would learn that first.
    fn beyond_rates(&self, evidence: &Evidence, rows: usize) -> Vec<f64> {
        let tfs = self.problem.tfs.len();
        let mut beyond = vec![0.0; rows * tfs];
        for pair in self.known {
            if let Some(row) = self.rows[pair.target] {
                beyond[row * tfs + pair.tf] = f64::from(u8::from(pair.label)) - evidence.rate(pair.tf);
            }
        }
        beyond
    }

    /// The fold of each row that has labels.
    fn folds_of_rows(&self, rows: usize) -> Vec<Option<usize>> {
        let mut folds = vec![None; rows];
        for pair in self.known {
            if let Some(row) = self.rows[pair.target] {
                folds[row] = Some(self.folds.of_target(pair.target));
            }
        }
        folds
    }
}

/// The vectors of the genes; zeros for genes without one.
fn vectors(folder: &Path, names: &[String], io: &Io) -> Result<Embeddings> {
    let found = Embeddings::read(&folder.join(embeddings::FILE))?;
    let places: HashMap<&str, usize> = found.names.iter().map(String::as_str).zip(0..).collect();
    let mut values = vec![0.0; names.len() * found.dimensions];
    let mut lacking = 0;
    for (name, vector) in names.iter().zip(values.chunks_exact_mut(found.dimensions.max(1))) {
        match places.get(name.as_str()) {
            Some(place) => {
                vector.copy_from_slice(&found.values[place * found.dimensions..][..found.dimensions])
            }
            None => lacking += 1,
        }
    }
    if lacking > 0 {
        io.warn(format!("{lacking} of {} genes have no vector among the gene embeddings", names.len()));
    }
    Ok(Embeddings { names: names.to_vec(), dimensions: found.dimensions, values })
}

/// Combines another method's scores with ours. The weights are fitted on the validation pairs, because a method looks
/// better than it is on its own training pairs.
fn weigh(log_odds: &mut [f64], problem: &Problem, wanted: &[Labelled], path: &Path) -> Result<()> {
    let numbers = |names: &[String]| -> HashMap<String, usize> { names.iter().cloned().zip(0..).collect() };
    let (tfs, targets) = (numbers(&problem.tfs), numbers(&problem.targets));
    let mut others: HashMap<Pair, f64> = HashMap::new();
    for Score { tf, target, score } in scores::read(path)? {
        if let (Some(tf), Some(target)) = (tfs.get(&tf), targets.get(&target)) {
            others.insert((*tf as u32, *target as u32), score.abs());
        }
    }
    let row = |(pair, log_odds): (&Labelled, &f64)| {
        let other = others.get(&(pair.tf as u32, pair.target as u32)).copied().unwrap_or(0.0);
        [*log_odds, other]
    };
    let rows: Vec<[f64; 2]> = wanted.iter().zip(log_odds.iter()).map(row).collect();
    let judging = || wanted.iter().zip(&rows).filter(|(pair, _)| pair.part == pairs::Part::Validation);
    let labels: Vec<bool> = judging().map(|(pair, _)| pair.label).collect();
    if !(labels.contains(&true) && labels.contains(&false)) {
        bail!("the part `validation` lacks edges or other pairs; it takes both to weigh the input `scores`");
    }
    let model = Logistic::fit(&judging().flat_map(|(_, row)| *row).collect::<Vec<_>>(), 2, &labels);
    log_odds.iter_mut().zip(&rows).for_each(|(log_odds, row)| *log_odds = model.log_odds(row));
    Ok(())
}
