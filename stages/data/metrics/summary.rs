//! A method's metrics over all pairs and over TFs, each with its uncertainty.
//!
//! Pairs of one TF are not independent: they share its profile and its number of targets. So the
//! bootstrap draws whole TFs with replacement (the cluster bootstrap; Davison and Hinkley 1997, 3.8).
//!
//! Chance is not 1 in `average_precision_ratio_per_tf`: a single edge among n pairs in random order has
//! an average precision of H(n) / n, not 1 / n. A shuffled control shows the level of chance for a given split.

use super::{Metrics, Ranking};
use crate::random::Random;
use rayon::prelude::*;

/// The confidence level of intervals.
const COVERAGE: f64 = 0.95;
/// With fewer replicates the limits would be mostly noise; with one TF all replicates are the same.
const MIN_REPLICATES: usize = 20;
const MIN_TFS: usize = 2;
const POOLED: usize = Metrics::NAMES.len();
const ALL: usize = POOLED + MEANS.len();
/// The names of the means over TFs: all metrics, and AUROC weighted by edges.
pub const MEANS: [&str; 7] = [
    "auroc_per_tf",
    "average_precision_per_tf",
    "average_precision_ratio_per_tf",
    "early_precision_per_tf",
    "early_precision_ratio_per_tf",
    "auprc_trapezoid_per_tf",
    "auroc_per_tf_by_edges",
];

/// A number that sums up a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its name: that of a metric, with `_per_tf` where it is the mean over TFs.
    pub metric: String,
    /// `None` if no TF has both classes.
    pub value: Option<f64>,
    /// The limits of the 95 % interval; `None` if there are too few TFs or replicates.
    pub interval: Option<(f64, f64)>,
    /// The number of pairs, or of TFs with both classes, that it is taken over.
    pub count: usize,
}

/// The metrics of each TF's own pairs, in the order of the TFs' indices.
pub fn per_tf(ranking: &Ranking, tfs: usize) -> Vec<Option<Metrics>> {
    ranking.by_tf(tfs).par_iter().map(|of_tf| of_tf.metrics(|_| 1)).collect()
}

/// All metrics: over all pairs as one ranking; as the mean over the TFs that have both classes; and AUROC
/// as the mean weighted by edges, since the AUROC of a TF with one or two edges is mostly noise.
///
/// `of_tfs` comes from `per_tf`; the same seed gives the same bits on any number of threads.
pub fn summarise(ranking: &Ranking, of_tfs: &[Option<Metrics>], replicates: usize, seed: u64) -> Vec<Row> {
    let mut edges = vec![0; of_tfs.len()];
    ranking.pairs().iter().filter(|pair| pair.edge).for_each(|pair| edges[pair.tf as usize] += 1);
    let subject = Subject { ranking, of_tfs, edges };
    let values = subject.values(&vec![1; of_tfs.len()]);
    let judged = of_tfs.iter().flatten().count();
    let replicated: Vec<[Option<f64>; ALL]> = if of_tfs.len() < MIN_TFS || replicates < MIN_REPLICATES {
        Vec::new()
    } else {
        (0..replicates).into_par_iter().map(|replicate| subject.replicate(seed, replicate)).collect()
    };
    let row = |(index, metric): (usize, String)| {
        let mut draws: Vec<f64> = replicated.iter().filter_map(|values| values[index]).collect();
        let few_tfs = index >= POOLED && judged < MIN_TFS;
        let interval = if few_tfs { None } else { limits(&mut draws) };
        let count = if index < POOLED { ranking.pairs().len() } else { judged };
        Row { metric, value: values[index], interval, count }
    };
    Metrics::NAMES.into_iter().chain(MEANS).map(str::to_owned).enumerate().map(row).collect()
}

struct Subject<'a> {
    ranking: &'a Ranking,
    of_tfs: &'a [Option<Metrics>],
    /// The number of edges of each TF.
    edges: Vec<u64>,
}

impl Subject<'_> {
    /// The metrics if each TF counts as often as its weight says.
    fn values(&self, weights: &[u64]) -> [Option<f64>; ALL] {
        let mut values = [None; ALL];
        if let Some(pooled) = self.ranking.metrics(|tf| weights[tf as usize]) {
            values[..POOLED].iter_mut().zip(pooled.values()).for_each(|(to, value)| *to = Some(value));
        }
        let (mut sums, mut by_edges) = ([0.0; POOLED], 0.0);
        let (mut tfs, mut edges) = (0, 0);
        for ((metrics, weight), of_tf) in self.of_tfs.iter().zip(weights).zip(&self.edges) {
            let Some(metrics) = metrics else { continue };
            tfs += weight;
            edges += weight * of_tf;
            by_edges += (weight * of_tf) as f64 * metrics.auroc;
            sums.iter_mut().zip(metrics.values()).for_each(|(sum, value)| *sum += *weight as f64 * value);
        }
        if tfs > 0 {
            values[POOLED..].iter_mut().zip(sums).for_each(|(to, sum)| *to = Some(sum / tfs as f64));
            values[ALL - 1] = Some(by_edges / edges as f64);
        }
        values
    }

    /// The metrics for TFs that are drawn with replacement.
    fn replicate(&self, seed: u64, replicate: usize) -> [Option<f64>; ALL] {
        let mut random = Random::new(seed, replicate as u64);
        let mut weights = vec![0; self.of_tfs.len()];
        (0..weights.len()).for_each(|_| weights[random.below(self.of_tfs.len())] += 1);
        self.values(&weights)
    }
}

/// Resamples of the units of a measurement.
const RESAMPLES: usize = 1000;

