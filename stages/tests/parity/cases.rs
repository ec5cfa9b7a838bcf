//! What a device is held against: every operation with its gradients, and steps of training, at sizes that leave no block
//! and no warp full. The program of `examples/gpu_check.rs` runs the same cases as the test.

use stages::kit::model::classifier::{self, Classifier};
use stages::kit::model::parameters;
use stages::kit::model::performer::{Config, Performer, Tables};
use stages::kit::random::Random;
use stages::kit::tensor::ops::adam::{Adam, Decay};
use stages::kit::tensor::ops::add::add;
use stages::kit::tensor::ops::cross_entropy::cross_entropy;
use stages::kit::tensor::ops::dropout::dropout;
use stages::kit::tensor::ops::favor::{Layout, Stabiliser, favor};
use stages::kit::tensor::ops::gather::gather;
use stages::kit::tensor::ops::layer_norm::layer_norm;
use stages::kit::tensor::ops::linear::{linear, linear_gelu, linear_of_constant};
use stages::kit::tensor::ops::reshape::reshape;
use stages::kit::tensor::tape::{backward, gradient, put, record_scalar, take};
use stages::kit::tensor::{Device, Scalar, Taped, Tensor, Untaped, gradients, tensor, values};

/// Numbers by what they are.
pub type Found = Vec<(String, Vec<f32>)>;

/// One thing to compare.
pub struct Case {
    /// What it is called in the table.
    pub name: &'static str,
    /// What it computes on a device.
    pub run: fn(&Device) -> Found,
}

/// Every case.
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
    Case { name: "Adam", run: adam },
    Case { name: "inference", run: inference },
    Case { name: "step of masked training", run: |device| masked(device, 1) },
    Case { name: "ten steps of masked training", run: |device| masked(device, 10) },
    Case { name: "step of telling types", run: types },
];

/// Standard normal numbers of a stream.
pub fn normal(length: usize, stream: u64) -> Vec<f32> {
    let mut random = Random::new(11, stream);
    (0..length).map(|_| random.normal() as f32).collect()
}

/// The largest difference relative to the largest value.
pub fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "as many numbers on every device");
    let size = expected.iter().fold(f32::MIN_POSITIVE, |most, value| most.max(value.abs()));
    let each = found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs()));
    // Where one is not a number, the error is none either.
    each.fold(0.0, |most: f64, one| if one.is_nan() || one > most { one } else { most }) / f64::from(size)
}

fn tokens(count: usize, of: u32) -> Vec<u32> {
    let mut random = Random::new(12, 0);
    // Zeros are most of a cell.
    (0..count).map(|_| if random.unit() < 0.7 { 0 } else { random.below(of as usize) as u32 }).collect()
}

fn leaf(tensor: &Tensor) -> Tensor<Taped> {
    tensor.retaped()
}

/// The values of a function, and the gradients of its inputs where each value weighs differently.
fn of(device: &Device, inputs: &[(usize, usize)], function: impl Fn(&[Tensor]) -> Tensor<Taped>) -> Found {
    let each = inputs.iter().zip(0..);
    let inputs: Vec<Tensor> = each
        .map(|((rows, columns), stream)| tensor(device, normal(rows * columns, stream), *rows, *columns))
        .collect();
    let (y, tape) = function(&inputs).split_tape();
    let weights = normal(values(&y).len(), 999);
    let sum: f32 = values(&y).iter().zip(&weights).map(|(y, weight)| y * weight).sum();
    let mut found = vec![("values".to_owned(), values(&y).to_vec())];
    let loss = record_scalar(tape, sum, move |flowing, gradients| {
        let mut dy = take(gradients, &y);
        dy.iter_mut().zip(&weights).for_each(|(dy, weight)| *dy += flowing * weight);
        put(gradients, &y, dy);
    });
    let mut gradients = backward(loss);
    found.extend(
        inputs.iter().zip(0..).map(|(x, number)| (format!("gradient {number}"), gradient(&mut gradients, x))),
    );
    found
}

fn of_scalar(loss: Scalar<Taped>, inputs: &[&Tensor]) -> Found {
    let mut found = vec![("loss".to_owned(), vec![loss[[]]])];
    let mut gradients = backward(loss);
    found.extend(inputs.iter().map(|x| ("gradient".to_owned(), gradient(&mut gradients, x))));
    found
}

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

fn model(device: &Device, positions: usize) -> Performer {
    let config =
        Config { width: 40, depth: 2, heads: 3, head_width: 16, train_positions: true, ..Config::default() };
    Performer::new(device, config, Tables { tokens: 7, positions }, 1)
}

fn inference(device: &Device) -> Found {
    let model = model(device, 67);
    let encodings = model.encode(&tokens(2 * 67, 7), 2, Untaped);
    vec![("encodings".to_owned(), values(&encodings).to_vec())]
}

/// The losses of some steps, and the parameters after them.
fn masked(device: &Device, steps: u64) -> Found {
    let mut model = model(device, 67);
    let tokens = tokens(2 * 67, 7);
    let (mut adam, mut losses) = (Adam::default(), Vec::new());
    for _ in 0..steps {
        let loss = cross_entropy(model.logits(model.encode(&tokens, 2, Taped::default())), &tokens);
        losses.push(loss[[]]);
        let mut found = backward(loss);
        adam.step(1e-3, &mut parameters::trained(model.tensors()), &mut found);
    }
    let mut found = vec![("losses".to_owned(), losses)];
    // Adam moves a parameter whose gradient is next to nothing by its sign, so after more steps only losses compare.
    if steps == 1 {
        let of_all = model.tensors().into_iter().map(|named| (named.name, values(named.tensor).to_vec()));
        found.extend(of_all.filter(|(name, _)| name.ends_with("weight")));
    }
    found
}

fn types(device: &Device) -> Found {
    let mut model = model(device, 67);
    model.train_last(1);
    let sizes = classifier::Sizes { width: 40, positions: 67, hidden: [24, 12], classes: 4 };
    let mut head = Classifier::new(device, sizes, &mut Random::new(5, 5));
    let encodings = model.encode(&tokens(2 * 67, 7), 2, Taped::default());
    let loss = cross_entropy(head.logits(encodings, [(0.1, 77), (0.1, 78)]), &[0, 3]);
    let mut found = vec![("loss".to_owned(), vec![loss[[]]])];
    let mut gradients = backward(loss);
    // The head that guesses tokens has no part in this.
    let body = model.tensors().into_iter().filter(|named| !named.name.starts_with("to_out"));
    let trained = body.chain(head.tensors()).filter(|named| named.role == parameters::Role::Trained);
    found.extend(trained.map(|named| (named.name.clone(), gradient(&mut gradients, named.tensor))));
    found
}
