//! Operations on rows and elements.

use super::{Case, Found, leaf, normal, of, of_scalar, tokens};
use tensor::ops::activation::{Activation, activate};
use tensor::ops::adam::{Adam, Decay};
use tensor::ops::add::add;
use tensor::ops::add_row::add_row;
use tensor::ops::binary_cross_entropy::binary_cross_entropy;
use tensor::ops::concatenate::concatenate;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::ops::dot::dot;
use tensor::ops::dropout::dropout;
use tensor::ops::expectation::expectation;
use tensor::ops::favor::{Layout, Stabiliser, favor};
use tensor::ops::gate::gate;
use tensor::ops::gather::gather;
use tensor::ops::layer_norm::layer_norm;
use tensor::ops::linear::{linear, linear_gelu, linear_of_constant};
use tensor::ops::mean_heads::mean_heads;
use tensor::ops::reshape::reshape;
use tensor::ops::squared_error::squared_error;
use tensor::ops::standardise::{Moments, standardise};
use tensor::ops::unit::unit;
use tensor::tape::put;
use tensor::{Device, Taped, Tensor, gradients, tensor, values};

/// One for each.
pub const CASES: &[Case] = &[
    Case { name: "add", run: |device| of(device, &[(37, 19), (37, 19)], |t| add(leaf(&t[0]), leaf(&t[1]))) },
    Case { name: "reshape", run: |device| of(device, &[(36, 10)], |t| reshape(leaf(&t[0]), (40, 9))) },
    Case {
        name: "gather",
        run: |device| of(device, &[(7, 200)], |t| gather(leaf(&t[0]), &tokens(1_000, 7))),
    },
    Case {
        name: "layer norm",
        run: |device| {
            of(device, &[(259, 200), (1, 200), (1, 200)], |t| layer_norm(leaf(&t[0]), &t[1], &t[2]))
        },
    },
    Case {
        name: "linear",
        run: |device| {
            of(device, &[(259, 200), (70, 200), (1, 70)], |t| linear(leaf(&t[0]), &t[1], Some(&t[2])))
        },
    },
    Case {
        name: "linear of a constant",
        run: |device| {
            of(device, &[(70, 200), (1, 70)], |t| {
                let x = tensor(t[0].device(), normal(133 * 200, 7), 133, 200);
                linear_of_constant(&x, &t[0], Some(&t[1]), Taped::default())
            })
        },
    },
    Case {
        name: "linear, GELU",
        run: |device| {
            of(device, &[(131, 200), (136, 200), (1, 136)], |t| linear_gelu(leaf(&t[0]), &t[1], Some(&t[2])))
        },
    },
    Case {
        name: "linear, GELU, no bias",
        run: |device| of(device, &[(65, 33), (17, 33)], |t| linear_gelu(leaf(&t[0]), &t[1], None)),
    },
    Case {
        name: "dropout",
        run: |device| of(device, &[(129, 77)], |t| dropout(leaf(&t[0]), 0.3, 0x0123_4567_89ab_cdef)),
    },
    Case { name: "FAVOR+", run: |device| attention(device, Stabiliser::Row) },
    Case { name: "FAVOR+, one M", run: |device| attention(device, Stabiliser::Batch) },
    Case {
        name: "cross-entropy",
        run: |device| {
            let z = tensor(device, normal(1_000 * 7, 0), 1_000, 7);
            of_scalar(cross_entropy(leaf(&z), &tokens(1_000, 9)), &[&z])
        },
    },
    Case {
        name: "expected column",
        run: |device| {
            let z = tensor(device, normal(1_000 * 7, 0), 1_000, 7);
            of_scalar(expectation(leaf(&z), 1..6), &[&z])
        },
    },
    Case {
        name: "a row added to each",
        run: |device| of(device, &[(259, 70), (1, 70)], |t| add_row(leaf(&t[0]), &t[1])),
    },
    Case { name: "ReLU", run: |device| activation(device, Activation::Relu) },
    Case { name: "leaky ReLU", run: |device| activation(device, Activation::LeakyRelu(0.2)) },
    Case { name: "ELU", run: |device| activation(device, Activation::Elu) },
    Case { name: "tanh", run: |device| activation(device, Activation::Tanh) },
    Case {
        name: "columns beside columns",
        run: |device| of(device, &[(131, 33), (131, 7)], |t| concatenate(leaf(&t[0]), leaf(&t[1]))),
    },
    Case {
        name: "gate",
        run: |device| of(device, &[(131, 19); 3], |t| gate(leaf(&t[0]), leaf(&t[1]), leaf(&t[2]))),
    },
    Case {
        name: "dot products",
        run: |device| of(device, &[(131, 70); 2], |t| dot(leaf(&t[0]), leaf(&t[1]))),
    },
    Case { name: "mean over heads", run: |device| of(device, &[(131, 57)], |t| mean_heads(leaf(&t[0]), 3)) },
    Case { name: "unit length", run: |device| of(device, &[(131, 111)], |t| unit(leaf(&t[0]), 37)) },
    Case {
        name: "standardise",
        run: |device| {
            let rows = (0..200).map(|row| (row % 3 > 0).then_some((row * 7 % 201) as u32)).collect();
            of(device, &[(201, 33)], |t| standardise(leaf(&t[0]), &rows, &moments()))
        },
    },
    Case {
        name: "binary cross-entropy",
        run: |device| {
            let z = tensor(device, normal(5_000, 0).iter().map(|z| 9.0 * z).collect(), 5_000, 1);
            of_scalar(binary_cross_entropy(leaf(&z), &labels(5_000), 2.5), &[&z])
        },
    },
    Case {
        name: "squared error",
        run: |device| {
            let z = tensor(device, normal(5_000, 0), 5_000, 1);
            of_scalar(squared_error(leaf(&z), &labels(5_000)), &[&z])
        },
    },
    Case { name: "Adam", run: adam },
];

