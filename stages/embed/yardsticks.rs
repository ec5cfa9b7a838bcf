//! What vectors hold, beside what the first principal components of the same cells hold.
//!
//! Vectors of cells are asked for the types of the cells: by the nearest other cells, and by a logistic regression of the
//! other folds. Vectors of genes are asked for known partners: how often a TF's target is more like it than another gene.

use anyhow::Result;
use contract::stage::Io;
use data::embeddings::cosine;
use data::metrics::summary::{Row, over_units};
use data::metrics::{Ranking, Scored};
use data::network::Network;
use data::random::Random;
use learn::linear::principal_components;
use learn::model::readout::standardise;
use learn::multinomial::{Multinomial, Sparse};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The most cells that are compared.
pub const MOST_CELLS: usize = 2000;
/// What is measured of vectors of cells.
const OF_CELLS: [&str; 7] = [
    "types_by_neighbours",
    "types_by_neighbours_pca",
    "types_by_neighbours_above_pca",
    "types_by_regression",
    "types_by_regression_pca",
    "types_by_regression_above_pca",
    "most_frequent_type",
];
/// What is measured of vectors of genes.
const OF_GENES: [&str; 3] = ["partners_auroc", "partners_auroc_pca", "partners_auroc_above_pca"];
/// All metrics.
pub const METRICS: [&[&str]; 2] = [&OF_CELLS, &OF_GENES];

/// Principal components per cell, and per gene.
const COMPONENTS: usize = 30;
/// Cells that vote on the type of another.
const NEIGHBOURS: usize = 15;
/// The parts of the cells whose types are told by a regression of the other parts.
const FOLDS: usize = 5;
const PENALTY: f64 = 1.0;
const FOLDS_STREAM: u64 = (1 << 53) + 1;
const BOOTSTRAP_STREAM: u64 = (1 << 53) + 2;

/// The tokens of cells, one row each.
pub struct Tokens {
    /// All rows, concatenated.
    pub values: Vec<u32>,
    /// The length of a row.
    pub positions: usize,
    /// The token that hides another.
    pub mask: u32,
}

impl Tokens {
    /// The tokens of each gene with mean 0 and deviation 1.
    fn standard(&self) -> Vec<f32> {
        let count = (self.values.len() / self.positions) as f64;
        let (mut sums, mut squares) = (vec![0.0; self.positions], vec![0.0; self.positions]);
        for cell in self.values.chunks(self.positions) {
            for ((sum, square), token) in sums.iter_mut().zip(&mut squares).zip(cell) {
                *sum += f64::from(*token);
                *square += f64::from(*token).powi(2);
            }
        }
        let means: Vec<f32> = sums.iter().map(|sum| (sum / count) as f32).collect();
        let deviation = |(sum, square): (&f64, &f64)| {
            libm::sqrt((square / count - (sum / count).powi(2)).max(0.0)) as f32
        };
        let deviations: Vec<f32> = sums.iter().zip(&squares).map(deviation).collect();
        let of_cell = |cell| standardise(cell, self.mask, &means, &deviations, 0.0);
        self.values.chunks(self.positions).flat_map(of_cell).collect()
    }
}

/// Vectors, one row each.
struct Vectors {
    values: Vec<f64>,
    width: usize,
}

