//! Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), all parameters in one pass.
//!
//! m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g², p ← p - rate · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε).
//! Decay through the loss adds decay · p to g first; decoupled decay (AdamW) takes rate · decay · p off p.

mod cpu;

use crate::kit::tensor::tape::{put, take};
use crate::kit::tensor::{Gradients, Tensor, buffer, shape, tensor, values};

/// What stays the same from step to step; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// β₁ and β₂.
    pub betas: (f32, f32),
    /// ε, added outside the root.
    pub epsilon: f32,
    /// How weights are drawn towards zero.
    pub decay: Decay,
}

/// How weights are drawn towards zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// Not at all.
    None,
    /// As if half the decay times the squared weights were part of the loss.
    Loss(f32),
    /// Apart from the gradient (AdamW).
    Decoupled(f32),
}

impl Default for Config {
    fn default() -> Config {
        Config { betas: (0.9, 0.999), epsilon: 1e-8, decay: Decay::None }
    }
}

/// The state of the optimiser: what a checkpoint must hold besides the parameters.
#[derive(Debug, Clone, Default)]
pub struct Adam {
    /// What stays the same.
    pub config: Config,
    /// The number of steps made.
    pub steps: u32,
    /// m and v of each parameter, empty before the first step.
    pub moments: Vec<[Vec<f32>; 2]>,
}

impl Adam {
    /// Moves the parameters one step along their gradients, and sets those gradients to zero.
    ///
    /// Prereq: the same parameters in the same order at every step.
    pub fn step(&mut self, rate: f32, parameters: &mut [&mut Tensor], gradients: &mut Gradients) {
        if self.moments.is_empty() {
            let zeros = |parameter: &&mut Tensor| vec![0.0; values(parameter).len()];
            self.moments = parameters.iter().map(|parameter| [zeros(parameter), zeros(parameter)]).collect();
        }
        assert_eq!(self.moments.len(), parameters.len(), "the parameters of the first step");
        self.steps += 1;
        let factors = cpu::Factors::new(&self.config, rate, self.steps);
        let mut moved = Vec::with_capacity(parameters.len());
        for parameter in parameters.iter() {
            moved.push((buffer::copy(parameter.device(), values(parameter)), take(gradients, parameter)));
        }
        cpu::step(&factors, &mut moved, &mut self.moments);
        for (parameter, (values, mut gradient)) in parameters.iter_mut().zip(moved) {
            gradient.fill(0.0);
            put(gradients, parameter, gradient);
            let (rows, columns) = shape(parameter);
            **parameter = tensor(&parameter.device().clone(), values, rows, columns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Adam, Config, Decay};
    use crate::kit::tensor::tape::backward;
    use crate::kit::tensor::testing::{difference, normal, weighted_sum};
    use crate::kit::tensor::{Taped, device, tensor, values};

    /// Two parameters, five steps, gradients that are constant: the weights of the sum.
    fn five_steps(decay: Decay) -> Vec<f32> {
        let device = device();
        let mut a = tensor(&device, normal(5, 0), 1, 5);
        let mut b = tensor(&device, normal(40_000, 1), 200, 200);
        let mut adam = Adam { config: Config { decay, ..Config::default() }, ..Adam::default() };
        for _ in 0..5 {
            let mut gradients = backward(weighted_sum(a.retaped::<Taped>()));
            adam.step(0.01, &mut [&mut a, &mut b], &mut gradients);
        }
        // Without a gradient only decay moves a parameter.
        let unmoved = difference(values(&b), &normal(40_000, 1)) == 0.0;
        assert_eq!(unmoved, decay == Decay::None);
        values(&a).to_vec()
    }

    /// The recurrence as written, in 64 bits.
    fn expected(decay: Decay) -> Vec<f32> {
        let (start, weights) = (normal(5, 0), normal(5, 999));
        let each = start.iter().zip(&weights).map(|(start, weight)| {
            let (mut p, mut m, mut v) = (f64::from(*start), 0.0, 0.0);
            for step in 1..=5 {
                let mut g = f64::from(*weight);
                match decay {
                    Decay::None => {}
                    Decay::Loss(decay) => g += f64::from(decay) * p,
                    Decay::Decoupled(decay) => p -= 0.01 * f64::from(decay) * p,
                }
                m = 0.9 * m + 0.1 * g;
                v = 0.999 * v + 0.001 * g * g;
                let corrected: f64 = m / (1.0 - 0.9f64.powi(step));
                p -= 0.01 * corrected / ((v / (1.0 - 0.999f64.powi(step))).sqrt() + 1e-8);
            }
            p as f32
        });
        each.collect()
    }

    #[test]
    fn steps_are_those_of_the_formula() {
        for decay in [Decay::None, Decay::Loss(0.1), Decay::Decoupled(0.1)] {
            // Rounding of 1e-7 in five steps.
            assert!(difference(&five_steps(decay), &expected(decay)) < 1e-6, "{decay:?}");
        }
    }
}
