//! The graph encoders against what PyTorch Geometric, GENELink's and scTransNet's own code computed.
//!
//! The numbers lie beside the repository, in `shared/goldens`; where they do not, a line says so and nothing is
//! tested. Limits are some thirty times the difference of 32 from 64 bits there.

use data::formats::npy::{self, Array};
use data::random::Random;
use learn::model::draws::Draws;
use learn::model::gnn::{Config, Gnn, LayerKind, Messages};
use learn::model::layers::List;
use learn::model::parameters::{Named, Role};
use needs::shared;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tensor::ops::activation::{Activation, activate};
use tensor::ops::adam::Adam;
use tensor::ops::add_row::add_row;
use tensor::ops::binary_cross_entropy::binary_cross_entropy;
use tensor::ops::concatenate::concatenate;
use tensor::ops::dot::dot;
use tensor::ops::gather::gather;
use tensor::ops::graph_attention::{Alone, Attention, graph_attention};
use tensor::ops::linear::{linear, linear_of_constant};
use tensor::tape::Merge;
use tensor::tape::{backward, gradient, put, record_scalar, take};
use tensor::{Gradients, Scalar, Taped, Tensor, Untaped, device, tensor, values};

type Arrays = BTreeMap<String, Array>;

const GENES: usize = 30;

struct Golden {
    parameters: Arrays,
    outputs: Arrays,
    gradients: Arrays,
    features: Tensor,
    folder: PathBuf,
}

impl Golden {
    fn open(name: &str) -> Option<Golden> {
        let folder = shared("goldens/gnn")?;
        let read = |file: &str| npy::read_all(&folder.join(name).join(file)).unwrap();
        let features = npy::read(&folder.join("features.npy")).unwrap().floats();
        Some(Golden {
            parameters: read("params.npz"),
            outputs: read("outputs.npz"),
            gradients: read("grads.npz"),
            features: tensor(&device(), features, GENES, 20),
            folder,
        })
    }

    /// Pairs of source and target.
    fn edges(&self, name: &str) -> Vec<(u32, u32)> {
        let array = npy::read(&self.folder.join(name)).unwrap();
        let (from, to) = array.integers().unwrap().split_at(array.integers().unwrap().len() / 2);
        from.iter().zip(to).map(|(from, to)| (*from as u32, *to as u32)).collect()
    }

    fn pairs(&self) -> (Vec<u32>, Vec<u32>, Vec<bool>) {
        let pairs = npy::read(&self.folder.join("pairs.npy")).unwrap();
        let rows: Vec<&[i64]> = pairs.integers().unwrap().chunks(3).collect();
        (
            rows.iter().map(|row| row[0] as u32).collect(),
            rows.iter().map(|row| row[1] as u32).collect(),
            rows.iter().map(|row| row[2] == 1).collect(),
        )
    }

    fn parameter(&self, name: &str) -> Tensor {
        let array = &self.parameters[name];
        let (rows, columns) = match array.shape[..] {
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => panic!("{name} has the shape {:?}", array.shape),
        };
        tensor(&device(), array.floats(), rows, columns)
    }
}

/// Parameters, one below the other; `turned` where they are kept as inputs x outputs.
fn stacked(arrays: &Arrays, names: &[String], turned: bool) -> Vec<f32> {
    let mut all = Vec::new();
    for name in names {
        let (array, values) = (&arrays[name], arrays[name].floats());
        if turned {
            let (rows, columns) = (array.shape[0], array.shape[1]);
            all.extend((0..rows * columns).map(|i| values[i % rows * columns + i / rows]));
        } else {
            all.extend(values);
        }
    }
    all
}

/// One half of the vectors `a` of some heads.
fn half(arrays: &Arrays, names: &[String], second: bool) -> Vec<f32> {
    let halves = names.iter().map(|name| {
        let values = arrays[name].floats();
        let middle = values.len() / 2;
        if second { values[middle..].to_vec() } else { values[..middle].to_vec() }
    });
    halves.collect::<Vec<_>>().concat()
}

fn tensors(gnn: &mut Gnn) -> Vec<Named<'_>> {
    let mut list = List::new(Role::Trained);
    gnn.list("gnn", &mut list);
    list.named()
}