impl Vectors {
    fn of(values: &[f32], width: usize) -> Vectors {
        Vectors { values: values.iter().copied().map(f64::from).collect(), width }
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..][..self.width]
    }

    /// Whether the nearest other rows, by a vote, and a regression of the other folds, tell each row's type.
    fn tell(&self, types: &[u32], seed: u64) -> [Vec<bool>; 2] {
        [self.by_neighbours(types), self.by_regression(types, seed)]
    }

    fn by_neighbours(&self, types: &[u32]) -> Vec<bool> {
        let classes = types.iter().max().map_or(0, |most| *most as usize + 1);
        let right = |row: usize| {
            let distance = |other: usize| {
                let pairs = self.row(row).iter().zip(self.row(other));
                pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>()
            };
            let mut others: Vec<(f64, usize)> = (0..types.len())
                .filter(|other| *other != row)
                .map(|other| (distance(other), other))
                .collect();
            others.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let mut votes = vec![0; classes];
            others.iter().take(NEIGHBOURS).for_each(|(_, other)| votes[types[*other] as usize] += 1);
            first_largest(&votes) == types[row] as usize
        };
        (0..types.len()).into_par_iter().map(right).collect()
    }

    fn by_regression(&self, types: &[u32], seed: u64) -> Vec<bool> {
        let classes = types.iter().max().map_or(0, |most| *most as usize + 1);
        let rows = self.standard();
        let mut order: Vec<usize> = (0..types.len()).collect();
        Random::new(seed, FOLDS_STREAM).shuffle(&mut order);
        let mut right = vec![false; types.len()];
        for fold in 0..FOLDS {
            let (judged, fitted): (Vec<_>, Vec<_>) =
                order.iter().copied().enumerate().partition(|(place, _)| place % FOLDS == fold);
            let (examples, labels): (Vec<&Sparse>, Vec<u32>) =
                fitted.iter().map(|(_, row)| (&rows[*row], types[*row])).unzip();
            let model = Multinomial::fit(&examples, &labels, self.width, classes, PENALTY);
            for (_, row) in judged {
                right[row] = first_largest(&model.logits(&rows[row])) == types[row] as usize;
            }
        }
        right
    }

    /// The rows with each column at mean 0 and deviation 1.
    fn standard(&self) -> Vec<Sparse> {
        let count = (self.values.len() / self.width.max(1)).max(1) as f64;
        let moments: Vec<(f64, f64)> = (0..self.width)
            .map(|column| {
                let values = || self.values.iter().skip(column).step_by(self.width);
                let mean = values().sum::<f64>() / count;
                let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
                (mean, if variance > 0.0 { 1.0 / libm::sqrt(variance) } else { 0.0 })
            })
            .collect();
        let standard = |row: &[f64]| {
            let columns = row.iter().zip(&moments).zip(0..);
            columns
                .map(|((value, (mean, scale)), column)| (column, ((value - mean) * scale) as f32))
                .collect()
        };
        self.values.chunks(self.width.max(1)).map(standard).collect()
    }
}

fn first_largest<T: PartialOrd>(values: &[T]) -> usize {
    (0..values.len()).fold(0, |best, place| if values[place] > values[best] { place } else { best })
}

/// How well vectors of cells tell their types. Prereq: one type and one row of tokens for each vector.
pub fn of_cells(vectors: &[f32], tokens: &Tokens, types: &[String], seed: u64, io: &Io) -> Result<Vec<Row>> {
    let names: BTreeSet<&String> = types.iter().collect();
    if names.len() < 2 || types.len() <= FOLDS {
        io.warn(format!(
            "{} cells of {} types are too few to say what the vectors tell of types",
            types.len(),
            names.len()
        ));
        return Ok(Vec::new());
    }
    let numbers: HashMap<&String, u32> = names.into_iter().zip(0..).collect();
    let types: Vec<u32> = types.iter().map(|name| numbers[name]).collect();
    let own = Vectors::of(vectors, vectors.len() / types.len()).tell(&types, seed);
    io.check_stop()?;
    let (values, width) = principal_components(&tokens.standard(), tokens.positions, COMPONENTS);
    let pca = Vectors { values, width }.tell(&types, seed);
    io.check_stop()?;
    let mut counts = vec![0; numbers.len()];
    types.iter().for_each(|of| counts[*of as usize] += 1);
    let most = first_largest(&counts) as u32;
    let share = |right: bool| f64::from(u8::from(right));
    let units = (0..types.len()).map(|cell| {
        let [near, near_pca, regression, regression_pca] =
            [own[0][cell], pca[0][cell], own[1][cell], pca[1][cell]].map(share);
        let known =
            [near, near_pca, near - near_pca, regression, regression_pca, regression - regression_pca];
        let [a, b, c, d, e, f] = known;
        (1.0, [a, b, c, d, e, f, share(types[cell] == most)])
    });
    let rows = rows(&units.collect::<Vec<_>>(), OF_CELLS, seed);
    tell(&rows, [OF_CELLS[0], OF_CELLS[1], OF_CELLS[2]], "the nearest cells tell the type", io);
    tell(&rows, [OF_CELLS[3], OF_CELLS[4], OF_CELLS[5]], "a logistic regression tells the type", io);
    Ok(rows)
}

