//! The draws of dropout in one step of a model that has several.

use data::random::Random;
use tensor::Tensor;
use tensor::ops::dropout::dropout;
use tensor::tape::Tape;

/// Where the draws of dropout come from: none at test time.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    key: Option<u64>,
    next: u64,
}

impl Draws {
    /// Drops nothing.
    pub fn none() -> Draws {
        Draws { key: None, next: 0 }
    }

    /// The draws of one step below a seed.
    pub fn new(seed: u64, step: u64) -> Draws {
        Draws { key: Some(Random::new(seed, step).bits()), next: 0 }
    }

    /// The rate and the key of the next dropout.
    pub fn next(&mut self, rate: f32) -> (f32, u64) {
        self.next += 1;
        // The upper half of a key is a counter's, the lower half the key proper.
        self.key.map_or((0.0, 0), |key| (rate, key.wrapping_add(self.next << 32)))
    }

    /// Drops a share of the elements.
    pub fn drop<T: Tape>(&mut self, x: Tensor<T>, rate: f32) -> Tensor<T> {
        let (rate, key) = self.next(rate);
        dropout(x, rate, key)
    }
}
