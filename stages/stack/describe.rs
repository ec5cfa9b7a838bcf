//! What a gene's expression looks like: numbers by which targets of one TF may be alike.

use super::groups::Groups;
use crate::kit::columns::Columns;
use crate::kit::embeddings::Embeddings;
use crate::kit::linear::principal_components;
use crate::kit::trees::Features;
use rayon::prelude::*;

/// Principal components of the profiles, of what is left of them within groups, and of the vectors given.
const OF_PROFILES: usize = 10;
const WITHIN_GROUPS: usize = 20;
const OF_VECTORS: usize = 20;

/// For each gene its mean, its share of cells above zero and its standard deviation, over all cells and in each group;
/// principal components of its profile, of what is left of it without the means of groups and of cells, and of its
/// vector.
pub fn describe(columns: &Columns, groups: &Groups, vectors: Option<Embeddings>) -> Features {
    let (genes, cells) = (columns.genes.len(), columns.ids.len());
    let mut values = vec![0.0f32; genes * cells];
    for (row, column) in values.chunks_exact_mut(cells).zip(&columns.genes) {
        column.cells.iter().zip(&column.values).for_each(|(cell, value)| row[*cell as usize] = *value);
    }
    let mut features = statistics(&values, cells, groups);
    let mut profiles = values.clone();
    profiles.par_chunks_mut(cells).for_each(standardise);
    take_column_means(&mut profiles, cells);
    features.extend(components(&profiles, cells, OF_PROFILES));
    drop(profiles);
    let mut within = values;
    leave_what_is_within(&mut within, cells, groups);
    features.extend(components(&within, cells, WITHIN_GROUPS));
    if let Some(mut vectors) = vectors {
        take_column_means(&mut vectors.values, vectors.dimensions);
        features.extend(components(&vectors.values, vectors.dimensions, OF_VECTORS));
    }
    Features::new(features)
}

/// Takes away what groups and cells share.
fn leave_what_is_within(values: &mut [f32], cells: usize, groups: &Groups) {
    values.par_chunks_mut(cells).for_each(|row| take_means(row, &groups.of_cells, groups.count));
    take_column_means(values, cells);
    values.par_chunks_mut(cells).for_each(standardise);
}

/// Columns of three numbers for each group of cells.
fn statistics(values: &[f32], cells: usize, groups: &Groups) -> Vec<Vec<f32>> {
    let all = vec![0; cells];
    let mut sets: Vec<(&[usize], usize)> = vec![(&all, 0)];
    if groups.count > 1 {
        sets.extend((0..groups.count).map(|group| (groups.of_cells.as_slice(), group)));
    }
    let of_set = |(of_cells, group): (&[usize], usize)| {
        let rows: Vec<[f64; 3]> = values
            .par_chunks(cells)
            .map(|row| {
                let inside =
                    || row.iter().zip(of_cells).filter(|(_, of)| **of == group).map(|(value, _)| *value);
                let count = inside().count().max(1) as f64;
                let mean = inside().map(f64::from).sum::<f64>() / count;
                let squares: f64 =
                    inside().map(|value| (f64::from(value) - mean) * (f64::from(value) - mean)).sum();
                let found = inside().filter(|value| *value > 0.0).count() as f64;
                [mean, found / count, libm::sqrt(squares / count)]
            })
            .collect();
        (0..3).map(|place| rows.iter().map(|row| row[place] as f32).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    sets.into_iter().flat_map(of_set).collect()
}

/// The principal components as columns.
fn components(rows: &[f32], columns: usize, count: usize) -> Vec<Vec<f32>> {
    let (places, count) = principal_components(rows, columns, count);
    (0..count).map(|axis| places.chunks_exact(count).map(|row| row[axis] as f32).collect()).collect()
}

/// Takes from each value the mean of its group.
fn take_means(row: &mut [f32], of_cells: &[usize], count: usize) {
    let mut sums = vec![(0.0, 0.0); count];
    for (value, group) in row.iter().zip(of_cells) {
        sums[*group].0 += f64::from(*value);
        sums[*group].1 += 1.0;
    }
    for (value, group) in row.iter_mut().zip(of_cells) {
        let (sum, cells) = sums[*group];
        *value = (f64::from(*value) - sum / cells) as f32;
    }
}

/// Takes the mean away and makes the length 1; a row of equal values becomes 0.
fn standardise(row: &mut [f32]) {
    let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / row.len() as f64;
    row.iter_mut().for_each(|value| *value = (f64::from(*value) - mean) as f32);
    let length = libm::sqrt(row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>());
    let scale = if length > 1e-6 { 1.0 / length } else { 0.0 };
    row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
}

/// Takes from each value the mean of its column.
fn take_column_means(values: &mut [f32], columns: usize) {
    if columns == 0 {
        return;
    }
    let rows = (values.len() / columns).max(1) as f64;
    let mut sums = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for row in values.chunks_exact_mut(columns) {
        row.iter_mut().zip(&sums).for_each(|(value, sum)| *value = (f64::from(*value) - sum / rows) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kit::columns::Column;
    use crate::kit::random::Random;

    #[test]
    fn what_groups_and_cells_share_is_not_taken_for_likeness() {
        let mut random = Random::new(1, 0);
        let groups = Groups { of_cells: (0..200).map(|cell| cell / 100).collect(), count: 2 };
        // All genes rise with the group and with the depth of the cell; the first ten share something more.
        let cells: Vec<(f64, f64)> = (0..200).map(|_| (random.normal(), random.normal())).collect();
        let mut gene = |number: usize| {
            let mut value = |(cell, (depth, shared)): (usize, &(f64, f64))| {
                let own = if number < 10 { *shared } else { random.normal() };
                (5.0 + 3.0 * (cell / 100) as f64 + depth + own + 0.3 * random.normal()) as f32
            };
            Column { cells: (0..200).collect(), values: cells.iter().enumerate().map(&mut value).collect() }
        };
        let genes: Vec<Column> = (0..40).map(&mut gene).collect();
        let mut within: Vec<f32> = genes.iter().flat_map(|column| column.values.clone()).collect();
        let features =
            describe(&Columns { ids: (0..200).map(|cell| cell.to_string()).collect(), genes }, &groups, None);
        assert_eq!((features.count(), features.samples()), (9 + OF_PROFILES + WITHIN_GROUPS, 40));
        leave_what_is_within(&mut within, 200, &groups);
        let together = |a: usize, b: usize| -> f32 {
            within[a * 200..][..200].iter().zip(&within[b * 200..][..200]).map(|(a, b)| a * b).sum()
        };
        assert!(together(0, 1) > 0.7, "{}", together(0, 1));
        assert!(together(20, 30).abs() < 0.3, "{}", together(20, 30));
        assert!((together(4, 4) - 1.0).abs() < 1e-5);
    }
}
