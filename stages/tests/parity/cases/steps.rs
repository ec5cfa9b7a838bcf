//! Inference and steps of training.

use super::{Case, Found, normal, tokens};
use data::random::Random;
use learn::model::classifier::{self, Classifier};
use learn::model::draws::Draws;
use learn::model::gnn::{self, Gnn, LayerKind};
use learn::model::layers::{Input, Linear, List};
use learn::model::parameters::{self, Named, Role};
use learn::model::performer::{Config, Performer, Tables};
use learn::model::scorer::{self, Biases, Scorer, Sides};
use std::sync::Arc;
use tensor::ops::activation::{Activation, activate};
use tensor::ops::adam::Adam;
use tensor::ops::binary_cross_entropy::binary_cross_entropy;
use tensor::ops::concatenate::concatenate;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::ops::pool::pool;
use tensor::ops::standardise::{Moments, standardise};
use tensor::tape::{backward, gradient};
use tensor::{Device, Scalar, Taped, Tensor, Untaped, tensor, values};

/// One for each.
pub const CASES: &[Case] = &[
    Case { name: "inference", run: inference },
    Case { name: "step of masked training", run: |device| masked(device, 1) },
    Case { name: "ten steps of masked training", run: |device| masked(device, 10) },
    Case { name: "step of telling types", run: types },
    Case { name: "step of joint learning, GCN", run: |device| joint(device, LayerKind::Gcn, 1) },
    Case { name: "step of joint learning, GraphSAGE", run: |device| joint(device, LayerKind::Sage, 1) },
    Case { name: "step of joint learning, GAT", run: |device| joint(device, LayerKind::Gat, 1) },
    Case { name: "ten steps of joint learning", run: |device| joint(device, LayerKind::Gcn, 10) },
];

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
        let loss =
            cross_entropy(model.logits(model.encode(&tokens, 2, Taped::default()), &tokens, 2), &tokens);
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

const GENES: usize = 66;
const CELLS: usize = 2;

/// What `joint` trains: a transformer's last block, attention over cells, a graph network and a scorer on one tape.
struct Joint {
    transformer: Performer,
    trunk: Tensor,
    pooling: [Linear; 2],
    gnn: Gnn,
    features: Tensor,
    messages: gnn::Messages,
    fusion: Linear,
    scorer: Scorer,
    pairs: [Vec<u32>; 2],
    labels: Vec<bool>,
}

impl Joint {
    fn new(device: &Device, layer: LayerKind) -> Joint {
        let mut transformer = model(device, GENES + 1);
        transformer.train_last(1);
        let trunk = transformer.trunk(&tokens(CELLS * (GENES + 1), 7), CELLS);
        let mut random = Random::new(6, 0);
        let config =
            gnn::Config { layer, widths: vec![20, 10], attention_dropout: 0.2, ..gnn::Config::default() };
        let mut ends = |below: usize| (0..300).map(|_| random.below(below) as u32).collect::<Vec<u32>>();
        let pairs = [ends(9), ends(GENES)];
        let labels: Vec<bool> = pairs[0].iter().zip(&pairs[1]).map(|(a, b)| (a + b) % 4 == 0).collect();
        let edges = pairs[0].iter().copied().zip(pairs[1].iter().copied());
        let edges = edges.zip(&labels).filter(|(_, edge)| **edge).map(|(pair, _)| pair);
        let messages = config.messages_of_network(GENES, edges);
        let width = transformer.config().width;
        let mut layer = |inputs, outputs, biased| Linear::new(device, &mut random, inputs, outputs, biased);
        // What is added to all scores changes no share: its gradient would be rounding alone.
        let (pooling, fusion) = ([layer(width, 12, true), layer(12, 1, false)], layer(width + 10, 16, true));
        let biases = Biases { tf: normal(GENES, 31), target: normal(GENES, 32), all: -1.0 };
        let config_of_scorer = scorer::Config { widths: vec![12], ..scorer::Config::default() };
        Joint {
            transformer,
            trunk,
            pooling,
            gnn: Gnn::new(device, config, 45, &mut random),
            features: tensor(device, normal(GENES * 45, 30), GENES, 45),
            messages,
            fusion,
            scorer: Scorer::new(device, config_of_scorer, 16, Some(biases), &mut random),
            pairs,
            labels,
        }
    }

    fn loss(&self, step: u64) -> Scalar<Taped> {
        let mut draws = Draws::new(7, step);
        let heard = self.gnn.encode(&self.features, &self.messages, &mut draws, Taped::default());
        let encodings = self.transformer.finish(self.trunk.clone().put_tape(Taped::default()), CELLS);
        // The first gene is not among those of the model.
        let row = |gene: usize, cell| gene.checked_sub(1).map(|place| (cell * (GENES + 1) + place) as u32);
        let rows = (0..GENES).flat_map(|gene| (0..CELLS).map(move |cell| row(gene, cell))).collect();
        let width = self.transformer.config().width;
        let moments = Moments::of(&normal(50 * width, 33), width);
        let (vectors, tape) = standardise(encodings, &rows, &moments).split_tape();
        let hidden = activate(self.pooling[0].apply(Input::Computed(&vectors), tape), Activation::Tanh);
        let starts = Arc::new((0..=GENES).map(|gene| gene * CELLS).collect());
        let pooled = pool(self.pooling[1].forward(hidden), vectors.retaped(), &starts);
        let fused = activate(self.fusion.forward(concatenate(pooled, heard)), Activation::LeakyRelu(0.01));
        let sides: Sides<Taped> = self.scorer.sides(draws.drop(fused, 0.5), &mut draws);
        let logits = self.scorer.logits(sides, &self.pairs[0], &self.pairs[1], &mut draws);
        binary_cross_entropy(logits, &self.labels, 2.0)
    }

    fn tensors(&mut self) -> Vec<Named<'_>> {
        let Joint { transformer, pooling: [hidden, score], gnn, fusion, scorer, .. } = self;
        let mut list = List::new(Role::Trained);
        list.linear("pooling.hidden", hidden);
        list.linear("pooling.score", score);
        gnn.list("gnn", &mut list);
        list.linear("fusion", fusion);
        scorer.list("scorer", &mut list);
        let mut tensors = list.named();
        tensors.extend(transformer.encoder_tensors().into_iter().filter(|named| named.role == Role::Trained));
        tensors
    }
}

/// The losses of some steps, and the gradients of a single one.
fn joint(device: &Device, layer: LayerKind, steps: u64) -> Found {
    let mut joint = Joint::new(device, layer);
    let (mut adam, mut losses, mut slopes) = (Adam::default(), Vec::new(), Vec::new());
    for step in 0..steps {
        let loss = joint.loss(step);
        losses.push(loss[[]]);
        let mut found = backward(loss);
        if steps == 1 {
            let each = joint.tensors().into_iter();
            slopes.extend(each.map(|named| (named.name.clone(), gradient(&mut found, named.tensor))));
        }
        adam.step(1e-3, &mut parameters::trained(joint.tensors()), &mut found);
    }
    [vec![("losses".to_owned(), losses)], slopes].concat()
}
