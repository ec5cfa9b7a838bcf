//! Small dense linear algebra in double precision, always in the same order of operations.

use data::random::Random;
use rayon::prelude::*;
use tensor::simd::dot;

/// Solves A x = b in place for a symmetric positive definite, row-major A (Cholesky).
///
/// `None` if A is not positive definite.
pub fn solve(matrix: &mut [f64], values: &mut [f64]) -> Option<()> {
    let size = values.len();
    factor(matrix, size)?;
    substitute(matrix, values);
    Some(())
}

/// The inverse of a symmetric positive definite matrix; `None` if it is not.
pub fn inverse(mut matrix: Vec<f64>, size: usize) -> Option<Vec<f64>> {
    factor(&mut matrix, size)?;
    let mut inverse = vec![0.0; size * size];
    inverse.par_chunks_mut(size.max(1)).enumerate().for_each(|(place, column)| {
        column[place] = 1.0;
        substitute(&matrix, column);
    });
    Some(inverse)
}

/// A = L Lᵀ for a symmetric positive definite A; L overwrites its lower half. `None` if A is not positive definite.
pub fn factor(matrix: &mut [f64], size: usize) -> Option<()> {
    for row in 0..size {
        let (above, this) = matrix.split_at_mut(row * size);
        for column in 0..=row {
            let other = if column == row { None } else { Some(&above[column * size..][..column]) };
            let left = match other {
                Some(other) => dot(&this[..column], other),
                None => dot(&this[..column], &this[..column]),
            };
            let rest = this[column] - left;
            this[column] = match other {
                Some(_) => rest / above[column * size + column],
                None if rest > 0.0 => libm::sqrt(rest),
                None => return None,
            };
        }
    }
    Some(())
}

/// Solves L x = b in place.
pub fn substitute_forward(factor: &[f64], values: &mut [f64]) {
    let size = values.len();
    for row in 0..size {
        let known = dot(&factor[row * size..][..row], &values[..row]);
        values[row] = (values[row] - known) / factor[row * size + row];
    }
}

/// Solves L Lᵀ x = b in place.
fn substitute(factor: &[f64], values: &mut [f64]) {
    let size = values.len();
    substitute_forward(factor, values);
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|below| factor[below * size + row] * values[below]).sum();
        values[row] = (values[row] - known) / factor[row * size + row];
    }
}

/// Eigenvalues in descending order, with the eigenvectors as rows, of a symmetric matrix (Jacobi rotations).
fn eigen(mut matrix: Vec<f64>, size: usize) -> Vec<(f64, Vec<f64>)> {
    const SWEEPS: usize = 60;
    let mut vectors = vec![0.0; size * size];
    (0..size).for_each(|place| vectors[place * size + place] = 1.0);
    for _ in 0..SWEEPS {
        let off: f64 = (0..size)
            .flat_map(|row| (0..row).map(move |column| (row, column)))
            .map(|(r, c)| matrix[r * size + c].powi(2))
            .sum();
        let all: f64 = matrix.iter().map(|value| value * value).sum();
        if off <= all * 1e-28 {
            break;
        }
        for p in 0..size {
            for q in p + 1..size {
                let (pp, qq, pq) = (matrix[p * size + p], matrix[q * size + q], matrix[p * size + q]);
                if pq == 0.0 {
                    continue;
                }
                let theta = (qq - pp) / (2.0 * pq);
                let t = theta.signum() / (theta.abs() + libm::sqrt(theta * theta + 1.0));
                let c = 1.0 / libm::sqrt(t * t + 1.0);
                let s = t * c;
                for k in 0..size {
                    let (a, b) = (matrix[k * size + p], matrix[k * size + q]);
                    matrix[k * size + p] = c * a - s * b;
                    matrix[k * size + q] = s * a + c * b;
                }
                for k in 0..size {
                    let (a, b) = (matrix[p * size + k], matrix[q * size + k]);
                    matrix[p * size + k] = c * a - s * b;
                    matrix[q * size + k] = s * a + c * b;
                    let (a, b) = (vectors[p * size + k], vectors[q * size + k]);
                    vectors[p * size + k] = c * a - s * b;
                    vectors[q * size + k] = s * a + c * b;
                }
            }
        }
    }
    let mut pairs: Vec<(f64, Vec<f64>)> = (0..size)
        .map(|place| (matrix[place * size + place], vectors[place * size..][..size].to_vec()))
        .collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs
}

