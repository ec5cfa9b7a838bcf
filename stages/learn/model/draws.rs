//! Dropout keys for one step of a model with several dropout layers.

use data::random::Random;
use tensor::Tensor;
use tensor::ops::dropout::dropout;
use tensor::tape::Tape;

/// Hands out dropout keys; at test time dropout is off.
#[derive(Debug, Clone, Copy)]
pub struct Draws {
    key: Option<u64>,
    next: u64,
}

impl Draws {
    /// Without dropout.
    pub fn none() -> Draws {
        Draws { key: None, next: 0 }
    }

    /// The keys of one training step.
    pub fn new(seed: u64, step: u64) -> Draws {
        Draws { key: Some(Random::new(seed, step).bits()), next: 0 }
    }

    /// The rate and the key of the next dropout.
    pub fn next(&mut self, rate: f32) -> (f32, u64) {
        self.next += 1;
        // The lower half is the key of the generator, the upper half part of its counter.
        self.key.map_or((0.0, 0), |key| (rate, key.wrapping_add(self.next << 32)))
    }

    /// Drops a share of the elements.
    pub fn drop<T: Tape>(&mut self, x: Tensor<T>, rate: f32) -> Tensor<T> {
        let (rate, key) = self.next(rate);
        dropout(x, rate, key)
    }
}