/// Puts values into the encoder's tensors, in the order in which it lists them.
fn fill(gnn: &mut Gnn, all: Vec<Vec<f32>>) {
    let tensors = tensors(gnn);
    assert_eq!(tensors.len(), all.len());
    for (named, values) in tensors.into_iter().zip(all) {
        let (rows, columns) = tensor::shape(named.tensor);
        *named.tensor = tensor(&device(), values, rows, columns);
    }
}

fn gnn(config: &Config) -> Gnn {
    Gnn::new(&device(), config.clone(), 20, &mut Random::new(0, 0))
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32], limit: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: {error:.1e} of {limit:.1e}");
    assert!(error <= limit, "{what}: {error:e} exceeds {limit:e}");
}

/// Σ weight · y.
fn weighted_sum(y: Tensor<Taped>, weights: Vec<f32>) -> Scalar<Taped> {
    let (y, tape) = y.split_tape();
    let sum = values(&y).iter().zip(&weights).map(|(y, weight)| y * weight).sum();
    record_scalar(tape, sum, move |flowing, gradients| {
        let mut dy = take(gradients, &y);
        dy.iter_mut().zip(&weights).for_each(|(dy, weight)| *dy += flowing * weight);
        put(gradients, &y, dy);
    })
}

/// Compares the gradients of the encoder's tensors, in their order.
fn compare_gradients(gradients: &mut Gradients, gnn: &mut Gnn, expected: &[Vec<f32>]) {
    let tensors = tensors(gnn);
    assert_eq!(tensors.len(), expected.len());
    for (named, expected) in tensors.into_iter().zip(expected) {
        let most = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        close(&named.name, &gradient(gradients, named.tensor), expected, 2e-5 * most);
    }
}

fn one_layer(layer: LayerKind, self_loops: bool) -> Config {
    Config { layer, widths: vec![12], self_loops, residual: false, ..Config::default() }
}

/// Values on both graphs and gradients on the symmetric one; `arrange` puts parameters into the encoder's order.
fn compare_one_layer(name: &str, config: Config, arrange: impl Fn(&Arrays) -> Vec<Vec<f32>>) {
    let Some(golden) = Golden::open(name) else { return };
    let mut gnn = gnn(&config);
    fill(&mut gnn, arrange(&golden.parameters));
    let expected = npy::read_all(&golden.folder.join("directed_outputs.npz")).unwrap();
    let directed = config.messages(GENES, golden.edges("edge_index_directed.npy").into_iter());
    let y = gnn.encode(&golden.features, &directed, &mut Draws::none(), Untaped);
    close(&format!("{name}, directed"), values(&y), &expected[name].floats(), 2e-5);
    let messages = config.messages(GENES, golden.edges("edge_index.npy").into_iter());
    let y = gnn.encode(&golden.features, &messages, &mut Draws::none(), Taped::default());
    close(name, values(&y), &golden.outputs["out"].floats(), 2e-5);
    let upstream = npy::read(&golden.folder.join("upstream_grad_12.npy")).unwrap().floats();
    let mut gradients = backward(weighted_sum(y, upstream));
    compare_gradients(&mut gradients, &mut gnn, &arrange(&golden.gradients));
}

#[test]
fn gcn_is_that_of_pytorch_geometric() {
    compare_one_layer("gcn_conv", one_layer(LayerKind::Gcn, true), |arrays| {
        vec![arrays["lin.weight"].floats(), arrays["bias"].floats()]
    });
}

#[test]
fn sage_is_that_of_pytorch_geometric() {
    compare_one_layer("sage_conv", one_layer(LayerKind::Sage, false), |arrays| {
        ["lin_l.weight", "lin_l.bias", "lin_r.weight"].map(|name| arrays[name].floats()).to_vec()
    });
}

