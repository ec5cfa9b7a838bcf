//! Layers with parameters, initialised as in PyTorch.

use super::parameters::{Named, Role};
use data::random::Random;
use tensor::ops::layer_norm::layer_norm;
use tensor::ops::linear::{linear, linear_add, linear_gelu, linear_of_constant};
use tensor::tape::Tape;
use tensor::{Device, Tensor, tensor};

/// x Wᵀ + b.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Initialised uniformly within ± 1 / √inputs.
    pub fn new(device: &Device, random: &mut Random, inputs: usize, outputs: usize, biased: bool) -> Linear {
        let bound = 1.0 / (inputs as f64).sqrt();
        let mut draw = |rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|_| random.between(-bound, bound) as f32).collect();
            tensor(device, values, rows, columns)
        };
        Linear { weight: draw(outputs, inputs), bias: biased.then(|| draw(1, outputs)) }
    }

    /// All zeros.
    pub fn zero(device: &Device, inputs: usize, outputs: usize) -> Linear {
        let zeros = |rows: usize, columns: usize| tensor(device, vec![0.0; rows * columns], rows, columns);
        Linear { weight: zeros(outputs, inputs), bias: Some(zeros(1, outputs)) }
    }

    /// With this weight, outputs x inputs, and no bias.
    pub fn of(weight: Tensor) -> Linear {
        Linear { weight, bias: None }
    }

    /// W.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Replaces the weight, which is outputs x inputs.
    pub fn with_weight(self, weight: Tensor) -> Linear {
        Linear { weight, ..self }
    }

    /// Replaces the bias.
    pub fn with_bias(self, bias: Tensor) -> Linear {
        Linear { bias: Some(bias), ..self }
    }

    /// Applies the layer to an input that may be constant.
    pub fn apply<T: Tape>(&self, x: Input, tape: T) -> Tensor<T> {
        x.through(&self.weight, self.bias.as_ref(), tape)
    }

    /// Applies the layer to each row of x.
    pub fn forward<T: Tape>(&self, x: Tensor<T>) -> Tensor<T> {
        linear(x, &self.weight, self.bias.as_ref())
    }

    /// Applies the layer and adds the residual.
    pub fn forward_add<T: Tape>(&self, x: Tensor<T>, residual: Tensor<T>) -> Tensor<T> {
        linear_add(x, &self.weight, self.bias.as_ref(), residual)
    }

    /// Applies the layer, then GELU.
    pub fn forward_gelu<T: Tape>(&self, x: Tensor<T>) -> Tensor<T> {
        linear_gelu(x, &self.weight, self.bias.as_ref())
    }
}

/// The input of a layer.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Constant: no gradient is needed.
    Constant(&'a Tensor),
    /// Computed: a gradient flows back.
    Computed(&'a Tensor),
}

impl Input<'_> {
    /// x Wᵀ + b.
    pub fn through<T: Tape>(self, weight: &Tensor, bias: Option<&Tensor>, tape: T) -> Tensor<T> {
        match self {
            Input::Constant(x) => linear_of_constant(x, weight, bias, tape),
            Input::Computed(x) => linear(x.clone().put_tape(tape), weight, bias),
        }
    }
}

/// An outputs x inputs weight, uniform within ± gain · √(6 / (inputs + outputs)) (Glorot and Bengio 2010).
pub fn glorot(device: &Device, random: &mut Random, inputs: usize, outputs: usize, gain: f64) -> Tensor {
    let bound = gain * (6.0 / (inputs + outputs) as f64).sqrt();
    let values = (0..inputs * outputs).map(|_| random.between(-bound, bound) as f32).collect();
    tensor(device, values, outputs, inputs)
}

/// Layer normalisation.
#[derive(Debug, Clone)]
pub struct Norm {
    gain: Tensor,
    bias: Tensor,
}

impl Norm {
    /// Initialised with gain 1 and bias 0.
    pub fn new(device: &Device, width: usize) -> Norm {
        let row = |value| tensor(device, vec![value; width], 1, width);
        Norm { gain: row(1.0), bias: row(0.0) }
    }

    /// Normalises each row of x.
    pub fn forward<T: Tape>(&self, x: Tensor<T>) -> Tensor<T> {
        layer_norm(x, &self.gain, &self.bias)
    }
}

/// Collects the tensors of a model with their names.
pub struct List<'a> {
    named: Vec<Named<'a>>,
    /// The role given to the tensors added next.
    pub role: Role,
}

impl<'a> List<'a> {
    /// An empty list.
    pub fn new(role: Role) -> List<'a> {
        List { named: Vec::new(), role }
    }

    /// The collected tensors.
    pub fn named(self) -> Vec<Named<'a>> {
        self.named
    }

    /// Adds a tensor.
    pub fn push(&mut self, name: &str, tensor: &'a mut Tensor) {
        self.named.push(Named { name: name.to_owned(), tensor, role: self.role });
    }

    /// Adds the tensors of a linear layer.
    pub fn linear(&mut self, name: &str, Linear { weight, bias }: &'a mut Linear) {
        self.push(&format!("{name}.weight"), weight);
        if let Some(bias) = bias {
            self.push(&format!("{name}.bias"), bias);
        }
    }

    /// Adds the tensors of a layer norm.
    pub fn norm(&mut self, name: &str, Norm { gain, bias }: &'a mut Norm) {
        self.push(&format!("{name}.weight"), gain);
        self.push(&format!("{name}.bias"), bias);
    }
}
