//! Operations against what PyTorch computes of the same numbers: values and gradients (`fixtures/make_operations.py`).
//!
//! PyTorch's side is in 64 bits. Limits are relative to the largest element: some rounding errors of 1e-7 in sums of a dozen.

use data::formats::npy::{self, Array};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::ops::activation::{Activation, activate};
use tensor::ops::adam::{Adam, Config, Decay};
use tensor::ops::attention::attention;
use tensor::ops::binary_cross_entropy::binary_cross_entropy;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::ops::gather::gather;
use tensor::ops::layer_norm::layer_norm;
use tensor::ops::linear::{linear, linear_gelu};
use tensor::tape::{backward, gradient, put, record_scalar, take};
use tensor::{Scalar, Taped, Tensor, device, tensor, values};

const LIMIT: f32 = 2e-6;

struct Golden(&'static str, BTreeMap<String, Array>);

impl Golden {
    fn read(name: &'static str) -> Golden {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/operations");
        Golden(name, npy::read_all(&folder.join(name).with_extension("npz")).unwrap())
    }

    fn tensor(&self, name: &str) -> Tensor {
        let array = &self.1[name];
        tensor(&device(), array.floats(), array.shape[0], array.shape[1])
    }

    fn integers(&self, name: &str) -> Vec<u32> {
        // What is below zero is no target, as what is above every column.
        self.1[name].integers().unwrap().iter().map(|value| *value as u32).collect()
    }

    #[track_caller]
    fn close(&self, what: &str, found: &[f32]) {
        let expected = self.1[what].floats();
        assert_eq!(found.len(), expected.len(), "{what} of {}", self.0);
        let size = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error <= LIMIT * size, "{what} of {}: {error:e} of {size:e}", self.0);
    }

    /// Checks the values of an operation and the gradient of each input.
    fn check(&self, inputs: &[&str], operation: impl FnOnce(&[Tensor]) -> Tensor<Taped>) {
        let given: Vec<Tensor> = inputs.iter().map(|name| self.tensor(name)).collect();
        let out = operation(&given);
        self.close("out", values(&out));
        self.check_gradients(inputs, &given, weighted_sum(out, self.1["weights"].floats()));
    }

    /// Checks a loss and the gradient of each input.
    fn check_loss(&self, inputs: &[&str], operation: impl FnOnce(&[Tensor]) -> Scalar<Taped>) {
        let given: Vec<Tensor> = inputs.iter().map(|name| self.tensor(name)).collect();
        let loss = operation(&given);
        self.close("loss", &[loss[[]]]);
        self.check_gradients(inputs, &given, loss);
    }

    fn check_gradients(&self, inputs: &[&str], given: &[Tensor], loss: Scalar<Taped>) {
        let mut gradients = backward(loss);
        for (name, of) in inputs.iter().zip(given) {
            self.close(&format!("d_{name}"), &gradient(&mut gradients, of));
        }
    }
}

fn weighted_sum(x: Tensor<Taped>, weights: Vec<f32>) -> Scalar<Taped> {
    let (x, tape) = x.split_tape();
    let sum: f32 = values(&x).iter().zip(&weights).map(|(x, weight)| x * weight).sum();
    record_scalar(tape, sum, move |flowing, gradients| {
        let mut dx = take(gradients, &x);
        dx.iter_mut().zip(&weights).for_each(|(dx, weight)| *dx += flowing * weight);
        put(gradients, &x, dx);
    })
}

#[test]
fn layers_are_those_of_pytorch() {
    let inputs = ["x", "weight", "bias"];
    Golden::read("linear").check(&inputs, |t| linear(t[0].retaped(), &t[1], Some(&t[2])));
    Golden::read("linear_gelu").check(&inputs, |t| linear_gelu(t[0].retaped(), &t[1], Some(&t[2])));
    Golden::read("layer_norm").check(&["x", "gain", "bias"], |t| layer_norm(t[0].retaped(), &t[1], &t[2]));
    let golden = Golden::read("gather");
    golden.check(&["table"], |t| gather(t[0].retaped(), &golden.integers("chosen")));
}

#[test]
fn activations_are_those_of_pytorch() {
    for (name, activation) in [
        ("relu", Activation::Relu),
        ("leaky_relu", Activation::LeakyRelu(0.2)),
        ("elu", Activation::Elu),
        ("tanh", Activation::Tanh),
    ] {
        Golden::read(name).check(&["x"], |t| activate(t[0].retaped(), activation));
    }
}

#[test]
fn exact_attention_is_that_of_pytorch() {
    Golden::read("attention").check(&["q", "k", "v"], |t| {
        let [q, k, v] = [0, 1, 2].map(|input| t[input].retaped());
        attention(q, k, v, 2, 3)
    });
}

#[test]
fn losses_are_those_of_pytorch() {
    let golden = Golden::read("cross_entropy");
    golden.check_loss(&["z"], |t| cross_entropy(t[0].retaped(), &golden.integers("targets")));
    let golden = Golden::read("binary_cross_entropy");
    let labels: Vec<bool> = golden.integers("labels").iter().map(|label| *label == 1).collect();
    golden.check_loss(&["z"], |t| binary_cross_entropy(t[0].retaped(), &labels, 2.5));
}

#[test]
fn optimisers_are_those_of_pytorch() {
    for (name, decay) in [("adam", Decay::Loss(0.1)), ("adamw", Decay::Decoupled(0.1))] {
        let golden = Golden::read(name);
        let mut p = golden.tensor("p");
        let mut adam = Adam { config: Config { decay, ..Config::default() }, ..Adam::default() };
        for _ in 0..5 {
            let mut gradients = backward(weighted_sum(p.retaped(), golden.1["g"].floats()));
            adam.step(0.01, &mut [&mut p], &mut gradients);
        }
        golden.close("after", values(&p));
    }
}
