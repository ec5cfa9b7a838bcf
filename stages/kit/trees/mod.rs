//! Regression trees: what methods ask of which a gene's expression follows from that of the TFs.
//!
//! scikit-learn's trees are the reference, not in their bits but in what they draw and how they choose: Breiman's
//! random forest, the extremely randomised trees of Geurts et al. (2006), Friedman's stochastic gradient boosting.
//! The features are the same for every target, so each is sorted once, and a node large enough filters that order
//! instead of sorting; smaller ones sort integers. Trees of one target are grown one after the other, each from the
//! same stream of random numbers; targets are what is parallel.

pub mod boosting;
pub mod forest;
pub mod outputs;
mod split;

/// One feature over all samples.
#[derive(Debug, Clone)]
struct Feature {
    values: Vec<f32>,
    /// The samples by rising value.
    order: Vec<u32>,
    /// Where each sample stands in that order.
    places: Vec<u32>,
}

/// What trees may split by.
#[derive(Debug, Clone)]
pub struct Features {
    samples: usize,
    columns: Vec<Feature>,
}

impl Features {
    /// Sorts each feature. Prereq: all are as long, below 2^32, and finite.
    pub fn new(columns: Vec<Vec<f32>>) -> Features {
        use rayon::prelude::*;
        let samples = columns.first().map_or(0, Vec::len);
        assert!(columns.iter().all(|column| column.len() == samples), "features of one length");
        Features { samples, columns: columns.into_par_iter().map(Feature::new).collect() }
    }

    /// How many features there are.
    pub fn count(&self) -> usize {
        self.columns.len()
    }

    /// How many values each has.
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
