//! Regression trees, for methods that predict a gene's expression from that of the TFs.
//!
//! scikit-learn's trees are the reference, not bit for bit but in what they draw and how they choose: Breiman's random
//! forest, the extremely randomised trees of Geurts et al. (2006), Friedman's stochastic gradient boosting. The
//! features are the same for every target, so each is sorted once; large nodes filter that order instead of sorting,
//! and smaller ones sort integers. The trees of one target are grown one after the other from a single random stream;
//! only targets run in parallel.

pub mod boosting;
pub mod forest;
pub mod outputs;
mod split;

/// One feature of all samples.
#[derive(Debug, Clone)]
struct Feature {
    values: Vec<f32>,
    /// The samples in ascending order of value.
    order: Vec<u32>,
    /// The position of each sample in that order.
    places: Vec<u32>,
}

/// The features that trees may split by.
#[derive(Debug, Clone)]
pub struct Features {
    samples: usize,
    columns: Vec<Feature>,
}

impl Features {
    /// Sorts each feature. Prereq: all have the same length, below 2^32, and finite values.
    pub fn new(columns: Vec<Vec<f32>>) -> Features {
        use rayon::prelude::*;
        let samples = columns.first().map_or(0, Vec::len);
        assert!(columns.iter().all(|column| column.len() == samples), "features of one length");
        Features { samples, columns: columns.into_par_iter().map(Feature::new).collect() }
    }

    /// The number of features.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

impl Feature {
    fn new(values: Vec<f32>) -> Feature {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|a, b| {
            values[*a as usize].total_cmp(&values[*b as usize]).then_with(|| a.cmp(b))
        });
        let mut places = vec![0; values.len()];
        order.iter().zip(0..).for_each(|(sample, place)| places[*sample as usize] = place);
        Feature { values, order, places }
    }
}
