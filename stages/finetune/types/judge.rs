//! How well types are told: the metrics on the test cells, and their tables.

use anyhow::Result;
use arrow::array::{Float64Array, Int64Array, StringArray};
use contract::stage::Io;
use data::metrics::summary::{Row, limits, over_units, resampled};
use data::table;
use std::path::Path;
use std::sync::Arc;

/// The metrics on the test cells, in this order; the last has what the model gets right above the regression.
pub const METRICS: [&str; 6] = [
    "accuracy",
    "macro_f1",
    "accuracy_most_frequent_type",
    "accuracy_logistic_regression",
    "macro_f1_logistic_regression",
    "accuracy_above_logistic_regression",
];
/// Columns: `type` (text), `cells` (i64), `recall`, `precision`, `f1`, `recall_low`, `recall_high` (f64, null if
/// undefined; the limits are those of the 95 % interval over cells); one row for each type, over the test cells.
pub const PER_TYPE: &str = "per-type.parquet";
/// Columns: `type`, `predicted` (text), `cells` (i64): how many test cells; one row for each pair of types.
pub const CONFUSION: &str = "confusion.parquet";

const BOOTSTRAP_STREAM: u64 = 1 << 55;

/// A test cell: its type and what each predictor says.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Its type.
    pub of: u32,
    /// What the model, the regression and the most frequent type of the training cells say.
    pub said: [u32; 3],
}

/// The test cells.
pub struct Judged<'a> {
    /// The cells.
    pub cells: Vec<Told>,
    /// The names of the types.
    pub types: &'a [String],
    /// The seed of the intervals.
    pub seed: u64,
}

/// For each type: cells of this type, cells predicted to be of it, cells for which both hold.
type Counts = Vec<[f64; 3]>;

impl Judged<'_> {
    fn counts(&self, predictor: usize, cells: &[usize]) -> Counts {
        let mut counts = vec![[0.0; 3]; self.types.len()];
        for Told { of, said } in cells.iter().map(|cell| self.cells[*cell]) {
            let said = said[predictor];
            counts[of as usize][0] += 1.0;
            counts[said as usize][1] += 1.0;
            counts[of as usize][2] += f64::from(u8::from(of == said));
        }
        counts
    }

    fn metrics(&self, cells: &[usize]) -> [f64; METRICS.len()] {
        let counts = [0, 1, 2].map(|predictor| self.counts(predictor, cells));
        let [model, regression, frequent] = counts
            .each_ref()
            .map(|counts| counts.iter().map(|[.., right]| right).sum::<f64>() / cells.len() as f64);
        [model, macro_f1(&counts[0]), frequent, regression, macro_f1(&counts[1]), model - regression]
    }

    /// The metrics with 95 % intervals over cells; empty if there are no test cells.
    pub fn rows(&self) -> Vec<Row> {
        over_units(METRICS, self.cells.len(), self.seed, BOOTSTRAP_STREAM, |cells| self.metrics(cells))
    }

    /// Writes the table of types and the confusion matrix.
    pub fn write(&self, out: &Path) -> Result<()> {
        let all: Vec<usize> = (0..self.cells.len()).collect();
        let counts = self.counts(0, &all);
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        let recalls =
            |counts: &Counts| counts.iter().map(|[of, _, right]| share(*right, *of)).collect::<Vec<_>>();
        let replicates =
            resampled(all.len(), self.seed, BOOTSTRAP_STREAM, |cells| recalls(&self.counts(0, cells)));
        let intervals: Vec<Option<(f64, f64)>> = (0..counts.len())
            .map(|of| limits(&mut replicates.iter().filter_map(|recalls| recalls[of]).collect::<Vec<_>>()))
            .collect();
        let numbers =
            |of: &dyn Fn(&[f64; 3]) -> Option<f64>| Arc::new(counts.iter().map(of).collect::<Float64Array>());
        let limit = |of: fn(&(f64, f64)) -> f64| {
            Arc::new(intervals.iter().map(|interval| interval.as_ref().map(of)).collect::<Float64Array>())
        };
        table::write(
            &out.join(PER_TYPE),
            vec![
                ("type", Arc::new(StringArray::from_iter_values(self.types))),
                ("cells", Arc::new(Int64Array::from_iter_values(counts.iter().map(|[of, ..]| *of as i64)))),
                ("recall", numbers(&|[of, _, right]| share(*right, *of))),
                ("precision", numbers(&|[_, said, right]| share(*right, *said))),
                ("f1", numbers(&|[of, said, right]| share(2.0 * right, of + said))),
                ("recall_low", limit(|interval| interval.0)),
                ("recall_high", limit(|interval| interval.1)),
            ],
        )?;
        let types = self.types.len();
        let mut confusion = vec![0i64; types * types];
        self.cells.iter().for_each(|cell| confusion[cell.of as usize * types + cell.said[0] as usize] += 1);
        let name = |of: &dyn Fn(usize) -> usize| {
            Arc::new(StringArray::from_iter_values((0..types * types).map(|place| &self.types[of(place)])))
        };
        table::write(
            &out.join(CONFUSION),
            vec![
                ("type", name(&|place| place / types)),
                ("predicted", name(&|place| place % types)),
                ("cells", Arc::new(Int64Array::from(confusion))),
            ],
        )
    }
}

