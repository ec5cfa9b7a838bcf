//! What the labels of some pairs predict about other pairs, without any expression data.
//!
//! Features from labels alone find many edges, so a method that uses expression must be compared with them. They are
//! worthless if a pair's own label contributed. Their weights are therefore fitted out of fold: the training pairs are
//! divided in the same way as the pairs to be scored are divided from them, and each is described only by the labels of
//! the others.

use anyhow::{Result, bail};
use data::pairs::{self, Part};
use data::random::Random;
use learn::linear;
use learn::logistic::{Logistic, logit};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Folds of the training pairs.
pub const FOLDS: usize = 5;
/// Pseudo-observations for a TF or a target: this many labels are assumed to follow the overall rate.
const PRIOR: f64 = 2.0;
/// The number of features of a pair.
pub const EVIDENCE: usize = 4;
/// The ridge penalty on a TF as a neighbour, in shared targets.
const RIDGE: f64 = 20.0;

/// A labelled pair, by the indices of its genes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Labelled {
    /// The index among the TFs.
    pub tf: usize,
    /// The index among the targets.
    pub target: usize,
    /// Whether it is an edge.
    pub label: bool,
    /// The part that it belongs to.
    pub part: Part,
}

/// The pairs of a split.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Names by index, sorted.
    pub tfs: Vec<String>,
    /// Names by index, sorted.
    pub targets: Vec<String>,
    /// In the order of the split, which is sorted by name.
    pub pairs: Vec<Labelled>,
    target_of_tf: Vec<Option<usize>>,
    tf_of_target: Vec<Option<usize>>,
}

impl Problem {
    /// Reads a split. It must have edges and other pairs to learn from, and pairs to score.
    pub fn read(path: &Path) -> Result<Problem> {
        let problem = Problem::new(pairs::read(path)?);
        let count = |label| {
            problem.pairs.iter().filter(|pair| pair.part == Part::Train && pair.label == label).count()
        };
        let (edges, others) = (count(true), count(false));
        if edges == 0 || others == 0 {
            bail!(
                "the part `train` has {edges} edges and {others} other pairs; it takes both to learn from labels"
            );
        }
        if problem.pairs.iter().all(|pair| pair.part == Part::Train) {
            bail!("{}: all pairs are for training, and none is left to score", path.display());
        }
        Ok(problem)
    }

    /// Replaces the genes of pairs by indices.
    pub fn new(found: Vec<pairs::Pair>) -> Problem {
        let names = |of: fn(&pairs::Pair) -> &String| -> Vec<String> {
            found.iter().map(of).collect::<BTreeSet<_>>().into_iter().cloned().collect()
        };
        let (tfs, targets) = (names(|pair| &pair.tf), names(|pair| &pair.target));
        let numbers =
            |names: &[String]| -> HashMap<String, usize> { names.iter().cloned().zip(0..).collect() };
        let (of_tfs, of_targets) = (numbers(&tfs), numbers(&targets));
        let pairs: Vec<Labelled> = found
            .into_iter()
            .map(|pairs::Pair { tf, target, label, part }| Labelled {
                tf: of_tfs[&tf],
                target: of_targets[&target],
                label,
                part,
            })
            .collect();
        let target_of_tf = tfs.iter().map(|name| of_targets.get(name).copied()).collect();
        let tf_of_target = targets.iter().map(|name| of_tfs.get(name).copied()).collect();
        Problem { tfs, targets, pairs, target_of_tf, tf_of_target }
    }

    /// The pairs that models are fitted to.
    pub fn known(&self) -> Vec<Labelled> {
        self.pairs.iter().filter(|pair| pair.part == Part::Train).copied().collect()
    }

    /// The pairs that are to be scored, in order.
    pub fn wanted(&self) -> Vec<Labelled> {
        self.pairs.iter().filter(|pair| pair.part != Part::Train).copied().collect()
    }
}

/// Statistics of some labelled pairs.
pub struct Evidence<'a> {
    problem: &'a Problem,
    /// The rate of edges of each TF, shrunk towards the overall rate.
    rates: Vec<f64>,
    /// For each target, its number of edges and the number expected from the rates of its TFs.
    found: Vec<(f64, f64)>,
    /// By target, then TF: the label minus the TF's rate, divided by its standard deviation; 0 if unknown.
    beyond: Vec<f64>,
    /// By TF, then TF: the weight of the other TF's surplus at a target in the prediction for the first.
    neighbours: Vec<f64>,
    known: HashMap<(usize, usize), bool>,
}

