//! A head that tells the type of a cell from the encodings of its genes, as scBERT's does.
//!
//! Each gene's encoding becomes one number, the numbers of all genes go through a hidden layer with GELU and dropout,
//! and a linear layer gives the logits. (The original has two hidden layers and ReLU.)

use super::layers::{Linear, List};
use super::parameters::{Named, Role};
use crate::kit::random::Random;
use crate::kit::tensor::ops::dropout::dropout;
use crate::kit::tensor::ops::reshape::reshape;
use crate::kit::tensor::tape::Tape;
use crate::kit::tensor::{Device, Tensor, shape};

/// The head.
#[derive(Debug, Clone)]
pub struct Classifier {
    summary: Linear,
    hidden: Linear,
    classes: Linear,
    positions: usize,
}

/// The sizes of a head.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Of an encoding.
    pub width: usize,
    /// Of a cell.
    pub positions: usize,
    /// Of the hidden layer.
    pub hidden: usize,
    /// How many types there are.
    pub classes: usize,
}

impl Classifier {
    /// One that has learned nothing.
    pub fn new(device: &Device, sizes: Sizes, random: &mut Random) -> Classifier {
        let Sizes { width, positions, hidden, classes } = sizes;
        let mut layer = |inputs, outputs| Linear::new(device, random, inputs, outputs, true);
        Classifier {
            summary: layer(width, 1),
            hidden: layer(positions, hidden),
            classes: layer(hidden, classes),
            positions,
        }
    }

    /// The logits of each type for each cell; `drop` is the rate of dropout and its key.
    pub fn logits<T: Tape>(&self, encodings: Tensor<T>, drop: (f32, u64)) -> Tensor<T> {
        let cells = shape(&encodings).0 / self.positions;
        let summaries = reshape(self.summary.forward(encodings), (cells, self.positions));
        self.classes.forward(dropout(self.hidden.forward_gelu(summaries), drop.0, drop.1))
    }

    /// Every tensor.
    pub fn tensors(&mut self) -> Vec<Named<'_>> {
        let mut list = List::new(Role::Trained);
        list.linear("classifier.summary", &mut self.summary);
        list.linear("classifier.hidden", &mut self.hidden);
        list.linear("classifier.classes", &mut self.classes);
        list.named()
    }
}
