//! How well scores distinguish edges from other pairs.
//!
//! Everything is a sum over thresholds: the distinct scores in descending order, so that tied pairs are
//! chosen together and the order within a tie never matters. Each TF has a weight, the number of times
//! that its pairs count: one in a plain evaluation, drawn at random in a bootstrap.

pub mod curves;
pub mod summary;
pub mod table;

/// The quality of one ranking of pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metrics {
    /// The probability that an edge is scored above another pair; ties count half (Hanley and McNeil 1982).
    pub auroc: f64,
    /// Precision averaged over the edges, without interpolation (scikit-learn's `average_precision_score`).
    pub average_precision: f64,
    /// Average precision divided by the share of edges, which is the precision of chance.
    pub average_precision_ratio: f64,
    /// Precision among the first k pairs, for k edges (Pratapa et al. 2020).
    pub early_precision: f64,
    /// Early precision divided by the share of edges.
    pub early_precision_ratio: f64,
    /// The area under straight lines between points of precision and recall, as BEELINE computes it. It
    /// includes points that no threshold can reach if scores are tied (Davis and Goadrich 2006): use it only to
    /// compare with the literature, and rely on average precision.
    pub auprc_trapezoid: f64,
}

impl Metrics {
    /// The names of `values`.
    pub const NAMES: [&str; 6] = [
        "auroc",
        "average_precision",
        "average_precision_ratio",
        "early_precision",
        "early_precision_ratio",
        "auprc_trapezoid",
    ];

    /// All metrics in the order of their names.
    pub fn values(&self) -> [f64; 6] {
        let Metrics {
            auroc,
            average_precision,
            average_precision_ratio,
            early_precision,
            early_precision_ratio,
            auprc_trapezoid,
        } = *self;
        [
            auroc,
            average_precision,
            average_precision_ratio,
            early_precision,
            early_precision_ratio,
            auprc_trapezoid,
        ]
    }
}

/// One scored pair.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Larger means more likely. Never NaN; not negative if early precision is computed.
    pub score: f64,
    /// Whether it is an edge.
    pub edge: bool,
    /// The index of its TF.
    pub tf: u32,
}

/// Pairs by descending score.
#[derive(Debug, Clone)]
pub struct Ranking(Vec<Scored>);

/// The numbers of edges and of other pairs, weighted by their TFs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    edges: u64,
    others: u64,
}

impl Count {
    fn all(self) -> u64 {
        self.edges + self.others
    }

    fn precision(self) -> f64 {
        self.edges as f64 / self.all() as f64
    }
}

impl Ranking {
    /// Ranks the pairs.
    pub fn new(mut pairs: Vec<Scored>) -> Ranking {
        pairs.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        Ranking(pairs)
    }

    /// The pairs by descending score; the order among equal scores is arbitrary.
    pub fn pairs(&self) -> &[Scored] {
        &self.0
    }

    /// Splits the ranking by TF. Prereq: the TFs' indices are below `tfs`.
    pub fn by_tf(&self, tfs: usize) -> Vec<Ranking> {
        let mut rankings: Vec<Ranking> = (0..tfs).map(|_| Ranking(Vec::new())).collect();
        // Keeps the order, so that each part stays ranked.
        for pair in &self.0 {
            rankings[pair.tf as usize].0.push(*pair);
        }
        rankings
    }

    /// Computes the metrics, counting each pair as often as its TF's weight says; `None` if one class is missing.
    pub fn metrics(&self, weight: impl Fn(u32) -> u64) -> Option<Metrics> {
        let total = self.groups(&weight).fold(Count::default(), |total, (_, group)| Count {
            edges: total.edges + group.edges,
            others: total.others + group.others,
        });
        if total.edges == 0 || total.others == 0 {
            return None;
        }
        let mut chosen = Count::default();
        // Twice the number of (edge, other pair) combinations in the right order.
        let mut ordered = 0u128;
        let (mut average_precision, mut auprc_trapezoid) = (0.0, 0.0);
        // If no pair is chosen, precision is 1, as in scikit-learn and BEELINE.
        let mut precision_before = 1.0;
        for (_, group) in self.groups(&weight).filter(|(_, group)| group.all() > 0) {
            ordered += u128::from(group.others) * u128::from(2 * chosen.edges + group.edges);
            chosen = Count { edges: chosen.edges + group.edges, others: chosen.others + group.others };
            let precision = chosen.precision();
            let recall_gained = group.edges as f64 / total.edges as f64;
            average_precision += recall_gained * precision;
            auprc_trapezoid += recall_gained * (precision + precision_before) / 2.0;
            precision_before = precision;
        }
        let possible = 2 * u128::from(total.edges) * u128::from(total.others);
        let early_precision = self.early_precision(total.edges, &weight);
        let chance = total.precision();
        Some(Metrics {
            auroc: ordered as f64 / possible as f64,
            average_precision,
            average_precision_ratio: average_precision / chance,
            early_precision,
            early_precision_ratio: early_precision / chance,
            auprc_trapezoid,
        })
    }