#[test]
fn gat_is_that_of_pytorch_geometric() {
    let Some(golden) = Golden::open("gat_conv_pyg") else { return };
    let names = ["lin.weight", "bias", "att_src", "att_dst"];
    let row = |name: &str| tensor(&device(), golden.parameters[name].floats(), 1, 12);
    let (weight, [bias, from, to]) =
        (golden.parameter("lin.weight"), ["bias", "att_src", "att_dst"].map(row));
    let attention = Attention { heads: 3, slope: 0.2, dropout: (0.0, 0), alone: Alone::Silence };
    let config = one_layer(LayerKind::Gat, true);
    let layer = |edges: &str| {
        let Messages::Unweighted(graph) = config.messages(GENES, golden.edges(edges).into_iter()) else {
            panic!("attention needs no weights")
        };
        let projected = linear_of_constant(&golden.features, &weight, None, Taped::default());
        add_row(graph_attention(projected, &from, &to, &graph, attention), &bias)
    };
    let directed = npy::read_all(&golden.folder.join("directed_outputs.npz")).unwrap();
    close("directed", values(&layer("edge_index_directed.npy")), &directed["gat_conv_pyg"].floats(), 2e-5);
    let y = layer("edge_index.npy");
    close("values", values(&y), &golden.outputs["out"].floats(), 2e-5);
    let upstream = npy::read(&golden.folder.join("upstream_grad_12.npy")).unwrap().floats();
    let mut gradients = backward(weighted_sum(y, upstream));
    for (name, tensor) in names.iter().zip([&weight, &bias, &from, &to]) {
        let expected = golden.gradients[*name].floats();
        let most = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        close(name, &gradient(&mut gradients, tensor), &expected, 2e-5 * most);
    }
}

/// The parameters of GENELink's layers in the order of the encoder's tensors.
fn genelink_layers(arrays: &Arrays, first: usize) -> Vec<Vec<f32>> {
    let mut all = Vec::new();
    for layer in first..first + 2 {
        let of = |what: &str| -> Vec<String> {
            (0..3).map(|head| format!("ConvLayer{layer}_AttentionHead{head}.{what}")).collect()
        };
        all.push(stacked(arrays, &of("weight"), true));
        all.push(stacked(arrays, &of("bias"), false));
        // The receiving gene's half comes first.
        all.push(half(arrays, &of("a"), true));
        all.push(half(arrays, &of("a"), false));
    }
    all
}

fn genelink(widths: [usize; 2]) -> Config {
    Config {
        layer: LayerKind::Genelink,
        widths: widths.to_vec(),
        self_loops: false,
        residual: false,
        ..Config::default()
    }
}

/// GENELink's two layers for each role, in the order of training.
struct Roles([Tensor; 8]);

const ROLES: [&str; 8] = [
    "tf_linear1.weight",
    "tf_linear1.bias",
    "tf_linear2.weight",
    "tf_linear2.bias",
    "target_linear1.weight",
    "target_linear1.bias",
    "target_linear2.weight",
    "target_linear2.bias",
];

impl Roles {
    fn forward(&self, encoded: &Tensor<Taped>, role: usize) -> Tensor<Taped> {
        let leaky = |x| activate(x, Activation::LeakyRelu(0.01));
        let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|i| &self.0[role * 4 + i]);
        leaky(linear(leaky(linear(encoded.retaped(), w1, Some(b1))), w2, Some(b2)))
    }
}

#[test]
fn genelink_is_that_of_its_own_code_through_ten_steps() {
    let Some(golden) = Golden::open("genelink_dot_concate") else { return };
    let config = genelink([16, 8]);
    let mut gnn = gnn(&config);
    fill(&mut gnn, genelink_layers(&golden.parameters, 1));
    let mut roles = Roles(ROLES.map(|name| golden.parameter(name)));
    let messages = config.messages(GENES, golden.edges("edge_index.npy").into_iter());
    let (tfs, targets, labels) = golden.pairs();
    let forward = |gnn: &Gnn, roles: &Roles| {
        let (encoded, tape) =
            gnn.encode(&golden.features, &messages, &mut Draws::none(), Taped::default()).split_tape();
        let (tf, tape_of_tf) = roles.forward(&encoded.retaped(), 0).split_tape();
        let (target, tape_of_target) = roles.forward(&encoded.retaped(), 1).split_tape();
        let pairs = dot(
            gather(tf.clone().put_tape(tape.merge(tape_of_tf)), &tfs),
            gather(target.clone().put_tape(tape_of_target), &targets),
        );
        (encoded, [tf, target], pairs)
    };
    let (encoded, [tf, target], pairs) = forward(&gnn, &roles);
    close("encode", values(&encoded), &golden.outputs["encode"].floats(), 2e-5);
    close("tf", values(&tf), &golden.outputs["tf_embedding"].floats(), 2e-5);
    close("target", values(&target), &golden.outputs["target_embedding"].floats(), 2e-5);
    close("pairs", values(&pairs), &golden.outputs["pred_raw"].floats(), 2e-5);
    let mut gradients = backward(binary_cross_entropy(pairs, &labels, 1.0));
    compare_gradients(&mut gradients, &mut gnn, &genelink_layers(&golden.gradients, 1));
    for (name, tensor) in ROLES.iter().zip(&roles.0) {
        close(name, &gradient(&mut gradients, tensor), &golden.gradients[*name].floats(), 2e-6);
    }
    let text = std::fs::read_to_string(golden.folder.join("genelink_dot_concate/adam10.json")).unwrap();
    let adam10: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (mut adam, mut losses) = (Adam::default(), Vec::new());
    for step in 0..11 {
        let loss = binary_cross_entropy(forward(&gnn, &roles).2, &labels, 1.0);
        losses.push(loss[[]]);
        let mut gradients = backward(loss);
        let mut parameters: Vec<&mut Tensor> =
            tensors(&mut gnn).into_iter().map(|named| named.tensor).collect();
        parameters.extend(roles.0.iter_mut());
        adam.step(3e-3 * 0.99f32.powi(step), &mut parameters, &mut gradients);
    }
    let numbers = adam10["losses"].as_array().unwrap();
    let expected: Vec<f32> = numbers.iter().map(|loss| loss.as_f64().unwrap() as f32).collect();
    close("ten losses", &losses, &expected, 2e-5);
}

