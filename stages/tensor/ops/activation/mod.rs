//! Element-wise activations.
//!
//! Leaky ReLU: y = x where x > 0, else slope · x; ReLU has slope 0. ELU: y = x where x > 0, else eˣ - 1. tanh. The
//! backward pass uses only the result: the derivative is 1 or slope; 1 or y + 1; 1 - y². This is why a slope must not
//! be negative.

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record_with_result, take};
use crate::{Tensor, buffer, shape, values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The activation function.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x where positive, this slope times x elsewhere.
    LeakyRelu(f32),
    /// x where positive, eˣ - 1 elsewhere.
    Elu,
    /// The hyperbolic tangent.
    Tanh,
}

/// Applies the function to each element. Prereq: the slope is not negative.
pub fn activate<T: Tape>(x: Tensor<T>, activation: Activation) -> Tensor<T> {
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::activate(card, x, tape, activation);
    }
    let mut y = buffer::copy(&device, values(&x));
    cpu::forward(&mut y, activation);
    let shape = shape(&x);
    record_with_result(&device, tape, y, shape, move |flowing, y, gradients| {
        let mut dx = take(gradients, &x);
        cpu::backward(&mut dx, flowing, y, activation);
        put(gradients, &x, dx);
    })
}

#[cfg(test)]
mod tests {
    use super::{Activation, activate};
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    const ALL: [Activation; 4] =
        [Activation::Relu, Activation::LeakyRelu(0.2), Activation::Elu, Activation::Tanh];

    #[test]
    fn values_are_those_of_the_formulas() {
        let given = vec![-30.0, -1.0, -0.001, 0.0, 0.001, 0.5, 30.0];
        for activation in ALL {
            let expected = |x: f32| -> f64 {
                let x = f64::from(x);
                match activation {
                    Activation::Relu => x.max(0.0),
                    Activation::LeakyRelu(slope) => {
                        if x > 0.0 {
                            x
                        } else {
                            f64::from(slope) * x
                        }
                    }
                    Activation::Elu => {
                        if x > 0.0 {
                            x
                        } else {
                            libm::expm1(x)
                        }
                    }
                    Activation::Tanh => libm::tanh(x),
                }
            };
            let found = activate(tensor(&device(), given.clone(), 1, 7), activation);
            for (x, y) in given.iter().zip(values(&found)) {
                // The rounding of e^x near 1.
                assert!((f64::from(*y) - expected(*x)).abs() < 3e-7, "{activation:?} {x} {y}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        for activation in ALL {
            // None of these standard normal values lies within a step of the kink at zero.
            check_gradients(&[(2, 5)], 2e-3, |t| weighted_sum(activate(t[0].retaped(), activation)));
        }
    }
}