impl<'a> Evidence<'a> {
    /// Learns from labels. Prereq: there is at least one.
    pub fn of(problem: &'a Problem, labels: &[Labelled]) -> Evidence<'a> {
        let (tfs, targets) = (problem.tfs.len(), problem.targets.len());
        let overall = labels.iter().filter(|pair| pair.label).count() as f64 / labels.len().max(1) as f64;
        // Keeps the log odds finite if all labels are equal.
        let overall = overall.clamp(1e-6, 1.0 - 1e-6);
        let mut counts = vec![(0.0, 0.0); tfs];
        for pair in labels {
            counts[pair.tf].0 += f64::from(u8::from(pair.label));
            counts[pair.tf].1 += 1.0;
        }
        let rates: Vec<f64> =
            counts.iter().map(|(edges, all)| (edges + PRIOR * overall) / (all + PRIOR)).collect();
        let mut found = vec![(0.0, 0.0); targets];
        let mut beyond = vec![0.0; targets * tfs];
        for pair in labels {
            let (label, rate) = (f64::from(u8::from(pair.label)), rates[pair.tf]);
            found[pair.target].0 += label;
            found[pair.target].1 += rate;
            beyond[pair.target * tfs + pair.tf] = (label - rate) / libm::sqrt(rate * (1.0 - rate));
        }
        let neighbours = neighbours(&beyond, tfs);
        let known = labels.iter().map(|pair| ((pair.tf, pair.target), pair.label)).collect();
        Evidence { problem, rates, found, beyond, neighbours, known }
    }

    /// The rate of edges of a TF.
    pub fn rate(&self, tf: usize) -> f64 {
        self.rates[tf]
    }

    /// The standard deviation of this TF's labels.
    pub fn deviation(&self, tf: usize) -> f64 {
        libm::sqrt(self.rates[tf] * (1.0 - self.rates[tf]))
    }

    /// The log odds of the TF's rate; the log ratio of the target's edges to their expected number; the prediction of
    /// TFs with similar targets; the surplus of the reverse pair. Prereq: the pair's own label was not learned from.
    pub fn describe(&self, tf: usize, target: usize) -> [f64; EVIDENCE] {
        let (edges, expected) = self.found[target];
        let tfs = self.rates.len();
        let neighbours = self.by_neighbours(tf, &self.beyond[target * tfs..][..tfs]);
        let ratio = libm::log((edges + PRIOR / 2.0) / (expected + PRIOR / 2.0));
        [logit(self.rates[tf]), ratio, neighbours, self.reverse(tf, target)]
    }

    /// The prediction of TFs with similar targets, from each TF's surplus at one target, in standard deviations.
    pub fn by_neighbours(&self, tf: usize, surplus: &[f64]) -> f64 {
        let weights = &self.neighbours[tf * surplus.len()..][..surplus.len()];
        weights.iter().zip(surplus).map(|(weight, surplus)| weight * surplus).sum()
    }

    /// Whether the target, as a TF, is known to regulate this TF, minus the target's rate; 0 if unknown.
    fn reverse(&self, tf: usize, target: usize) -> f64 {
        let (Some(reversed), Some(to)) = (self.problem.tf_of_target[target], self.problem.target_of_tf[tf])
        else {
            return 0.0;
        };
        self.known
            .get(&(reversed, to))
            .map_or(0.0, |label| f64::from(u8::from(*label)) - self.rates[reversed])
    }

    /// Whether the reverse pair is known to be an edge.
    pub fn has_reverse(&self, tf: usize, target: usize) -> bool {
        let reversed = self.problem.tf_of_target[target].zip(self.problem.target_of_tf[tf]);
        reversed.is_some_and(|pair| self.known.get(&pair).copied().unwrap_or(false))
    }
}

/// Ridge regression of each TF's surplus on those of the others, solved for all TFs at once: with P the inverse of the
/// Gram matrix plus the ridge, the weight of j for i is -P_ij / P_jj (Steck 2019).
fn neighbours(beyond: &[f64], tfs: usize) -> Vec<f64> {
    let mut gram = vec![0.0; tfs * tfs];
    gram.par_chunks_mut(tfs).enumerate().for_each(|(tf, row)| {
        for of_target in beyond.chunks_exact(tfs).filter(|of_target| of_target[tf] != 0.0) {
            row.iter_mut().zip(of_target).for_each(|(sum, other)| *sum += of_target[tf] * other);
        }
        row[tf] += RIDGE;
    });
    let inverse = linear::inverse(gram, tfs).expect("a Gram matrix with a ridge is positive definite");
    let weight = |place: usize| {
        let (tf, other) = (place / tfs, place % tfs);
        if tf == other { 0.0 } else { -inverse[tf * tfs + other] / inverse[tf * tfs + tf] }
    };
    (0..tfs * tfs).map(weight).collect()
}

/// Which labels are missing around a pair to be scored. When weights are fitted, the same labels must be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unseen {
    /// No gap: other pairs of its TF and of its target have labels.
    Neither,
    /// There are no labels for its target.
    Target,
    /// There are no labels for its TF.
    Tf,
    /// There are no labels for either.
    Both,
}