/// Values for resamples of `units` units with replacement, given by their indices; none of fewer than two units.
pub fn resampled<T>(units: usize, seed: u64, stream: u64, of: impl Fn(&[usize]) -> T) -> Vec<T> {
    let mut random = Random::new(seed, stream);
    let mut sample = || (0..units).map(|_| random.below(units)).collect::<Vec<usize>>();
    let count = if units > 1 { RESAMPLES } else { 0 };
    (0..count).map(|_| of(&sample())).collect()
}

/// Metrics of units that do not depend on each other, such as cells, with 95 % intervals over the units; empty without
/// any. `of` gives the metrics of the units with these indices.
pub fn over_units<const COUNT: usize>(
    metrics: [&str; COUNT],
    units: usize,
    seed: u64,
    stream: u64,
    of: impl Fn(&[usize]) -> [f64; COUNT],
) -> Vec<Row> {
    if units == 0 {
        return Vec::new();
    }
    let values = of(&(0..units).collect::<Vec<usize>>());
    let replicates = resampled(units, seed, stream, of);
    let row = |(index, metric): (usize, &str)| {
        let mut draws: Vec<f64> = replicates.iter().map(|values| values[index]).collect();
        let interval = limits(&mut draws);
        Row { metric: metric.to_owned(), value: Some(values[index]), interval, count: units }
    };
    metrics.into_iter().enumerate().map(row).collect()
}

/// The quantiles that leave out equal shares on both sides, interpolated linearly; `None` if there are few draws.
pub fn limits(draws: &mut [f64]) -> Option<(f64, f64)> {
    if draws.len() < MIN_REPLICATES {
        return None;
    }
    draws.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * (draws.len() - 1) as f64;
        let (below, above) = (draws[place.floor() as usize], draws[place.ceil() as usize]);
        below + (above - below) * place.fract()
    };
    let outside = (1.0 - COVERAGE) / 2.0;
    Some((quantile(outside), quantile(1.0 - outside)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Scored;

    /// Scores whose edges lie `shift` standard deviations above the others.
    fn ranking(tfs: usize, shift: f64, seed: u64) -> Ranking {
        let mut random = Random::new(seed, 1 << 50);
        let pair = |index: usize| {
            let edge = random.unit() < 0.2;
            let score = (random.normal() + if edge { shift } else { 0.0 } + 20.0).max(0.0);
            Scored { score, edge, tf: (index % tfs) as u32 }
        };
        Ranking::new((0..tfs * 50).map(pair).collect())
    }

    fn rows(ranking: &Ranking, tfs: usize) -> Vec<Row> {
        summarise(ranking, &per_tf(ranking, tfs), 500, 7)
    }

    fn row(rows: &[Row], metric: &str) -> Row {
        rows.iter().find(|row| row.metric == metric).unwrap().clone()
    }

    #[test]
    fn means_are_over_the_tfs_that_have_both_classes() {
        let pair = |tf, score, edge| Scored { score, edge, tf };
        let ranking = Ranking::new(vec![
            pair(0, 2.0, true),
            pair(0, 1.0, false),
            pair(1, 1.0, true),
            pair(1, 2.0, false),
            pair(1, 0.5, true),
            pair(2, 9.0, false),
        ]);
        let rows = rows(&ranking, 3);
        let mean = row(&rows, "auroc_per_tf");
        assert_eq!((mean.value, mean.count), (Some(0.5), 2));
        assert_eq!(row(&rows, "auroc_per_tf_by_edges").value, Some(1.0 / 3.0));
        assert_eq!(row(&rows, "auroc").count, 6);
        assert_eq!(row(&rows, "auroc").value, ranking.metrics(|_| 1).map(|metrics| metrics.auroc));
    }

    #[test]
    fn an_interval_holds_its_value_and_is_narrower_with_more_tfs() {
        let width = |tfs| {
            let ranking = ranking(tfs, 1.0, 0);
            for row in rows(&ranking, tfs) {
                let (low, high) = row.interval.unwrap();
                assert!(low < row.value.unwrap() && row.value.unwrap() < high, "{row:?}");
            }
            let (low, high) = row(&rows(&ranking, tfs), "auroc").interval.unwrap();
            high - low
        };
        assert!(width(160) < 0.7 * width(20));
    }

    #[test]
    fn intervals_cover_chance_as_often_as_they_say() {
        let covered = |seed: &u64| {
            let ranking = ranking(40, 0.0, *seed);
            let (low, high) = row(&rows(&ranking, 40), "auroc").interval.unwrap();
            low <= 0.5 && 0.5 <= high
        };
        // Of 100 intervals that cover with probability 95 %, fewer than 87 do so once in a thousand times.
        let count = (0..100).filter(covered).count();
        assert!(count >= 87, "{count}");
    }

    #[test]
    fn intervals_are_the_same_bits_on_any_number_of_threads() {
        let ranking = ranking(20, 0.5, 3);
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| rows(&ranking, 20))
        };
        assert_eq!(on(1), on(3));
    }

    #[test]
    fn one_tf_or_few_replicates_have_no_interval() {
        assert!(rows(&ranking(1, 1.0, 0), 1).iter().all(|row| row.interval.is_none() && row.value.is_some()));
        let ranking = ranking(5, 1.0, 0);
        let rows = summarise(&ranking, &per_tf(&ranking, 5), 0, 0);
        assert!(rows.iter().all(|row| row.interval.is_none() && row.value.is_some()));
    }

    #[test]
    fn without_a_tf_of_both_classes_there_is_no_mean() {
        let pair = |tf, edge| Scored { score: 1.0, edge, tf };
        let rows = rows(&Ranking::new(vec![pair(0, true), pair(1, false)]), 2);
        let mean = row(&rows, "auroc_per_tf");
        assert_eq!((mean.value, mean.interval, mean.count), (None, None, 0));
        assert_eq!(row(&rows, "auroc").value, Some(0.5));
    }
}
