//! The curves behind the metrics, reduced to few points of the same shape.

use super::Ranking;

/// The points of a curve, ascending in x.
pub type Curve = Vec<(f64, f64)>;

/// The true positive rate (y) against the false positive rate (x).
pub fn roc(ranking: &Ranking, limit: usize) -> Curve {
    let (points, edges, others) = counts(ranking);
    let share = |count: u64, of: u64| count as f64 / of.max(1) as f64;
    let start = std::iter::once((0.0, 0.0));
    let rest = points.iter().map(|(found, wrong)| (share(*wrong, others), share(*found, edges)));
    thin(start.chain(rest).collect(), limit)
}

/// Precision (y) against recall (x), starting where nothing is chosen and precision is 1.
pub fn precision_recall(ranking: &Ranking, limit: usize) -> Curve {
    let (points, edges, _) = counts(ranking);
    let start = std::iter::once((0.0, 1.0));
    let rest = points
        .iter()
        .map(|(found, wrong)| (*found as f64 / edges.max(1) as f64, *found as f64 / (found + wrong) as f64));
    thin(start.chain(rest).collect(), limit)
}

/// The numbers of edges and of other pairs above each threshold, and their totals.
fn counts(ranking: &Ranking) -> (Vec<(u64, u64)>, u64, u64) {
    let (mut found, mut wrong) = (0, 0);
    let points = ranking
        .groups(|_| 1)
        .map(|(_, group)| {
            found += group.edges;
            wrong += group.others;
            (found, wrong)
        })
        .collect();
    (points, found, wrong)
}

/// Divides the curve into pieces of equal length and keeps the first point of each, and the last point
/// of all. Precision-recall curves vary most at their beginning, which equal steps of rank would
/// hardly show. Prereq: `limit` is at least 2.
fn thin(curve: Curve, limit: usize) -> Curve {
    if curve.len() <= limit {
        return curve;
    }
    let way = |pair: &[(f64, f64)]| (pair[1].0 - pair[0].0).abs() + (pair[1].1 - pair[0].1).abs();
    let length: f64 = curve.windows(2).map(way).sum();
    let pieces = (limit - 1) as f64;
    let (mut gone, mut next) = (0.0, 0.0);
    let mut kept = vec![curve[0]];
    for pair in curve.windows(2).take(curve.len() - 2) {
        gone += way(pair);
        let piece = (gone / length * pieces).floor();
        if piece > next && piece < pieces {
            next = piece;
            kept.push(pair[1]);
        }
    }
    kept.extend(curve.last());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Scored;
    use crate::random::Random;

    fn ranking(count: usize) -> Ranking {
        let mut random = Random::new(1, 0);
        let pair = |_| {
            let edge = random.unit() < 0.1;
            Scored { score: random.unit() + if edge { 0.3 } else { 0.0 }, edge, tf: 0 }
        };
        Ranking::new((0..count).map(pair).collect())
    }

    fn area(curve: &Curve) -> f64 {
        curve.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0).sum()
    }

    #[test]
    fn a_short_curve_is_whole() {
        let pair = |score, edge| Scored { score, edge, tf: 0 };
        let ranking =
            Ranking::new(vec![pair(3.0, true), pair(2.0, false), pair(2.0, true), pair(1.0, false)]);
        assert_eq!(roc(&ranking, 500), [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        assert_eq!(precision_recall(&ranking, 500), [(0.0, 1.0), (0.5, 1.0), (1.0, 2.0 / 3.0), (1.0, 0.5)]);
    }

    #[test]
    fn a_thin_curve_has_the_ends_and_the_area_of_the_whole_one() {
        let ranking = ranking(50_000);
        for curve in [roc, precision_recall] {
            let (whole, thin) = (curve(&ranking, usize::MAX), curve(&ranking, 500));
            assert!((250..=500).contains(&thin.len()), "{}", thin.len());
            assert_eq!((thin.first(), thin.last()), (whole.first(), whole.last()));
            assert!((area(&thin) - area(&whole)).abs() < 2e-3, "{} {}", area(&thin), area(&whole));
        }
    }

    #[test]
    fn the_area_under_a_whole_curve_is_the_metric() {
        let ranking = ranking(3000);
        let metrics = ranking.metrics(|_| 1).unwrap();
        assert!((area(&roc(&ranking, usize::MAX)) - metrics.auroc).abs() < 1e-12);
        assert!((area(&precision_recall(&ranking, usize::MAX)) - metrics.auprc_trapezoid).abs() < 1e-12);
    }
}
