//! Gradients of tensors, and operations on those of all parameters as one long vector.

use super::buffer::{self, Pool};
use super::card::{Memory, kernels};
use super::simd::{sum_of, vectorised};
use super::{Device, Tensor, shape};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// The elements of one task; the sums of tasks are added in order.
const PIECE: usize = 1 << 14;

/// The gradient accumulated for each tensor so far; `None` once it has been propagated.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<u64, Option<Slope>>);

#[derive(Debug)]
enum Slope {
    Host(Arc<Pool>, Vec<f32>),
    Card(Memory),
}

impl Gradients {
    /// Takes a tensor's gradient out, copied to the CPU; zeros if none was added.
    pub(super) fn take(&mut self, of: &Tensor) -> Vec<f32> {
        match self.0.insert(of.id, None).flatten() {
            Some(Slope::Host(_, values)) => values,
            Some(Slope::Card(memory)) => memory.download(),
            None => buffer::zeros(of.device(), length(of)),
        }
    }

    /// Takes a tensor's gradient out on the CPU, and whether there was one. If not, the buffer's contents are
    /// unspecified.
    pub(super) fn take_or_scratch(&mut self, of: &Tensor) -> (Vec<f32>, bool) {
        match self.0.insert(of.id, None).flatten() {
            Some(Slope::Host(_, values)) => (values, true),
            Some(Slope::Card(memory)) => (memory.download(), true),
            None => (buffer::scratch(of.device(), length(of)), false),
        }
    }

    /// Puts a gradient back from the CPU.
    pub(super) fn put(&mut self, of: &Tensor, values: Vec<f32>) {
        let slope = match of.device() {
            Device::Cpu(pool) => Slope::Host(pool.clone(), values),
            Device::Cuda(card) => Slope::Card(card.upload(&values)),
        };
        self.0.insert(of.id, Some(slope));
    }

    /// Takes a tensor's gradient out, on its card.
    pub(super) fn take_memory(&mut self, of: &Tensor) -> Memory {
        match self.0.insert(of.id, None).flatten() {
            Some(Slope::Card(memory)) => memory,
            Some(Slope::Host(_, values)) => of.memory().card().upload(&values),
            None => of.memory().card().zeros(length(of)),
        }
    }

    /// Adds to a tensor's gradient on its card.
    pub(super) fn change(&mut self, of: &Tensor, add: impl FnOnce(&mut Memory)) {
        let mut memory = self.take_memory(of);
        add(&mut memory);
        self.put_memory(of, memory);
    }

    /// Puts back what [`Gradients::take_memory`] took.
    pub(super) fn put_memory(&mut self, of: &Tensor, memory: Memory) {
        self.0.insert(of.id, Some(Slope::Card(memory)));
    }

    /// Whether a tensor's gradient has already been propagated to its inputs.
    pub(super) fn is_used_up(&self, of: &Tensor) -> bool {
        matches!(self.0.get(&of.id), Some(None))
    }
}

impl Drop for Gradients {
    fn drop(&mut self) {
        for slope in self.0.drain().filter_map(|(_, slope)| slope) {
            if let Slope::Host(pool, values) = slope {
                buffer::recycle(&Device::Cpu(pool), values);
            }
        }
    }
}

fn length(tensor: &Tensor) -> usize {
    let (rows, columns) = shape(tensor);
    rows * columns
}

/// The Euclidean norm; not finite if any element is not.
pub fn norm(gradients: &mut Gradients, parameters: &[&mut Tensor]) -> f64 {
    if let Some(card) = parameters.first().and_then(|first| first.device().card()) {
        let all: Vec<Memory> = parameters.iter().map(|parameter| gradients.take_memory(parameter)).collect();
        let squares = kernels::squares(card, &all).download();
        parameters.iter().zip(all).for_each(|(parameter, slope)| gradients.put_memory(parameter, slope));
        return squares.into_iter().map(f64::from).sum::<f64>().sqrt();
    }
    let mut sum = 0.0;
    for parameter in parameters {
        let gradient = gradients.take(parameter);
        let squares: Vec<f32> = gradient.par_chunks(PIECE).map(sum_of_squares).collect();
        sum += squares.into_iter().map(f64::from).sum::<f64>();
        gradients.put(parameter, gradient);
    }
    sum.sqrt()
}

/// Multiplies all gradients by a factor.
pub fn scale(gradients: &mut Gradients, parameters: &[&mut Tensor], factor: f32) {
    for parameter in parameters {
        match parameter.device() {
            Device::Cpu(_) => {
                let mut gradient = gradients.take(parameter);
                gradient.par_chunks_mut(PIECE).for_each(|piece| scale_piece(piece, factor));
                gradients.put(parameter, gradient);
            }
            Device::Cuda(_) => {
                let mut gradient = gradients.take_memory(parameter);
                kernels::scale(&mut gradient, factor);
                gradients.put_memory(parameter, gradient);
            }
        }
    }
}

/// Adds another set of gradients and frees it.
pub fn add(gradients: &mut Gradients, mut other: Gradients, parameters: &[&mut Tensor]) {
    for parameter in parameters {
        match parameter.device() {
            Device::Cpu(_) => {
                let (mut sum, more) = (gradients.take(parameter), other.take(parameter));
                sum.par_chunks_mut(PIECE)
                    .zip(more.par_chunks(PIECE))
                    .for_each(|(sum, more)| super::reduce::add(sum, more));
                gradients.put(parameter, sum);
                other.put(parameter, more);
            }
            Device::Cuda(_) => {
                let mut sum = gradients.take_memory(parameter);
                kernels::add(&mut sum, &other.take_memory(parameter));
                gradients.put_memory(parameter, sum);
            }
        }
    }
}

vectorised! {
    fn sum_of_squares(values: &[f32]) -> f32 {
        sum_of(values, values, |a, b| a * b)
    }
}

vectorised! {
    fn scale_piece(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{add, norm, scale};
    use crate::tape::{backward, gradient};
    use crate::testing::{normal, weighted_sum};
    use crate::{Taped, device, tensor};

    #[test]
    fn two_batches_add_up_and_are_cut_to_a_length() {
        let device = device();
        let mut a = tensor(&device, normal(40_000, 0), 200, 200);
        let gradients = || backward(weighted_sum(a.retaped::<Taped>()));
        let (mut sum, more) = (gradients(), gradients());
        let parameters = [&mut a];
        let one = norm(&mut sum, &parameters);
        add(&mut sum, more, &parameters);
        let two = norm(&mut sum, &parameters);
        let expected = normal(40_000, 999).iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt();
        assert!((one / expected - 1.0).abs() < 1e-6 && (two / expected - 2.0).abs() < 1e-6, "{one} {two}");
        scale(&mut sum, &parameters, (1.0 / two) as f32);
        assert!((norm(&mut sum, &parameters) - 1.0).abs() < 1e-6);
        assert_eq!(gradient(&mut sum, &a).len(), 40_000);
    }
}