/// Random folds of the training pairs: by pair, by target and by TF.
pub struct Folds {
    of_pairs: Vec<usize>,
    of_targets: Vec<usize>,
    of_tfs: Vec<usize>,
}

impl Folds {
    /// Draws the folds. Prereq: `known` belongs to the problem.
    pub fn draw(problem: &Problem, known: &[Labelled], seed: u64) -> Folds {
        let fold = |count: usize, stream: u64| -> Vec<usize> {
            let mut folds: Vec<usize> = (0..count).map(|place| place % FOLDS).collect();
            Random::new(seed, stream).shuffle(&mut folds);
            folds
        };
        // Only genes with labels are divided; otherwise a fold might contain none.
        let of_seen = |count: usize, stream: u64, side: fn(&Labelled) -> usize| -> Vec<usize> {
            let seen: BTreeSet<usize> = known.iter().map(side).collect();
            let mut folds = vec![0; count];
            seen.iter().zip(fold(seen.len(), stream)).for_each(|(number, fold)| folds[*number] = fold);
            folds
        };
        Folds {
            of_pairs: fold(known.len(), 0),
            of_targets: of_seen(problem.targets.len(), 1, |pair| pair.target),
            of_tfs: of_seen(problem.tfs.len(), 2, |pair| pair.tf),
        }
    }

    /// The fold of a target.
    pub fn of_target(&self, target: usize) -> usize {
        self.of_targets[target]
    }

    /// Whether a training pair is left out in a fold, and whether its label is then known. Neither is true of a pair
    /// that shares a gene with those left out.
    fn role(&self, unseen: Unseen, fold: usize, place: usize, pair: &Labelled) -> (bool, bool) {
        let [own, target, tf] =
            [self.of_pairs[place], self.of_targets[pair.target], self.of_tfs[pair.tf]].map(|of| of == fold);
        match unseen {
            Unseen::Neither => (own, !own),
            Unseen::Target => (target, !target),
            Unseen::Tf => (tf, !tf),
            Unseen::Both => (target && tf, !target && !tf),
        }
    }
}

