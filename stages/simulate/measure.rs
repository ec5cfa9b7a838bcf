//! Simulates the measurement of a cell's expression by sequencing.

use data::random::Random;

/// Random streams below the seed, apart from those of the cells.
const COUNT_STREAM: u64 = 1 << 40;
const DROP_STREAM: u64 = 1 << 41;
/// The mean molecule count of a gene in a cell, about that of a well expressed gene in droplet data.
const MEAN_COUNT: f64 = 4.0;
/// The standard deviation of the log total yield of a cell, as in droplet data.
const DEPTH_SPREAD: f64 = 0.3;

/// Turns expression into molecule counts.
pub fn count(cells: &mut [Vec<f64>], seed: u64) {
    let values = cells.iter().map(Vec::len).sum::<usize>().max(1) as f64;
    let mean = cells.iter().flatten().sum::<f64>() / values;
    if mean <= 0.0 {
        return;
    }
    for (cell, expression) in cells.iter_mut().enumerate() {
        let mut random = Random::new(seed, COUNT_STREAM + cell as u64);
        let depth = libm::exp(DEPTH_SPREAD * random.normal()) * MEAN_COUNT / mean;
        for value in expression {
            *value = random.poisson(*value * depth) as f64;
        }
    }
}

/// Sets, of each gene's values, the lowest `share` to zero, each with probability `share` (Pratapa et al. 2020).
pub fn drop(cells: &mut [Vec<f64>], share: f64, seed: u64) {
    let genes = cells.first().map_or(0, Vec::len);
    for gene in 0..genes {
        let mut random = Random::new(seed, DROP_STREAM + gene as u64);
        let mut sorted: Vec<f64> = cells.iter().map(|cell| cell[gene]).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let threshold = sorted[((sorted.len() - 1) as f64 * share) as usize];
        for cell in cells.iter_mut() {
            if cell[gene] <= threshold && random.unit() < share {
                cell[gene] = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_the_proportions_of_genes() {
        let mut cells = vec![vec![1.0, 3.0]; 2000];
        count(&mut cells, 1);
        let total = |gene: usize| cells.iter().map(|cell| cell[gene]).sum::<f64>();
        assert!((total(1) / total(0) - 3.0).abs() < 0.2);
        assert!(cells.iter().flatten().all(|value| value.fract() == 0.0));
    }

    #[test]
    fn dropout_takes_low_values_only() {
        let mut cells: Vec<Vec<f64>> = (1..=1000).map(|value| vec![f64::from(value)]).collect();
        drop(&mut cells, 0.5, 1);
        let lost = cells.iter().filter(|cell| cell[0] == 0.0).count();
        assert!((200..300).contains(&lost), "{lost}");
        assert!(cells[500..].iter().all(|cell| cell[0] > 0.0));
    }
}