#[test]
fn scregnets_joint_encoders_are_those_of_its_own_code() {
    type Arrange = fn(&Arrays) -> Vec<Vec<f32>>;
    let gcn: Arrange = |arrays| {
        let names = ["convs.0.lin.weight", "convs.0.bias", "convs.1.lin.weight", "convs.1.bias"];
        names.map(|name| arrays[name].floats()).to_vec()
    };
    let sage: Arrange = |arrays| {
        let layer = |i| ["weight", "bias"].map(|what| arrays[&format!("convs.{i}.lin_l.{what}")].floats());
        let own = |i: usize| vec![arrays[&format!("convs.{i}.lin_r.weight")].floats()];
        [layer(0).to_vec(), own(0), layer(1).to_vec(), own(1)].concat()
    };
    let gat: Arrange = |arrays| genelink_layers(arrays, 0);
    let plain = |layer, self_loops| Config {
        layer,
        widths: vec![12, 8],
        self_loops,
        residual: false,
        ..Config::default()
    };
    for (name, config, arrange) in [
        ("sctransnet_gcn", plain(LayerKind::Gcn, true), gcn),
        ("sctransnet_sage", plain(LayerKind::Sage, false), sage),
        ("sctransnet_gat", genelink([12, 8]), gat),
    ] {
        let Some(golden) = Golden::open(name) else { return };
        let mut gnn = gnn(&config);
        fill(&mut gnn, arrange(&golden.parameters));
        let messages = config.messages(GENES, golden.edges("edge_index.npy").into_iter());
        let encoded = gnn.encode(&golden.features, &messages, &mut Draws::none(), Taped::default());
        close(name, values(&encoded), &golden.outputs["encode"].floats(), 2e-5);
        // The transformer's embedding beside it, two layers for both roles alike, and one logit against the other.
        let pooled = npy::read(&golden.folder.join("fm_embedding.npy")).unwrap().floats();
        let (encoded, tape) = encoded.split_tape();
        let pooled = tensor(&device(), pooled, GENES, 10);
        let mut hidden = concatenate(pooled.retaped(), encoded.put_tape(tape));
        for layer in 0..2 {
            let [weight, bias] =
                ["weight", "bias"].map(|what| golden.parameter(&format!("layers.{layer}.{what}")));
            hidden = activate(linear(hidden, &weight, Some(&bias)), Activation::LeakyRelu(0.01));
        }
        close("hidden", values(&hidden), &golden.outputs["tf_embedding"].floats(), 2e-5);
        let (tfs, targets, labels) = golden.pairs();
        let (hidden, tape) = hidden.split_tape();
        let sides =
            concatenate(gather(hidden.clone().put_tape(tape), &tfs), gather(hidden.retaped(), &targets));
        let logits =
            linear(sides, &golden.parameter("linear.weight"), Some(&golden.parameter("linear.bias")));
        close("logits", values(&logits), &golden.outputs["pred_raw"].floats(), 2e-5);
        // A softmax of two is the logistic function of their difference.
        let difference = linear(logits, &tensor(&device(), vec![-1.0, 1.0], 1, 2), None);
        let mut gradients = backward(binary_cross_entropy(difference, &labels, 1.0));
        compare_gradients(&mut gradients, &mut gnn, &arrange(&golden.gradients));
    }
}
