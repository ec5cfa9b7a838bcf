//! Features of a gene's expression, by which targets of one TF may resemble each other.

use super::groups::Groups;
use crate::kit::trees::Features;
use data::columns::Columns;
use data::embeddings::Embeddings;
use learn::linear::principal_components;
use rayon::prelude::*;
use tensor::simd::dot;

/// The numbers of principal components: of the profiles, of what is left of them within groups, and of the given
/// vectors.
const OF_PROFILES: usize = 10;
const WITHIN_GROUPS: usize = 20;
const OF_VECTORS: usize = 20;
/// The number of nearest genes whose components are averaged.
const NEAREST: usize = 10;
/// The number of features of a gene in each group of cells.
const NUMBERS: usize = 5;

/// For each gene, over all cells and in each group: mean, standard deviation, share of cells above zero, and mean and
/// standard deviation in those cells. Principal components of its profile, and of the residual after subtracting the
/// means of groups and of cells; of the latter also the mean over the genes that correlate with it most. Components of
/// its vector.
///
/// These features were selected on the validation pairs of a network whose genes were held out.
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
    let places = components(&within, cells, WITHIN_GROUPS);
    features.extend(of_nearest(&within, cells, &places));
    features.extend(places);
    if let Some(mut vectors) = vectors {
        take_column_means(&mut vectors.values, vectors.dimensions);
        features.extend(components(&vectors.values, vectors.dimensions, OF_VECTORS));
    }
    Features::new(features)
}

/// Subtracts the means of groups and of cells.
fn leave_what_is_within(values: &mut [f32], cells: usize, groups: &Groups) {
    values.par_chunks_mut(cells).for_each(|row| take_means(row, &groups.of_cells, groups.count));
    take_column_means(values, cells);
    values.par_chunks_mut(cells).for_each(standardise);
}

/// The statistics over all cells and in each group, as columns.
fn statistics(values: &[f32], cells: usize, groups: &Groups) -> Vec<Vec<f32>> {
    let all = vec![0; cells];
    let mut sets: Vec<(&[usize], usize)> = vec![(&all, 0)];
    if groups.count > 1 {
        sets.extend((0..groups.count).map(|group| (groups.of_cells.as_slice(), group)));
    }
    let of_set = |(of_cells, group): (&[usize], usize)| {
        let of_gene = |row: &[f32]| -> [f64; NUMBERS] {
            let inside = row.iter().zip(of_cells).filter(|(_, of)| **of == group);
            let inside: Vec<f64> = inside.map(|(value, _)| f64::from(*value)).collect();
            let found: Vec<f64> = inside.iter().copied().filter(|value| *value > 0.0).collect();
            let (mean, deviation) = moments(&inside);
            let (mean_of_found, deviation_of_found) = moments(&found);
            let share = found.len() as f64 / inside.len().max(1) as f64;
            [mean, deviation, share, mean_of_found, deviation_of_found]
        };
        let rows: Vec<[f64; NUMBERS]> = values.par_chunks(cells).map(of_gene).collect();
        (0..NUMBERS).map(|place| rows.iter().map(|row| row[place] as f32).collect()).collect::<Vec<_>>()
    };
    sets.into_iter().flat_map(of_set).collect()
}

/// Mean and standard deviation; 0 if there are no values.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (mean, libm::sqrt(squares / count))
}

/// Averages each column over the other genes whose rows correlate most with a gene's. Prereq: rows have length 1.
fn of_nearest(rows: &[f32], cells: usize, columns: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let genes = rows.len() / cells;
    let nearest: Vec<Vec<usize>> = (0..genes)
        .into_par_iter()
        .map(|gene| {
            let row = |gene: usize| &rows[gene * cells..][..cells];
            let mut others: Vec<(f32, usize)> = (0..genes)
                .filter(|other| *other != gene)
                .map(|other| (dot(row(gene), row(other)), other))
                .collect();
            let near = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            if others.len() > NEAREST {
                others.select_nth_unstable_by(NEAREST, near);
                others.truncate(NEAREST);
            }
            // Sorted, so that the order of the sums does not depend on how the genes were found.
            others.sort_unstable_by(near);
            others.into_iter().map(|(_, other)| other).collect()
        })
        .collect();
    let mean = |column: &Vec<f32>, of: &Vec<usize>| {
        of.iter().map(|other| column[*other]).sum::<f32>() / of.len().max(1) as f32
    };
    columns.iter().map(|column| nearest.iter().map(|of| mean(column, of)).collect()).collect()
}

/// The principal components as columns.
fn components(rows: &[f32], columns: usize, count: usize) -> Vec<Vec<f32>> {
    let (places, count) = principal_components(rows, columns, count);
    (0..count).map(|axis| places.chunks_exact(count).map(|row| row[axis] as f32).collect()).collect()
}

/// Subtracts from each value the mean of its group.
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

/// Scales to mean 0 and length 1; a row of equal values becomes 0.
fn standardise(row: &mut [f32]) {
    let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / row.len() as f64;
    row.iter_mut().for_each(|value| *value = (f64::from(*value) - mean) as f32);
    let length = libm::sqrt(row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>());
    let scale = if length > 1e-6 { 1.0 / length } else { 0.0 };
    row.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
}

/// Subtracts from each value the mean of its column.
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
    use data::columns::Column;
    use data::random::Random;

    #[test]
    fn what_groups_and_cells_share_is_not_taken_for_likeness() {
        let mut random = Random::new(1, 0);
        let groups = Groups { of_cells: (0..200).map(|cell| cell / 100).collect(), count: 2 };
        // All genes vary with the group and with the depth of the cell; the first ten share a further factor.
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
        assert_eq!(
            (features.count(), features.samples()),
            (3 * NUMBERS + OF_PROFILES + 2 * WITHIN_GROUPS, 40)
        );
        leave_what_is_within(&mut within, 200, &groups);
        let together = |a: usize, b: usize| -> f32 {
            within[a * 200..][..200].iter().zip(&within[b * 200..][..200]).map(|(a, b)| a * b).sum()
        };
        assert!(together(0, 1) > 0.7, "{}", together(0, 1));
        assert!(together(20, 30).abs() < 0.3, "{}", together(20, 30));
        assert!((together(4, 4) - 1.0).abs() < 1e-5);
    }
}
