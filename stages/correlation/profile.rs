//! A gene's values over the cells, prepared for dot products.

use data::columns::Column;

/// One side of a dot product with a centred profile.
///
/// Against a centred profile any constant cancels: Σ(v − c)z = Σvz because Σz = 0. So values, or ranks minus the rank
/// of zero, stay as sparse as the counts, and a gene costs its number of non-zero values, not the number of cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    column: Column,
    mean: f64,
    /// The norm of the centred values; `None` if all values are equal.
    length: Option<f64>,
}

impl Profile {
    /// The unchanged values, for Pearson's correlation.
    pub fn of_values(column: Column, cells: usize) -> Profile {
        let zeros = (cells - column.values.len()) as f64;
        let mean = column.values.iter().map(|value| f64::from(*value)).sum::<f64>() / cells as f64;
        let around = |value: &f32| (f64::from(*value) - mean) * (f64::from(*value) - mean);
        let squares = column.values.iter().map(around).sum::<f64>() + zeros * mean * mean;
        // Decided by the values themselves, because rounding may leave a sum that should be zero slightly above it.
        let first = if zeros > 0.0 { 0.0 } else { column.values.first().copied().unwrap_or(0.0) };
        let constant = column.values.iter().all(|value| *value == first);
        Profile { column, mean, length: (!constant).then(|| libm::sqrt(squares)) }
    }

    /// Ranks minus the rank of zero, ties sharing the mean rank, for Spearman's correlation.
    pub fn of_ranks(column: Column, cells: usize) -> Profile {
        let zeros = cells - column.values.len();
        let mut order: Vec<usize> = (0..column.values.len()).collect();
        order.sort_unstable_by(|a, b| column.values[*a].total_cmp(&column.values[*b]));
        let negative = column.values.iter().filter(|value| **value < 0.0).count();
        let middle = |before: usize, tied: usize| before as f64 + (tied as f64 - 1.0) / 2.0;
        let of_zero = if zeros > 0 { middle(negative, zeros) } else { 0.0 };
        let mut ranks = vec![0.0; column.values.len()];
        let mut before = 0;
        for tied in order.chunk_by(|a, b| column.values[*a] == column.values[*b]) {
            let above_zero = column.values[tied[0]] > 0.0;
            let rank = middle(before + if above_zero { zeros } else { 0 }, tied.len()) - of_zero;
            // Halves of integers are exact in single precision up to eight million cells.
            tied.iter().for_each(|index| ranks[*index] = rank as f32);
            before += tied.len();
        }
        Profile::of_values(Column { cells: column.cells, values: ranks }, cells)
    }

    /// Whether all values are equal; such a gene correlates with nothing.
    pub fn is_constant(&self) -> bool {
        self.length.is_none()
    }

    /// Writes every cell's value, centred and scaled to unit length, at position `lane` of each group of `lanes`.
    pub fn spread(&self, into: &mut [f64], lane: usize, lanes: usize) {
        let Some(length) = self.length else { return };
        into.iter_mut().skip(lane).step_by(lanes).for_each(|place| *place = -self.mean / length);
        for (cell, value) in self.column.cells.iter().zip(&self.column.values) {
            into[*cell as usize * lanes + lane] = (f64::from(*value) - self.mean) / length;
        }
    }

    /// The correlations with `LANES` other genes whose values were interleaved by `spread`.
    pub fn correlations<const LANES: usize>(&self, spread: &[f64]) -> [f64; LANES] {
        let mut sums = [0.0; LANES];
        let Some(length) = self.length else { return sums };
        let (others, _) = spread.as_chunks::<LANES>();
        for (cell, value) in self.column.cells.iter().zip(&self.column.values) {
            let value = f64::from(*value);
            sums.iter_mut().zip(&others[*cell as usize]).for_each(|(sum, other)| *sum += value * other);
        }
        // Clamped, because rounding may exceed the range of a correlation.
        sums.map(|sum| (sum / length).clamp(-1.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f32]) -> Column {
        let there = || values.iter().enumerate().filter(|(_, value)| **value != 0.0);
        Column {
            cells: there().map(|(cell, _)| cell as u32).collect(),
            values: there().map(|(_, value)| *value).collect(),
        }
    }

    fn correlation(of: fn(Column, usize) -> Profile, a: &[f32], b: &[f32]) -> f64 {
        let mut spread = vec![0.0; a.len() * 2];
        of(column(a), a.len()).spread(&mut spread, 1, 2);
        of(column(b), b.len()).correlations::<2>(&spread)[1]
    }

    #[test]
    fn pearson_is_as_by_hand() {
        // Deviations (-1.5, -0.5, 0.5, 1.5) and (-1, 1, -1, 1): 2 / sqrt(5 · 4).
        let found = correlation(Profile::of_values, &[0.0, 1.0, 2.0, 3.0], &[0.0, 2.0, 0.0, 2.0]);
        assert!((found - 2.0 / 20f64.sqrt()).abs() < 1e-12, "{found}");
        let opposite = correlation(Profile::of_values, &[0.0, 1.0, 2.0], &[5.0, 3.0, 1.0]);
        assert!((opposite + 1.0).abs() < 1e-12);
    }

    #[test]
    fn spearman_gives_ties_the_middle_of_their_ranks() {
        // Ranks (1.5, 1.5, 3, 4) and (1, 2, 3.5, 3.5): 4 / 4.5.
        let found = correlation(Profile::of_ranks, &[0.0, 0.0, 1.0, 9.0], &[-2.0, 0.0, 7.0, 7.0]);
        assert!((found - 4.0 / 4.5).abs() < 1e-12, "{found}");
        let monotone = correlation(Profile::of_ranks, &[-3.0, -1.0, 0.0, 0.5], &[1.0, 2.0, 30.0, 400.0]);
        assert!((monotone - 1.0).abs() < 1e-12, "{monotone}");
    }

    #[test]
    fn equal_values_are_constant_whatever_rounding_leaves() {
        for values in [&[0.0, 0.0, 0.0][..], &[0.1, 0.1, 0.1], &[]] {
            assert!(Profile::of_values(column(values), values.len().max(1)).is_constant(), "{values:?}");
            assert!(Profile::of_ranks(column(values), values.len().max(1)).is_constant(), "{values:?}");
        }
        assert!(!Profile::of_values(column(&[0.1, 0.0, 0.1]), 3).is_constant());
        assert_eq!(correlation(Profile::of_values, &[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), 0.0);
        assert_eq!(correlation(Profile::of_values, &[1.0, 2.0, 3.0], &[0.1, 0.1, 0.1]), 0.0);
    }
}