/// How well the likeness of vectors of genes tells known partners. Prereq: one name for each vector, and for each
/// position of the tokens but the last.
pub fn of_genes(
    vectors: &[f32],
    tokens: &Tokens,
    names: &[String],
    network: &Network,
    seed: u64,
    io: &Io,
) -> Result<Vec<Row>> {
    let places: HashMap<&str, usize> = names.iter().map(String::as_str).zip(0..).collect();
    let mut partners: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (tf, target, _) in network.edges() {
        if let (Some(tf), Some(target)) = (places.get(tf), places.get(target)) {
            partners.entry(*tf).or_default().insert(*target);
        }
    }
    if partners.is_empty() {
        io.warn("no edge of the network is between genes of the vocabulary, so nothing says what the vectors hold");
        return Ok(Vec::new());
    }
    // A gene's row is how it varies over the cells.
    let standard = tokens.standard();
    let of_gene = |gene: usize| standard.iter().skip(gene).step_by(tokens.positions).copied();
    let cells = standard.len() / tokens.positions;
    let genes: Vec<f32> = (0..names.len()).flat_map(of_gene).collect();
    let (values, width) = principal_components(&genes, cells, COMPONENTS);
    io.check_stop()?;
    let pca: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    let own = centred(vectors, vectors.len() / names.len());
    let (own_width, width) = (vectors.len() / names.len(), width.max(1));
    let of_tf = |(tf, targets): (&usize, &BTreeSet<usize>)| {
        let auroc = |vectors: &[f32], width: usize| {
            let vector = |gene: usize| &vectors[gene * width..][..width];
            let scored = (0..names.len()).filter(|gene| gene != tf).map(|gene| Scored {
                score: 1.0 + cosine(vector(*tf), vector(gene)),
                edge: targets.contains(&gene),
                tf: 0,
            });
            Some(Ranking::new(scored.collect()).metrics(|_| 1)?.auroc)
        };
        let (own, pca) = (auroc(&own, own_width)?, auroc(&pca, width)?);
        Some((targets.len() as f64, [own, pca, own - pca]))
    };
    let units: Vec<(f64, [f64; 3])> = partners.par_iter().filter_map(of_tf).collect();
    let rows = rows(&units, OF_GENES, seed);
    tell(&rows, OF_GENES, "a TF's known target is more like it than another gene", io);
    Ok(rows)
}

/// Vectors less their mean: what all genes share says nothing of any.
fn centred(vectors: &[f32], width: usize) -> Vec<f32> {
    let mut vectors = vectors.to_vec();
    data::embeddings::centre(&mut vectors, width);
    vectors
}

/// Means over units by their weights, with 95 % intervals over units.
fn rows<const COUNT: usize>(units: &[(f64, [f64; COUNT])], metrics: [&str; COUNT], seed: u64) -> Vec<Row> {
    let mean = |chosen: &[usize]| {
        let (mut sums, mut weights) = ([0.0; COUNT], 0.0);
        for (weight, values) in chosen.iter().map(|unit| units[*unit]) {
            weights += weight;
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        sums.map(|sum| sum / weights)
    };
    over_units(metrics, units.len(), seed, BOOTSTRAP_STREAM, mean)
}

/// Says what the vectors and the components reach, and warns of vectors that hold less.
fn tell(rows: &[Row], [own, pca, above]: [&str; 3], what: &str, io: &Io) {
    let found = |name: &str| rows.iter().find(|row| row.metric == name);
    let (Some(own), Some(pca), Some(above)) = (found(own), found(pca), found(above)) else { return };
    let value = |row: &Row| row.value.unwrap_or(f64::NAN);
    let sentence = format!(
        "{what} in {:.3} of cases by these vectors, in {:.3} by principal components of the same cells",
        value(own),
        value(pca)
    );
    match above.interval {
        Some((_, high)) if high < 0.0 => io.warn(format!(
            "{sentence}: the model's vectors hold less; pre-train longer, on more cells, or with a `model.cell_width`"
        )),
        _ => io.note(sentence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_by_vectors_that_hold_them_and_not_by_others() {
        let mut random = Random::new(3, 0);
        let types: Vec<u32> = (0..120).map(|cell| cell % 3).collect();
        let held = types.iter().flat_map(|of| [0, 1, 2].map(|axis| 4.0 * f64::from(u8::from(*of == axis))));
        let held: Vec<f64> = held.map(|value| value + random.normal()).collect();
        let noise: Vec<f64> = (0..360).map(|_| random.normal()).collect();
        let told = |values: Vec<f64>| {
            let right = Vectors { values, width: 3 }.tell(&types, 1);
            right.map(|right| right.iter().filter(|right| **right).count())
        };
        assert!(told(held).into_iter().all(|count| count > 110));
        assert!(told(noise).into_iter().all(|count| count < 65));
    }

    #[test]
    fn means_are_by_weight_and_lie_in_their_intervals() {
        let units: Vec<(f64, [f64; 1])> =
            (1..20).map(|unit| (f64::from(unit), [f64::from(unit % 2)])).collect();
        let rows = rows(&units, ["odd"], 1);
        let expected = 100.0 / 190.0;
        assert!((rows[0].value.unwrap() - expected).abs() < 1e-12);
        let (low, high) = rows[0].interval.unwrap();
        assert!(low < expected && expected < high && low > 0.0 && high < 1.0);
    }
}
