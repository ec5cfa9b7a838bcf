//! Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019), all parameters in one pass.
//!
//! m ← β₁ m + (1 - β₁) g, v ← β₂ v + (1 - β₂) g², p ← p - rate · (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε).
//! Decay through the loss first adds decay · p to g; decoupled decay (AdamW) subtracts rate · decay · p from p.

mod cpu;
mod cuda;

use crate::card::{Card, Memory};
use crate::tape::{put, take};
use crate::{Gradients, Tensor, buffer, shape, tensor, values};
use std::borrow::Cow;

/// Hyperparameters; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// β₁ and β₂.
    pub betas: (f32, f32),
    /// ε, added outside the root.
    pub epsilon: f32,
    /// Weight decay.
    pub decay: Decay,
}

/// How weights decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Decay {
    /// Not at all.
    None,
    /// L2 regularisation: adds half the decay times the squared weights to the loss.
    Loss(f32),
    /// Decoupled from the gradient (AdamW).
    Decoupled(f32),
}

impl Default for Config {
    fn default() -> Config {
        Config { betas: (0.9, 0.999), epsilon: 1e-8, decay: Decay::None }
    }
}

/// Constants shared by all elements in one step.
#[derive(Clone, Copy)]
struct Factors {
    betas: (f32, f32),
    epsilon: f32,
    /// rate / (1 - β₁ᵗ).
    rate: f32,
    /// 1 / √(1 - β₂ᵗ).
    spread: f32,
    /// L2 decay: added to the gradient, times the parameter.
    decay: f32,
    /// Decoupled decay: the factor of the parameter before it moves.
    keep: f32,
}

impl Factors {
    /// The factors of step `steps`, counted from 1.
    fn new(config: &Config, rate: f32, steps: u32) -> Factors {
        let Config { betas, epsilon, decay } = *config;
        let left = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(steps));
        let (decay, keep) = match decay {
            Decay::None => (0.0, 1.0),
            Decay::Loss(decay) => (decay, 1.0),
            Decay::Decoupled(decay) => (0.0, 1.0 - rate * decay),
        };
        let rate = (f64::from(rate) / left(betas.0)) as f32;
        Factors { betas, epsilon, rate, spread: (1.0 / left(betas.1).sqrt()) as f32, decay, keep }
    }
}

/// The optimiser's state: what a checkpoint must hold besides the parameters.
#[derive(Debug, Default)]
pub struct Adam {
    /// The hyperparameters.
    pub config: Config,
    /// The number of steps made.
    pub steps: u32,
    /// m and v of each parameter; empty before the first step.
    pub moments: Vec<Moments>,
}

/// m and v of a parameter.
#[derive(Debug)]
pub struct Moments(Place);

#[derive(Debug)]
enum Place {
    Host([Vec<f32>; 2]),
    Card([Memory; 2]),
}

impl Moments {
    /// Moments from a checkpoint.
    pub fn new(m: Vec<f32>, v: Vec<f32>) -> Moments {
        Moments(Place::Host([m, v]))
    }

    /// m and v in CPU memory.
    pub fn values(&self) -> [Cow<'_, [f32]>; 2] {
        match &self.0 {
            Place::Host(moments) => moments.each_ref().map(|values| Cow::Borrowed(values.as_slice())),
            Place::Card(moments) => moments.each_ref().map(|memory| Cow::Owned(memory.download())),
        }
    }

    fn host(&mut self) -> &mut [Vec<f32>; 2] {
        if let Place::Card(moments) = &self.0 {
            self.0 = Place::Host(moments.each_ref().map(Memory::download));
        }
        match &mut self.0 {
            Place::Host(moments) => moments,
            Place::Card(_) => unreachable!("they were just fetched"),
        }
    }

    fn on(&mut self, card: &Card) -> &[Memory; 2] {
        if let Place::Host(moments) = &self.0 {
            self.0 = Place::Card(moments.each_ref().map(|values| card.upload(values)));
        }
        match &self.0 {
            Place::Card(moments) => moments,
            Place::Host(_) => unreachable!("they were just sent"),
        }
    }
}

impl Adam {
    /// Moves the parameters one step along their gradients and sets those gradients to zero.
    ///
    /// Prereq: every call gets the same parameters in the same order.
    pub fn step(&mut self, rate: f32, parameters: &mut [&mut Tensor], gradients: &mut Gradients) {
        if self.moments.is_empty() {
            let zeros = |parameter: &&mut Tensor| vec![0.0; shape(parameter).0 * shape(parameter).1];
            let moments = |parameter| Moments::new(zeros(parameter), zeros(parameter));
            self.moments = parameters.iter().map(moments).collect();
        }
        assert_eq!(self.moments.len(), parameters.len(), "the parameters of the first step");
        self.steps += 1;
        let factors = Factors::new(&self.config, rate, self.steps);
        match parameters.first().and_then(|first| first.device().card()).cloned() {
            Some(card) => self.step_on_card(&card, &factors, parameters, gradients),
            None => self.step_on_processor(&factors, parameters, gradients),
        }
    }

    fn step_on_processor(
        &mut self,
        factors: &Factors,
        parameters: &mut [&mut Tensor],
        gradients: &mut Gradients,
    ) {
        let mut moved = Vec::with_capacity(parameters.len());
        for parameter in parameters.iter() {
            moved.push((buffer::copy(parameter.device(), values(parameter)), take(gradients, parameter)));
        }
        let mut moments: Vec<_> = self.moments.iter_mut().map(Moments::host).collect();
        cpu::step(factors, &mut moved, &mut moments);
        for (parameter, (values, mut gradient)) in parameters.iter_mut().zip(moved) {
            gradient.fill(0.0);
            put(gradients, parameter, gradient);
            let (rows, columns) = shape(parameter);
            **parameter = tensor(&parameter.device().clone(), values, rows, columns);
        }
    }

    fn step_on_card(
        &mut self,
        card: &Card,
        factors: &Factors,
        parameters: &mut [&mut Tensor],
        gradients: &mut Gradients,
    ) {
        let mut moved = Vec::with_capacity(parameters.len());
        for parameter in parameters.iter_mut() {
            let gradient = gradients.take_memory(parameter);
            moved.push((parameter.take_memory(), gradient));
        }
        let moments: Vec<_> = self.moments.iter_mut().map(|moments| moments.on(card)).collect();
        let all = moved.iter().zip(&moments).map(|((values, gradient), [m, v])| [values, gradient, m, v]);
        cuda::step(card, factors, &all.collect::<Vec<_>>());
        for (parameter, (values, gradient)) in parameters.iter_mut().zip(moved) {
            gradients.put_memory(parameter, gradient);
            **parameter = Tensor::on_card(values, shape(parameter));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Adam, Config, Decay};
    use crate::tape::backward;
    use crate::testing::{difference, normal, weighted_sum};
    use crate::{Taped, device, tensor, values};

    /// Two parameters, five steps, constant gradients (the weights of the sum).
    fn five_steps(decay: Decay) -> Vec<f32> {
        let device = device();
        let mut a = tensor(&device, normal(5, 0), 1, 5);
        let mut b = tensor(&device, normal(40_000, 1), 200, 200);
        let mut adam = Adam { config: Config { decay, ..Config::default() }, ..Adam::default() };
        for _ in 0..5 {
            let mut gradients = backward(weighted_sum(a.retaped::<Taped>()));
            adam.step(0.01, &mut [&mut a, &mut b], &mut gradients);
        }
        // Without a gradient, only decay changes a parameter.
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