/// Extra directions and extra rounds: together they make the last components as accurate as the first.
const SPARE: usize = 10;
const ROUNDS: usize = 12;
/// Columns summed per task.
const COLUMNS: usize = 64;

/// The principal components of the rows of a matrix: each row's coordinates along the `count` directions of greatest
/// variance. Fewer if the matrix has fewer rows or columns. Prereq: the mean over rows was subtracted, unless it should
/// count.
///
/// By subspace iteration from random directions (Halko et al. 2011).
pub fn principal_components(matrix: &[f32], columns: usize, count: usize) -> (Vec<f64>, usize) {
    let rows = matrix.len() / columns.max(1);
    let count = count.min(rows).min(columns);
    let width = (count + SPARE).min(rows).min(columns);
    if count == 0 {
        return (Vec::new(), 0);
    }
    let mut random = Random::new(0, 0);
    let mut directions: Vec<f64> = (0..columns * width).map(|_| random.normal()).collect();
    let mut places = Vec::new();
    for _ in 0..ROUNDS {
        orthonormalise(&mut directions, width);
        places = times(matrix, columns, &directions, width);
        directions = transposed_times(matrix, columns, &places, width);
    }
    // The axes within that subspace (Rayleigh and Ritz).
    let square = |a: usize, b: usize| places.chunks_exact(width).map(|row| row[a] * row[b]).sum::<f64>();
    let squares: Vec<f64> = (0..width * width).map(|place| square(place / width, place % width)).collect();
    let axes = eigen(squares, width);
    let along = |row: &[f64]| axes[..count].iter().map(|(_, axis)| dot(row, axis)).collect::<Vec<_>>();
    (places.chunks_exact(width).flat_map(along).collect(), count)
}

/// The directions that principal components lie along, each of length 1: columns × `count`. `places` are the rows'
/// coordinates along them.
pub fn directions(matrix: &[f32], columns: usize, places: &[f64], count: usize) -> Vec<f64> {
    if count == 0 {
        return Vec::new();
    }
    let length = |at: usize| places.chunks_exact(count).map(|row| row[at] * row[at]).sum::<f64>().max(1e-12);
    let lengths: Vec<f64> = (0..count).map(length).collect();
    let mut directions = transposed_times(matrix, columns, places, count);
    for row in directions.chunks_exact_mut(count) {
        row.iter_mut().zip(&lengths).for_each(|(value, length)| *value /= length);
    }
    directions
}

/// A rows × columns matrix times a columns × width one.
fn times(matrix: &[f32], columns: usize, right: &[f64], width: usize) -> Vec<f64> {
    let rows = matrix.len() / columns;
    let mut product = vec![0.0; rows * width];
    product.par_chunks_mut(width).zip(matrix.par_chunks(columns)).for_each(|(out, row)| {
        for (value, right) in row.iter().zip(right.chunks_exact(width)) {
            let value = f64::from(*value);
            out.iter_mut().zip(right).for_each(|(out, right)| *out += value * right);
        }
    });
    product
}

