//! The Performer against what PyTorch computed with the original's code.
//!
//! The numbers lie beside the repository, in `shared/goldens`; where they do not, a line says so and nothing is
//! tested. Limits are those that the goldens suggest: some thirty times the difference of 32 from 64 bits there.

use data::formats::npy::{self, Array};
use learn::model::parameters::{self, Named, Role};
use learn::model::performer::{Config, Performer, Tables};
use needs::shared;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tensor::ops::adam::Adam;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::ops::favor::Stabiliser;
use tensor::tape::{backward, gradient};
use tensor::{Scalar, Taped, Untaped, device, values};

const CELLS: usize = 4;

struct Golden {
    folder: PathBuf,
    model: Performer,
}

impl Golden {
    /// The model with its initial parameters.
    fn open(name: &str, head_width: usize, stabiliser: Stabiliser) -> Option<Golden> {
        let folder = shared(&format!("goldens/{name}"))?;
        let config = Config { width: 32, depth: 2, heads: 4, head_width, stabiliser, ..Config::default() };
        let model = loaded(config, 65, npy::read_all(&folder.join("params.npz")).unwrap(), "");
        Some(Golden { folder, model })
    }

    fn array(&self, name: &str) -> Array {
        npy::read(&self.folder.join(name)).unwrap()
    }

    fn tokens(&self, name: &str) -> Vec<u32> {
        self.array(name).integers().unwrap().iter().map(|token| *token as u32).collect()
    }

    fn loss(&self) -> Scalar<Taped> {
        let tokens = self.tokens("tokens_masked.npy");
        let encodings = self.model.encode(&tokens, CELLS, Taped::default());
        // The labels' 6 means that a gene is no target; here that is a token beyond the head's columns.
        let labels: Vec<u32> = self
            .tokens("labels.npy")
            .into_iter()
            .map(|label| if label == 6 { u32::MAX } else { label })
            .collect();
        cross_entropy(self.model.logits(encodings, &tokens, CELLS), &labels)
    }
}

fn loaded(config: Config, positions: usize, mut arrays: BTreeMap<String, Array>, prefix: &str) -> Performer {
    let mut model = Performer::new(&device(), config, Tables { tokens: 7, positions }, 0);
    let source = |name: &str| {
        arrays.remove(&format!("{prefix}{name}")).map(|array| (array.shape.clone(), array.floats()))
    };
    parameters::load(model.tensors(), source).unwrap();
    model
}

/// Both models with PyTorch's stabiliser.
fn each_golden(test: impl Fn(&str, Golden)) {
    for (name, head_width) in [("tiny_performer", 64), ("micro_performer", 8)] {
        if let Some(golden) = Golden::open(name, head_width, Stabiliser::Batch) {
            test(name, golden);
        }
    }
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32], limit: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: {error:.1e} of {limit:.1e}");
    assert!(error <= limit, "{what}: {error:e} exceeds {limit:e}");
}

#[test]
fn encodings_and_logits_are_those_of_pytorch() {
    each_golden(|name, golden| {
        for suffix in ["", "_masked_input"] {
            let tokens = if suffix.is_empty() { "tokens.npy" } else { "tokens_masked.npy" };
            let tokens = golden.tokens(tokens);
            let encodings = golden.model.encode(&tokens, CELLS, Untaped);
            let expected = golden.array(&format!("encodings{suffix}.npy")).floats();
            close(&format!("{name} encodings{suffix}"), values(&encodings), &expected, 2e-5);
            let logits = golden.model.logits(encodings, &tokens, CELLS);
            let expected = golden.array(&format!("logits{suffix}.npy")).floats();
            close(&format!("{name} logits{suffix}"), values(&logits), &expected, 2e-5);
        }
    });
}

