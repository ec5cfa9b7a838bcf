//! `mutual-information`: predicts that a TF regulates the genes whose expression depends on its own, linearly or not.

use crate::kit::candidates::{self, Candidates, Pair};
use anyhow::{Result, bail};
use contract::bounds::within;
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slots, Stage, Wires};
use data::columns::Column;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind itself.
pub const KIND: Kind = Kind::of::<MutualInformation>(
    "mutual-information",
    "scores each pair by the mutual information of TF and target over the cells",
    Slots::Named(&candidates::SLOTS),
    code!(),
)
.makes(&candidates::OUTPUTS);

const MOST_BINS: usize = 256;
/// Pairs between two checks for a stop request.
const BLOCK: usize = 1 << 16;

/// Scores pairs by mutual information, in nats.
///
/// Each gene's values are put into bins with equal numbers of cells; equal values share a bin. The bias of estimating
/// from counts is subtracted (Miller 1955); without this, genes with more bins would seem to be more informative.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct MutualInformation {
    /// The number of bins for a gene's values, from 2 to 256; fewer if values are equal.
    bins: usize,
}

impl Default for MutualInformation {
    fn default() -> MutualInformation {
        MutualInformation { bins: 8 }
    }
}

impl Stage for MutualInformation {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("bins", self.bins, 2..=MOST_BINS)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let candidates = Candidates::find(io)?;
        let columns = candidates.columns(io)?;
        let cells = columns.ids.len();
        if cells < 2 {
            bail!("there is no mutual information over {cells} cells; give at least 2");
        }
        let logs = Logs::new(cells);
        let genes: Vec<Binned> =
            columns.genes.par_iter().map(|column| Binned::new(column, cells, self.bins, &logs)).collect();
        candidates.tell_constant(|gene| genes[gene].counts.len() < 2, io);
        let mut scores = Vec::with_capacity(candidates.pairs.len());
        for block in candidates.pairs.chunks(BLOCK) {
            io.check_stop()?;
            let of_tfs: Vec<&[Pair]> = block.chunk_by(|a, b| a.0 == b.0).collect();
            let score = |of_tf: &[Pair]| -> Vec<f64> {
                let tf = &genes[of_tf[0].0 as usize];
                let bins = tf.spread(cells);
                of_tf
                    .iter()
                    .map(|(_, target)| information(tf, &bins, &genes[*target as usize], &logs))
                    .collect()
            };
            let found: Vec<Vec<f64>> = of_tfs.into_par_iter().map(score).collect();
            scores.extend(found.into_iter().flatten());
            io.progress(scores.len() as u64, candidates.pairs.len() as u64);
        }
        candidates.write(scores, io)
    }
}

/// A table of k · log k, for all possible numbers of cells.
struct Logs(Vec<f64>);

impl Logs {
    fn new(cells: usize) -> Logs {
        let entry = |count: usize| if count == 0 { 0.0 } else { count as f64 * libm::log(count as f64) };
        Logs((0..=cells).map(entry).collect())
    }

    fn sum(&self, counts: &[u32]) -> f64 {
        counts.iter().map(|count| self.0[*count as usize]).sum()
    }
}

/// A gene's values in bins.
struct Binned {
    /// The cells in which it is not zero.
    cells: Vec<u32>,
    /// The bins of these cells.
    bins: Vec<u8>,
    /// The bin of all other cells; arbitrary if there are none.
    of_zero: u8,
    /// The number of cells in each bin; no bin is empty.
    counts: Vec<u32>,
    /// The sum of k · log k over these counts.
    logs: f64,
}

impl Binned {
    fn new(column: &Column, cells: usize, bins: usize, logs: &Logs) -> Binned {
        let zeros = cells - column.values.len();
        let mut order: Vec<usize> = (0..column.values.len()).collect();
        order.sort_unstable_by(|a, b| column.values[*a].total_cmp(&column.values[*b]));
        let negative = column.values.iter().filter(|value| **value < 0.0).count();
        // The bin of the median of the tied values.
        let bin = |before: usize, tied: usize| {
            ((before as f64 + tied as f64 / 2.0) * bins as f64 / cells as f64) as u8
        };
        let of_zero = bin(negative, zeros);
        let mut found = vec![0; column.values.len()];
        let mut before = 0;
        for tied in order.chunk_by(|a, b| column.values[*a] == column.values[*b]) {
            let above_zero = column.values[tied[0]] > 0.0;
            let bin = bin(before + if above_zero { zeros } else { 0 }, tied.len());
            tied.iter().for_each(|index| found[*index] = bin);
            before += tied.len();
        }
        Binned::of_bins(column.cells.clone(), found, of_zero, zeros, logs)
    }