/// The mean F1 over types; a type that is neither true nor predicted for any cell does not count.
fn macro_f1(counts: &Counts) -> f64 {
    let there = counts.iter().filter(|[of, said, _]| of + said > 0.0);
    let scores: Vec<f64> = there.map(|[of, said, right]| 2.0 * right / (of + said)).collect();
    scores.iter().sum::<f64>() / scores.len() as f64
}

/// Says what the metrics are, and warns of a model that is no better than a simpler predictor.
pub fn tell(rows: &[Row], io: &Io) {
    let value = |metric: &str| rows.iter().find(|row| row.metric == metric).and_then(|row| row.value);
    let [Some(model), Some(f1), Some(frequent), Some(regression)] =
        [METRICS[0], METRICS[1], METRICS[2], METRICS[3]].map(value)
    else {
        return io.warn("no cell is held out for the test, so nothing says what the model is worth");
    };
    io.note(format!(
        "{} test cells: accuracy {model:.3}, macro-F1 {f1:.3}; logistic regression: {regression:.3}; always the most \
         frequent type: {frequent:.3}",
        rows[0].count
    ));
    if model <= frequent {
        io.warn(format!(
            "the model tells types no better than the most frequent type alone: accuracy {model:.3}, and {frequent:.3}"
        ));
    } else if rows[5].interval.is_some_and(|(_, high)| high < 0.0) {
        io.warn(format!(
            "a logistic regression of the same tokens is more often right: accuracy {regression:.3}, and {model:.3} of \
             the model"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{Judged, METRICS, Told};

    #[test]
    fn scores_are_those_of_the_definitions() {
        // Three types, the third neither true nor predicted; of five cells one of type 1 was predicted as 0.
        let types = ["a", "b", "c"].map(str::to_owned);
        let cells = [(0, 0), (0, 0), (1, 0), (1, 1), (1, 1)];
        let cells = cells.map(|(of, said)| Told { of, said: [said, 1, 0] });
        let rows = Judged { cells: cells.to_vec(), types: &types, seed: 1 }.rows();
        let values: Vec<f64> = rows.iter().filter_map(|row| row.value).collect();
        // F1 of both types: 2·2 / (2 + 3) = .8. The regression always says 1: F1 of 0 and of 2·3 / (3 + 5).
        assert_eq!(values[..4], [0.8, 0.8, 0.4, 0.6]);
        assert!((values[4] - 0.375).abs() < 1e-12 && (values[5] - 0.2).abs() < 1e-12, "{values:?}");
        assert_eq!(rows.iter().map(|row| row.metric.as_str()).collect::<Vec<_>>(), METRICS);
        assert!(rows.iter().all(|row| row.interval.is_some_and(|(low, high)| low < high)));
    }
}