/// Scores pairs by a logistic regression over label features and any further features of each pair.
///
/// `beside` computes the further features, the same number for each pair. It is given the label statistics that may be
/// used for the pair; nothing may depend on the pair's own label. Returns log odds in the order of `wanted`.
pub fn stack(
    problem: &Problem,
    wanted: &[Labelled],
    folds: &Folds,
    beside: impl Fn(&Evidence, Unseen, &Labelled) -> Vec<f64> + Sync,
) -> Vec<f64> {
    let known = problem.known();
    let seen = |side: fn(&Labelled) -> usize| known.iter().map(side).collect::<BTreeSet<usize>>();
    let (seen_tfs, seen_targets) = (seen(|pair| pair.tf), seen(|pair| pair.target));
    let mut by_unseen: BTreeMap<Unseen, Vec<usize>> = BTreeMap::new();
    for (place, pair) in wanted.iter().enumerate() {
        let unseen = match (seen_tfs.contains(&pair.tf), seen_targets.contains(&pair.target)) {
            (true, true) => Unseen::Neither,
            (true, false) => Unseen::Target,
            (false, true) => Unseen::Tf,
            (false, false) => Unseen::Both,
        };
        by_unseen.entry(unseen).or_default().push(place);
    }
    let evidence = Evidence::of(problem, &known);
    let mut scores = vec![0.0; wanted.len()];
    for (unseen, places) in by_unseen {
        let describe = |evidence: &Evidence, pair: &Labelled| {
            let mut row = evidence.describe(pair.tf, pair.target).to_vec();
            row.extend(beside(evidence, unseen, pair));
            row
        };
        let of_fold = |fold: usize| -> (Vec<f64>, Vec<bool>) {
            let (mut left_out, mut others) = (Vec::new(), Vec::new());
            for (place, pair) in known.iter().enumerate() {
                match folds.role(unseen, fold, place, pair) {
                    (true, _) => left_out.push(*pair),
                    (_, true) => others.push(*pair),
                    _ => {}
                }
            }
            if others.is_empty() {
                return (Vec::new(), Vec::new());
            }
            let evidence = Evidence::of(problem, &others);
            let rows = left_out.iter().flat_map(|pair| describe(&evidence, pair)).collect();
            (rows, left_out.iter().map(|pair| pair.label).collect())
        };
        let described: Vec<(Vec<f64>, Vec<bool>)> = (0..FOLDS).into_par_iter().map(of_fold).collect();
        let (rows, labels): (Vec<Vec<f64>>, Vec<Vec<bool>>) = described.into_iter().unzip();
        let width = describe(&evidence, &wanted[places[0]]).len();
        let model = Logistic::fit(&rows.concat(), width, &labels.concat());
        let found: Vec<f64> =
            places.par_iter().map(|place| model.log_odds(&describe(&evidence, &wanted[*place]))).collect();
        places.iter().zip(found).for_each(|(place, found)| scores[*place] = found);
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of TFs, each with the same targets within the group; the first group has more targets.
    fn problem(part: impl Fn(usize, usize) -> Part) -> Problem {
        let mut random = Random::new(1, 0);
        let kinds: Vec<bool> = (0..200).map(|_| random.unit() < 0.4).collect();
        let mut pairs = Vec::new();
        for tf in 0..8 {
            for (target, of_first) in kinds.iter().enumerate() {
                let chance = if *of_first == (tf % 2 == 0) { 0.9 } else { 0.02 };
                pairs.push(Labelled { tf, target, label: random.unit() < chance, part: part(tf, target) });
            }
        }
        let names = |count: usize| (0..count).map(|number| format!("{number:03}")).collect::<Vec<_>>();
        let nothing = |count: usize| vec![None; count];
        let (tfs, targets) = (names(8), names(200));
        Problem { tfs, targets, pairs, target_of_tf: nothing(8), tf_of_target: nothing(200) }
    }

    /// The probability that an edge scores above another pair.
    fn auroc(scores: &[f64], pairs: &[Labelled]) -> f64 {
        let of = |label: bool| {
            let all = scores.iter().zip(pairs).filter(move |(_, pair)| pair.label == label);
            all.map(|(score, _)| *score).collect::<Vec<f64>>()
        };
        let (edges, others) = (of(true), of(false));
        let above = |edge: &f64| others.iter().filter(|other| *other < edge).count();
        edges.iter().map(above).sum::<usize>() as f64 / (edges.len() * others.len()) as f64
    }

    fn filter(problem: &Problem) -> (Vec<f64>, Vec<Labelled>) {
        let (known, wanted) = (problem.known(), problem.wanted());
        (stack(problem, &wanted, &Folds::draw(problem, &known, 0), |_, _, _| Vec::new()), wanted)
    }

    #[test]
    fn neighbours_tell_what_rates_do_not() {
        let problem = problem(|tf, target| if (tf + 3 * target) % 4 == 0 { Part::Test } else { Part::Train });
        let (scores, wanted) = filter(&problem);
        let known = problem.known();
        let evidence = Evidence::of(&problem, &known);
        let rates: Vec<f64> = wanted.iter().map(|pair| evidence.rate(pair.tf)).collect();
        assert!(auroc(&scores, &wanted) > 0.8 && auroc(&rates, &wanted) < 0.65);
    }

    #[test]
    fn a_target_without_labels_is_scored_by_the_rate_of_its_tf() {
        let problem = problem(|_, target| if target < 50 { Part::Test } else { Part::Train });
        let (scores, wanted) = filter(&problem);
        let known = problem.known();
        let evidence = Evidence::of(&problem, &known);
        let mut by_rate: Vec<(f64, f64)> =
            wanted.iter().zip(&scores).map(|(pair, score)| (evidence.rate(pair.tf), *score)).collect();
        by_rate.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(by_rate.windows(2).all(|two| two[0].1 <= two[1].1));
    }

    #[test]
    fn what_is_beside_counts_where_labels_are_missing() {
        let problem = problem(|tf, target| if target < 50 || tf < 2 { Part::Test } else { Part::Train });
        let (known, wanted) = (problem.known(), problem.wanted());
        let truth: HashMap<(usize, usize), bool> =
            problem.pairs.iter().map(|pair| ((pair.tf, pair.target), pair.label)).collect();
        let hint = |_: &Evidence, _: Unseen, pair: &Labelled| {
            let noise = Random::new(9, (pair.tf * 200 + pair.target) as u64).normal();
            vec![f64::from(u8::from(truth[&(pair.tf, pair.target)])) + 0.5 * noise]
        };
        let scores = stack(&problem, &wanted, &Folds::draw(&problem, &known, 0), hint);
        assert!(auroc(&scores, &wanted) > 0.88, "{}", auroc(&scores, &wanted));
    }
}