    /// Renumbers the bins, leaving out empty ones.
    fn of_bins(cells: Vec<u32>, mut bins: Vec<u8>, mut of_zero: u8, zeros: usize, logs: &Logs) -> Binned {
        let mut counts = vec![0u32; MOST_BINS];
        bins.iter().for_each(|bin| counts[usize::from(*bin)] += 1);
        counts[usize::from(of_zero)] += zeros as u32;
        let mut number = 0u8;
        let numbers: Vec<u8> = counts
            .iter()
            .map(|count| {
                let this = number;
                number = number.wrapping_add(u8::from(*count > 0));
                this
            })
            .collect();
        bins.iter_mut().for_each(|bin| *bin = numbers[usize::from(*bin)]);
        of_zero = if zeros > 0 { numbers[usize::from(of_zero)] } else { 0 };
        counts.retain(|count| *count > 0);
        let logs = logs.sum(&counts);
        Binned { cells, bins, of_zero, counts, logs }
    }

    /// The bin in every cell.
    fn spread(&self, cells: usize) -> Vec<u8> {
        let mut bins = vec![self.of_zero; cells];
        self.cells.iter().zip(&self.bins).for_each(|(cell, bin)| bins[*cell as usize] = *bin);
        bins
    }
}

/// H(tf) + H(target) - H(tf, target), minus its bias, and at least 0. `bins` has the TF's bin in every cell.
fn information(tf: &Binned, bins: &[u8], target: &Binned, logs: &Logs) -> f64 {
    let (rows, columns) = (tf.counts.len(), target.counts.len());
    if rows < 2 || columns < 2 {
        return 0.0;
    }
    let mut joint = vec![0u32; rows * columns];
    for (cell, bin) in target.cells.iter().zip(&target.bins) {
        joint[usize::from(bins[*cell as usize]) * columns + usize::from(*bin)] += 1;
    }
    // For cells in which the target is zero: each TF bin minus the cells already counted.
    for (row, count) in joint.chunks_exact_mut(columns).zip(&tf.counts) {
        let counted: u32 = row.iter().sum();
        row[usize::from(target.of_zero)] += count - counted;
    }
    let cells = bins.len();
    let entropies = logs.0[cells] - tf.logs - target.logs + logs.sum(&joint);
    let occupied = joint.iter().filter(|count| **count > 0).count() as f64;
    let bias = (occupied - rows as f64 - columns as f64 + 1.0) / 2.0;
    ((entropies - bias) / cells as f64).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::random::Random;

    fn binned(values: &[f32], bins: usize) -> Binned {
        let there = || values.iter().enumerate().filter(|(_, value)| **value != 0.0);
        let column = Column {
            cells: there().map(|(cell, _)| cell as u32).collect(),
            values: there().map(|(_, value)| *value).collect(),
        };
        Binned::new(&column, values.len(), bins, &Logs::new(values.len()))
    }

    fn of(a: &[f32], b: &[f32], bins: usize) -> f64 {
        let (a, b, logs) = (binned(a, bins), binned(b, bins), Logs::new(a.len()));
        information(&a, &a.spread(b.cells.len().max(logs.0.len() - 1)), &b, &logs)
    }

    #[test]
    fn bins_hold_as_many_cells_and_equal_values_share_one() {
        let even = binned(&[5.0, -1.0, 2.0, 0.0, 7.0, -3.0, 9.0, 1.0], 4);
        assert_eq!(even.counts, [2, 2, 2, 2]);
        assert_eq!(even.spread(8), [2, 0, 2, 1, 3, 0, 3, 1]);
        let mostly_zero = binned(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0], 4);
        assert_eq!(mostly_zero.counts, [6, 2]);
        assert_eq!(binned(&[3.0; 5], 4).counts, [5]);
        assert_eq!(binned(&[0.0; 5], 4).counts, [5]);
    }

    #[test]
    fn information_is_as_by_hand() {
        // Two equal genes with two bins: log 2, minus (2 - 2 - 2 + 1) / 8.
        let same = of(&[0.0, 0.0, 1.0, 1.0], &[4.0, 4.0, 0.0, 0.0], 2);
        assert!((same - (2f64.ln() + 0.125)).abs() < 1e-12, "{same}");
        assert_eq!(of(&[0.0, 1.0, 0.0, 1.0], &[0.0, 0.0, 1.0, 1.0], 2), 0.0);
        assert_eq!(of(&[1.0; 4], &[0.0, 0.0, 1.0, 1.0], 2), 0.0);
    }

    #[test]
    fn noise_tells_nothing_on_average_and_a_parabola_much() {
        let mut random = Random::new(1, 0);
        let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| random.normal() as f32).collect() };
        let noise: f64 = (0..100).map(|_| of(&draw(300), &draw(300), 8)).sum::<f64>() / 100.0;
        assert!(noise < 0.02, "{noise}");
        let values = draw(300);
        let squares: Vec<f32> = values.iter().map(|value| value * value).collect();
        assert!(of(&values, &squares, 8) > 0.8);
    }
}
