//! Selects rows and standardises columns with moments that were computed earlier.
//!
//! y_i = (x_{r_i} - m) s, and (0 - m) s where the row is `None`. Backward: dx_{r_i} += dy_i s.

mod cuda;

use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};
use rayon::prelude::*;
use std::sync::Arc;

/// The rows of one task.
const ROWS: usize = 256;

/// The moments that bring columns to mean 0 and deviation 1.
#[derive(Debug, Clone)]
pub struct Moments {
    /// For each column its mean and 1 / its deviation, or 0 if all its values are equal.
    columns: Arc<[(f64, f64)]>,
}

impl Moments {
    /// The moments of these rows.
    pub fn of(values: &[f32], columns: usize) -> Moments {
        let rows = values.len() / columns.max(1);
        let moments = (0..columns).into_par_iter().map(|column| {
            let of_column = || values.iter().skip(column).step_by(columns).map(|value| f64::from(*value));
            let mean = of_column().sum::<f64>() / rows as f64;
            let variance =
                of_column().map(|value| (value - mean) * (value - mean)).sum::<f64>() / rows as f64;
            (mean, if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 })
        });
        Moments { columns: moments.collect::<Vec<_>>().into() }
    }

    /// The identity, for columns that are already standardised.
    pub fn none(columns: usize) -> Moments {
        Moments { columns: vec![(0.0, 1.0); columns].into() }
    }

    /// Standardises rows in place.
    pub fn apply(&self, values: &mut [f32]) {
        values.par_chunks_mut((ROWS * self.columns.len()).max(1)).for_each(|rows| {
            for row in rows.chunks_exact_mut(self.columns.len()) {
                let columns = row.iter_mut().zip(&*self.columns);
                columns
                    .for_each(|(value, (mean, scale))| *value = ((f64::from(*value) - mean) * scale) as f32);
            }
        });
    }
}

/// The standardised rows in this order, each used at most once; `None` counts as a row of zeros.
pub fn standardise<T: Tape>(x: Tensor<T>, rows: &Arc<[Option<u32>]>, moments: &Moments) -> Tensor<T> {
    let (height, columns) = shape(&x);
    assert_eq!(moments.columns.len(), columns, "moments for each column");
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::standardise(card, x, tape, rows, moments);
    }
    let (rows, moments) = (rows.clone(), moments.clone());
    let mut y = buffer::zeros(&device, rows.len() * columns);
    let found = values(&x);
    y.par_chunks_mut(ROWS * columns).zip(rows.par_chunks(ROWS)).for_each(|(y, rows)| {
        for (y, row) in y.chunks_exact_mut(columns).zip(rows) {
            if let Some(row) = row {
                y.copy_from_slice(&found[*row as usize * columns..][..columns]);
            }
        }
    });
    moments.apply(&mut y);
    record(&device, tape, y, (rows.len(), columns), move |flowing, gradients| {
        let mut source = vec![None; height];
        rows.iter().zip(0..).for_each(|(row, place)| {
            if let Some(row) = row {
                source[*row as usize] = Some(place);
            }
        });
        let mut dx = take(gradients, &x);
        dx.par_chunks_mut(columns).zip(source).for_each(|(dx, place)| {
            let Some(place): Option<usize> = place else { return };
            let dy = &flowing[place * columns..][..columns];
            let scaled = dx.iter_mut().zip(dy).zip(&*moments.columns);
            scaled.for_each(|((dx, dy), (_, scale))| *dx += (f64::from(*dy) * scale) as f32);
        });
        put(gradients, &x, dx);
    })
}

#[cfg(test)]
mod tests {
    use super::{Moments, standardise};
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{device, tensor, values};
    use std::sync::Arc;

    #[test]
    fn rows_are_standardised_in_the_order_asked_for() {
        let given = vec![1.0, 7.0, 3.0, 7.0, 5.0, 7.0, 7.0, 7.0];
        let moments = Moments::of(&given, 2);
        let rows: Arc<[Option<u32>]> = vec![Some(3), None, Some(0)].into();
        let found = standardise(tensor(&device(), given, 4, 2), &rows, &moments);
        // Mean 4, variance 5; a constant column becomes zeros.
        let deviation = 5f32.sqrt();
        let expected = [3.0 / deviation, 0.0, -4.0 / deviation, 0.0, -3.0 / deviation, 0.0];
        assert!(difference(values(&found), &expected) < 1e-6);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let moments = Moments::of(&normal(40 * 5, 4), 5);
        let rows: Arc<[Option<u32>]> = vec![Some(2), Some(6), None, Some(0), Some(1)].into();
        check_gradients(&[(7, 5)], 1e-3, |t| weighted_sum(standardise(t[0].retaped(), &rows, &moments)));
    }
}