    /// Precision among the first `count` pairs and all that are tied with the last of them, as in
    /// BEELINE: a score of zero is not a prediction, unless there are no others. 0 if there is no pair.
    ///
    /// Prereq: no score is negative.
    pub fn early_precision(&self, count: u64, weight: impl Fn(u32) -> u64) -> f64 {
        let mut chosen = Count::default();
        for (score, group) in self.groups(&weight) {
            if chosen.all() >= count || (score <= 0.0 && chosen.all() > 0) {
                break;
            }
            chosen = Count { edges: chosen.edges + group.edges, others: chosen.others + group.others };
        }
        if chosen.all() == 0 { 0.0 } else { chosen.precision() }
    }

    /// The distinct scores in descending order, each with the counts of its pairs.
    fn groups(&self, weight: impl Fn(u32) -> u64) -> impl Iterator<Item = (f64, Count)> {
        self.0.chunk_by(|a, b| a.score == b.score).map(move |group| {
            let mut count = Count::default();
            for pair in group {
                let class = if pair.edge { &mut count.edges } else { &mut count.others };
                *class += weight(pair.tf);
            }
            (group[0].score, count)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(pairs: &[(f64, bool)]) -> Ranking {
        Ranking::new(pairs.iter().map(|(score, edge)| Scored { score: *score, edge: *edge, tf: 0 }).collect())
    }

    fn metrics(pairs: &[(f64, bool)]) -> Metrics {
        ranking(pairs).metrics(|_| 1).unwrap()
    }

    #[track_caller]
    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn a_small_case_is_as_by_hand() {
        // Edges at ranks 1 and 3 of 4.
        let found = metrics(&[(0.9, true), (0.8, false), (0.7, true), (0.1, false)]);
        near(found.auroc, 3.0 / 4.0);
        near(found.average_precision, (1.0 + 2.0 / 3.0) / 2.0);
        near(found.auprc_trapezoid, 0.5 + 0.5 * (0.5 + 2.0 / 3.0) / 2.0);
        near(found.early_precision, 0.5);
        near(found.early_precision_ratio, 1.0);
        near(found.average_precision_ratio, 2.0 * found.average_precision);
    }

    #[test]
    fn the_order_within_a_tie_never_counts() {
        let pairs = [(0.5, true), (0.5, false), (0.5, false), (0.2, true), (0.2, false), (0.0, false)];
        let mut turned = pairs;
        turned.reverse();
        assert_eq!(metrics(&pairs), metrics(&turned));
        // The edge at .5 ties with two of four others and beats two: 3 of 4. The edge at .2: 1.5 of 4.
        near(metrics(&pairs).auroc, 4.5 / 8.0);
        near(metrics(&pairs).average_precision, 0.5 / 3.0 + 0.5 * 2.0 / 5.0);
    }

    #[test]
    fn a_constant_score_is_chance() {
        let found = metrics(&[(0.3, true), (0.3, false), (0.3, false), (0.3, false)]);
        near(found.auroc, 0.5);
        near(found.average_precision_ratio, 1.0);
        near(found.early_precision_ratio, 1.0);
        // This is why the trapezoid should not be relied on.
        near(found.auprc_trapezoid, 0.625);
    }

    #[test]
    fn perfect_and_reversed_are_the_ends() {
        let perfect = metrics(&[(2.0, true), (2.0, true), (1.0, false)]);
        near(perfect.auroc, 1.0);
        near(perfect.average_precision, 1.0);
        near(perfect.auprc_trapezoid, 1.0);
        near(perfect.early_precision, 1.0);
        near(metrics(&[(1.0, true), (2.0, false)]).auroc, 0.0);
    }

    #[test]
    fn early_precision_takes_all_that_are_tied_and_no_zero() {
        let pairs =
            ranking(&[(3.0, true), (2.0, true), (2.0, false), (2.0, false), (1.0, true), (0.0, true)]);
        near(pairs.early_precision(2, |_| 1), 0.5);
        near(pairs.early_precision(1, |_| 1), 1.0);
        near(pairs.early_precision(6, |_| 1), 3.0 / 5.0);
        near(ranking(&[(0.0, true), (0.0, false), (0.0, false)]).early_precision(1, |_| 1), 1.0 / 3.0);
        near(ranking(&[]).early_precision(3, |_| 1), 0.0);
    }

    #[test]
    fn one_class_alone_is_worth_nothing() {
        assert_eq!(ranking(&[(1.0, true), (2.0, true)]).metrics(|_| 1), None);
        assert_eq!(ranking(&[(1.0, false)]).metrics(|_| 1), None);
        assert_eq!(ranking(&[]).metrics(|_| 1), None);
    }

    #[test]
    fn a_weight_of_two_is_the_same_as_pairs_that_are_there_twice() {
        let mut random = crate::random::Random::new(3, 0);
        let pairs: Vec<Scored> = (0..300)
            .map(|index| Scored { score: random.below(40) as f64, edge: random.unit() < 0.2, tf: index % 7 })
            .collect();
        let weight = |tf: u32| u64::from(tf % 3);
        let repeated: Vec<Scored> =
            pairs.iter().flat_map(|pair| vec![*pair; weight(pair.tf) as usize]).collect();
        assert_eq!(Ranking::new(pairs).metrics(weight), Ranking::new(repeated).metrics(|_| 1));
    }
}