/// A columns × rows matrix times a rows × width one.
fn transposed_times(matrix: &[f32], columns: usize, right: &[f64], width: usize) -> Vec<f64> {
    let mut product = vec![0.0; columns * width];
    product.par_chunks_mut(width * COLUMNS).enumerate().for_each(|(block, out)| {
        let first = block * COLUMNS;
        for (row, right) in matrix.chunks_exact(columns).zip(right.chunks_exact(width)) {
            for (out, value) in out.chunks_exact_mut(width).zip(&row[first..]) {
                let value = f64::from(*value);
                out.iter_mut().zip(right).for_each(|(out, right)| *out += value * right);
            }
        }
    });
    product
}

/// Orthonormalises the columns of a matrix (Gram and Schmidt, twice). A column that depends on those before becomes 0,
/// because normalising its rounding error would count a direction twice.
fn orthonormalise(matrix: &mut [f64], width: usize) {
    let length = |matrix: &[f64], column: usize| {
        libm::sqrt(matrix.chunks_exact(width).map(|row| row[column] * row[column]).sum())
    };
    for column in 0..width {
        let before = length(matrix, column);
        for other in (0..column).chain(0..column) {
            let along: f64 = matrix.chunks_exact(width).map(|row| row[column] * row[other]).sum();
            matrix.chunks_exact_mut(width).for_each(|row| row[column] -= along * row[other]);
        }
        let left = length(matrix, column);
        let scale = if left > 1e-10 * before { 1.0 / left } else { 0.0 };
        matrix.chunks_exact_mut(width).for_each(|row| row[column] *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_and_a_matrix_inverted() {
        let matrix = vec![4.0, 1.0, 0.5, 1.0, 3.0, -1.0, 0.5, -1.0, 2.0];
        let mut values = [1.0, 2.0, 3.0];
        solve(&mut matrix.clone(), &mut values).unwrap();
        for (row, expected) in matrix.chunks(3).zip([1.0, 2.0, 3.0]) {
            assert!((dot(row, &values) - expected).abs() < 1e-12);
        }
        let inverse = inverse(matrix.clone(), 3).unwrap();
        for (place, row) in matrix.chunks(3).enumerate() {
            for column in 0..3 {
                let entry: f64 = (0..3).map(|k| row[k] * inverse[k * 3 + column]).sum();
                assert!((entry - f64::from(u8::from(place == column))).abs() < 1e-12);
            }
        }
        assert!(solve(&mut [1.0, 2.0, 2.0, 1.0], &mut [1.0, 1.0]).is_none());
    }

    #[test]
    fn components_are_the_axes_in_their_order() {
        let mut random = Random::new(4, 1);
        let (rows, columns) = (200, 40);
        // Three directions of standard deviations 9, 5 and 3 in noise of .1.
        let axes: Vec<Vec<f64>> = (0..3)
            .map(|axis| {
                (0..columns).map(|column| f64::from(u8::from(column % 3 == axis)) / 14f64.sqrt()).collect()
            })
            .collect();
        let places: Vec<[f64; 3]> =
            (0..rows).map(|_| [9.0, 5.0, 3.0].map(|spread| spread * random.normal())).collect();
        let value = |place: &[f64; 3], column: usize| {
            place.iter().zip(&axes).map(|(place, axis)| place * axis[column]).sum::<f64>()
        };
        let matrix: Vec<f32> = places
            .iter()
            .flat_map(|place| (0..columns).map(|column| (value(place, column)) as f32).collect::<Vec<_>>())
            .collect();
        let (found, count) = principal_components(&matrix, columns, 3);
        assert_eq!((found.len(), count), (3 * rows, 3));
        let spread = |axis: usize| {
            (found.chunks(3).map(|row| row[axis] * row[axis]).sum::<f64>() / rows as f64).sqrt()
        };
        assert!(
            (spread(0) - 9.0).abs() < 1.5 && (spread(1) - 5.0).abs() < 1.0 && (spread(2) - 3.0).abs() < 0.6
        );
        let across: f64 = found.chunks(3).map(|row| row[0] * row[1]).sum::<f64>() / rows as f64;
        assert!(across.abs() < 1e-6, "{across}");
    }
}