fn attention(device: &Device, stabiliser: Stabiliser) -> Found {
    let (cells, genes, heads, d, m) = (2, 150, 3, 16, 44);
    let features = tensor(device, normal(m * d, 9), m, d);
    let layout = Layout { cells, heads, stabiliser };
    of(device, &[(cells * genes, heads * d); 3], |t| {
        favor(leaf(&t[0]), leaf(&t[1]), leaf(&t[2]), &features, layout)
    })
}

fn adam(device: &Device) -> Found {
    let mut parameters =
        [tensor(device, normal(3 * 5, 0), 3, 5), tensor(device, normal(130 * 130, 1), 130, 130)];
    let mut adam = Adam::default();
    adam.config.decay = Decay::Decoupled(0.1);
    for step in 0..3 {
        let mut gradients = gradients::Gradients::default();
        let mut all: Vec<&mut Tensor> = parameters.iter_mut().collect();
        for parameter in &all {
            let slope = normal(values(parameter).len(), 20 + step);
            put(&mut gradients, parameter, slope);
        }
        let norm = gradients::norm(&mut gradients, &all);
        gradients::scale(&mut gradients, &all, (1.0 / norm) as f32);
        adam.step(0.01, &mut all, &mut gradients);
    }
    parameters.iter().map(|parameter| ("parameter".to_owned(), values(parameter).to_vec())).collect()
}

fn activation(device: &Device, which: Activation) -> Found {
    of(device, &[(129, 77)], |t| activate(leaf(&t[0]), which))
}

/// Of columns far from 0 and close together.
fn moments() -> Moments {
    let values: Vec<f32> = normal(50 * 33, 8).iter().map(|value| 40.0 + 0.5 * value).collect();
    Moments::of(&values, 33)
}

fn labels(count: u32) -> Vec<bool> {
    (0..count).map(|pair| pair % 7 < 2).collect()
}