#[test]
fn cells_one_at_a_time_are_those_of_pytorch() {
    // One maximum over all heads of the one cell: the stabiliser is still `batch`.
    each_golden(|name, golden| {
        let tokens = golden.tokens("tokens.npy");
        let genes = tokens.len() / CELLS;
        let alone: Vec<f32> = tokens
            .chunks(genes)
            .flat_map(|cell| values(&golden.model.encode(cell, 1, Untaped)).to_vec())
            .collect();
        let expected = golden.array("encodings_batch1.npy").floats();
        close(&format!("{name} encodings, one cell at a time"), &alone, &expected, 2e-5);
    });
}

#[test]
fn the_loss_and_every_gradient_are_those_of_pytorch() {
    each_golden(|name, mut golden| {
        let expected = npy::read_all(&golden.folder.join("grads_f64.npz")).unwrap();
        let loss = golden.loss();
        close(&format!("{name} loss"), &[loss[[]]], &[results(&golden, "masked_lm_loss_f64")[0]], 2e-6);
        let mut gradients = backward(loss);
        let mut compared = 0;
        for Named { name, tensor, .. } in
            golden.model.tensors().into_iter().filter(|named| named.role == Role::Trained)
        {
            let expected = expected[&name].floats();
            let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            close(
                &format!("gradient of {name}"),
                &gradient(&mut gradients, tensor),
                &expected,
                1e-4 * largest,
            );
            compared += 1;
        }
        assert_eq!(compared, expected.len());
    });
}

#[test]
fn ten_steps_of_adam_are_those_of_pytorch() {
    each_golden(|name, mut golden| {
        let expected = results(&golden, "adam_losses_f64");
        let mut adam = Adam::default();
        let mut losses = Vec::new();
        for _ in 0..10 {
            let loss = golden.loss();
            losses.push(loss[[]]);
            let mut gradients = backward(loss);
            adam.step(1e-4, &mut parameters::trained(golden.model.tensors()), &mut gradients);
        }
        losses.push(golden.loss()[[]]);
        close(&format!("{name} losses"), &losses, &expected, 2e-5);
        let encodings = golden.model.encode(&golden.tokens("tokens.npy"), CELLS, Untaped);
        let expected = golden.array("encodings_after10.npy").floats();
        close(&format!("{name} encodings after ten steps"), values(&encodings), &expected, 2e-5);
    });
}

#[test]
fn a_layer_of_the_size_of_scberts_is_that_of_pytorch() {
    let Some(folder) = shared("goldens/real_layer") else { return };
    let arrays = npy::read_all(&folder.join("real_layer.npz")).unwrap();
    let tokens: Vec<u32> = arrays["tokens"].integers().unwrap().iter().map(|token| *token as u32).collect();
    let expected = arrays["encodings"].floats();
    let config = Config { depth: 1, stabiliser: Stabiliser::Batch, ..Config::default() };
    let model = loaded(config, 1025, arrays, "param:");
    close("real_layer encodings", values(&model.encode(&tokens, 2, Untaped)), &expected, 2e-5);
}

#[test]
fn with_the_default_stabiliser_encodings_do_not_depend_on_batch_mates() {
    let Some(golden) = Golden::open("tiny_performer", 64, Stabiliser::default()) else { return };
    let tokens = golden.tokens("tokens.npy");
    let together = golden.model.encode(&tokens, CELLS, Untaped);
    let alone: Vec<f32> = tokens
        .chunks(tokens.len() / CELLS)
        .flat_map(|cell| values(&golden.model.encode(cell, 1, Untaped)).to_vec())
        .collect();
    assert!(alone == values(&together), "some bit differs");
}

/// A number or numbers of `results.json`.
fn results(golden: &Golden, name: &str) -> Vec<f32> {
    let text = std::fs::read_to_string(golden.folder.join("results.json")).unwrap();
    let results: serde_json::Value = serde_json::from_str(&text).unwrap();
    match &results[name] {
        serde_json::Value::Array(numbers) => numbers.iter().map(|n| n.as_f64().unwrap() as f32).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}
