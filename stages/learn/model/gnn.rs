//! Encoders of genes in a network: GCN, GraphSAGE, GAT, GENELink's GAT and GNNLink's GCN.
//!
//! GCN (Kipf and Welling 2017): D^-½ A D^-½ X Wᵀ + b. GraphSAGE (Hamilton et al. 2017): mean(x_j) W_lᵀ + b + x_i W_rᵀ.
//! GAT (Veličković et al. 2018): `kit::tensor::ops::graph_attention` of X Wᵀ, plus b; heads lie side by side, and are
//! averaged in the last layer. GENELink's GAT (Chen and Liu 2022) applies a leaky ReLU to each head and normalises it
//! to length 1 before adding the bias, and a gene without neighbours receives the mean over all genes. Values and
//! gradients match PyTorch Geometric and GENELink's own code.

use super::draws::Draws;
use super::layers::{Input, List, glorot};
use contract::bounds::{WIDEST, share_below, within};
use contract::stage::Mistake;
use data::random::Random;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tensor::graph::Graph;
use tensor::ops::activation::{Activation, activate};
use tensor::ops::add::add;
use tensor::ops::add_row::add_row;
use tensor::ops::aggregate::{Weighted, aggregate};
use tensor::ops::graph_attention::{Alone, Attention, Unweighted, graph_attention};
use tensor::ops::mean_heads::mean_heads;
use tensor::ops::unit::unit;
use tensor::tape::Tape;
use tensor::{Device, Tensor, shape, tensor, values};

/// The slope of the leaky ReLU in attention, the same in all the papers.
const SLOPE: f32 = 0.2;
/// The gain of GENELink's initialisation.
const GENELINK_GAIN: f64 = 1.414;

/// The settings of an encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How genes hear their neighbours.
    pub layer: LayerKind,
    /// The output widths of the layers; with attention, the width of each head.
    pub widths: Vec<usize>,
    /// The number of attention heads.
    pub heads: usize,
    /// The dropout rate of each layer's input in training, except the first layer's.
    pub dropout: f64,
    /// The dropout rate of attention weights in training.
    pub attention_dropout: f64,
    /// Adds each layer's input to its output, through a matrix if the widths differ.
    pub residual: bool,
    /// Whether each gene also hears itself.
    pub self_loops: bool,
}

/// How genes hear their neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// Sums normalised by degrees.
    Gcn,
    /// The mean of the neighbours, with separate weights for the gene itself.
    Sage,
    /// Attention over the neighbours.
    Gat,
    /// Attention as in GENELink.
    Genelink,
    /// Degree-normalised sums as in GNNLink, where TFs hear their targets and no other gene hears anything.
    Gnnlink,
    /// No messages: a plain network applied to each gene, as a control.
    Deaf,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            layer: LayerKind::Gcn,
            widths: vec![32, 16],
            heads: 3,
            dropout: 0.5,
            attention_dropout: 0.0,
            residual: true,
            self_loops: true,
        }
    }
}

/// The graph, prepared for one kind of layer.
#[derive(Debug, Clone)]
pub enum Messages {
    /// With fixed edge weights.
    Weighted(Arc<Weighted>),
    /// Without weights: attention learns them.
    Unweighted(Arc<Unweighted>),
    /// No messages.
    None,
}

impl Config {
    /// Rejects invalid settings.
    pub fn check(&self) -> Result<(), Mistake> {
        if self.widths.is_empty() {
            return Err(Mistake::param("gnn.widths", "`gnn.widths` must have at least one layer"));
        }
        for (i, width) in self.widths.iter().enumerate() {
            within(&format!("gnn.widths.{i}"), *width, 1..=WIDEST)?;
        }
        within("gnn.heads", self.heads, 1..=WIDEST)?;
        share_below("gnn.dropout", self.dropout, 1.0)?;
        share_below("gnn.attention_dropout", self.attention_dropout, 1.0)
    }

    /// The width of an encoding.
    pub fn outputs(&self) -> usize {
        self.widths.last().copied().unwrap_or(0)
    }

    /// The width of a layer's output. In inner layers the heads lie side by side.
    fn outputs_of(&self, layer: usize) -> usize {
        let last = layer + 1 == self.widths.len();
        if last { self.widths[layer] } else { self.widths[layer] * self.heads() }
    }

    fn heads(&self) -> usize {
        match self.layer {
            LayerKind::Gat | LayerKind::Genelink => self.heads,
            LayerKind::Gcn | LayerKind::Gnnlink | LayerKind::Sage | LayerKind::Deaf => 1,
        }
    }

    /// Prepares a network of (regulator, target) edges.
    pub fn messages_of_network(&self, genes: usize, edges: impl Iterator<Item = (u32, u32)>) -> Messages {
        match self.layer {
            LayerKind::Gnnlink => self.messages(genes, edges.map(|(tf, target)| (target, tf))),
            _ => self.messages(genes, edges.flat_map(|(tf, target)| [(tf, target), (target, tf)])),
        }
    }

    /// Prepares a network of (heard, hearer) edges.
    pub fn messages(&self, genes: usize, edges: impl Iterator<Item = (u32, u32)>) -> Messages {
        if self.layer == LayerKind::Deaf {
            return Messages::None;
        }
        let loops = (0..if self.self_loops { genes as u32 } else { 0 }).map(|gene| (gene, gene));
        let graph = Graph::new(genes, edges.chain(loops));
        if matches!(self.layer, LayerKind::Gat | LayerKind::Genelink) {
            return Messages::Unweighted(Arc::new(Unweighted::new(graph)));
        }
        let heard = graph.heard();
        let twice = self.layer == LayerKind::Gnnlink && self.self_loops;
        let degree = |gene: usize| (heard.degree(gene) + usize::from(twice)) as f32;
        let mut weights = Vec::with_capacity(graph.edges());
        for gene in 0..genes {
            for edge in heard.range(gene) {
                // As in PyTorch Geometric, the degree is the number of genes that a gene hears; a gene of degree 0
                // contributes nothing.
                let neighbour = heard.neighbours()[edge] as usize;
                let from = degree(neighbour);
                weights.push(match self.layer {
                    LayerKind::Gnnlink if neighbour == gene => 2.0 / from,
                    LayerKind::Gnnlink if from == 0.0 => 0.0,
                    LayerKind::Gnnlink => 1.0 / (from * degree(gene)).sqrt(),
                    LayerKind::Gcn if from == 0.0 => 0.0,
                    LayerKind::Gcn => 1.0 / (from * degree(gene)).sqrt(),
                    _ => 1.0 / degree(gene),
                });
            }
        }
        Messages::Weighted(Arc::new(Weighted::new(graph, weights)))
    }
}

/// The encoder.
#[derive(Debug, Clone)]
pub struct Gnn {
    config: Config,
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    weight: Tensor,
    bias: Option<Tensor>,
    /// GraphSAGE's weights for the gene itself.
    own: Option<Tensor>,
    /// The attention vectors.
    attention: Option<[Tensor; 2]>,
    /// Projects the residual if the widths differ.
    residual: Option<Tensor>,
}

impl Layer {
    /// Glorot initialisation, treating each head as a matrix of its own, and zero biases.
    fn new(device: &Device, config: &Config, index: usize, inputs: usize, random: &mut Random) -> Layer {
        let (width, heads, outputs) = (config.widths[index], config.heads(), config.outputs_of(index));
        let genelink = config.layer == LayerKind::Genelink;
        let gain = if genelink { GENELINK_GAIN } else { 1.0 };
        let rows: Vec<f32> =
            (0..heads).flat_map(|_| values(&glorot(device, random, inputs, width, gain)).to_vec()).collect();
        let weight = tensor(device, rows, heads * width, inputs);
        let attends = genelink || config.layer == LayerKind::Gat;
        // The two vectors of a head are initialised as halves of one column.
        let bound = gain * (6.0 / (2 * width + 1) as f64).sqrt();
        let mut vector = || {
            let values = (0..heads * width).map(|_| random.between(-bound, bound) as f32).collect();
            tensor(device, values, 1, heads * width)
        };
        let attention = attends.then(|| [vector(), vector()]);
        let biases = if genelink { heads * width } else { outputs };
        let biased = config.layer != LayerKind::Gnnlink;
        let bias = biased.then(|| tensor(device, vec![0.0; biases], 1, biases));
        let own = (config.layer == LayerKind::Sage).then(|| glorot(device, random, inputs, width, gain));
        let residual =
            (config.residual && inputs != outputs).then(|| glorot(device, random, inputs, outputs, 1.0));
        Layer { weight, bias, own, attention, residual }
    }
}

impl Gnn {
    /// An untrained encoder, for genes with this many features.
    pub fn new(device: &Device, config: Config, features: usize, random: &mut Random) -> Gnn {
        let mut inputs = features;
        let mut layers = Vec::with_capacity(config.widths.len());
        for index in 0..config.widths.len() {
            let layer = Layer::new(device, &config, index, inputs, random);
            inputs = config.outputs_of(index);
            layers.push(layer);
        }
        Gnn { config, layers }
    }

    /// The encoding of each gene, given its features.
    pub fn encode<T: Tape>(
        &self,
        features: &Tensor,
        messages: &Messages,
        draws: &mut Draws,
        tape: T,
    ) -> Tensor<T> {
        let mut layers = self.layers.iter().enumerate();
        let Some((_, first)) = layers.next() else { unreachable!("an encoder has layers") };
        let gnnlink = self.config.layer == LayerKind::Gnnlink;
        let features = if gnnlink { &unit(features.clone(), shape(features).1) } else { features };
        let mut x = self.layer(first, 0, Input::Constant(features), messages, draws, tape);
        for (index, layer) in layers {
            x = activate(x, self.activation());
            x = draws.drop(x, self.config.dropout as f32);
            let (input, tape) = x.split_tape();
            x = self.layer(layer, index, Input::Computed(&input), messages, draws, tape);
        }
        if gnnlink { activate(x, self.activation()) } else { x }
    }

    fn activation(&self) -> Activation {
        match self.config.layer {
            LayerKind::Gat | LayerKind::Genelink => Activation::Elu,
            LayerKind::Gnnlink => Activation::LeakyRelu(SLOPE),
            LayerKind::Gcn | LayerKind::Sage | LayerKind::Deaf => Activation::Relu,
        }
    }

    fn layer<T: Tape>(
        &self,
        layer: &Layer,
        index: usize,
        x: Input,
        messages: &Messages,
        draws: &mut Draws,
        tape: T,
    ) -> Tensor<T> {
        let projected = x.through(&layer.weight, None, tape);
        let heard = match (messages, &layer.attention) {
            (Messages::None, _) => projected,
            (Messages::Weighted(weighted), _) => aggregate(projected, weighted),
            (Messages::Unweighted(graph), Some([from, to])) => {
                let alone = match self.config.layer {
                    LayerKind::Genelink => Alone::Everyone,
                    _ => Alone::Silence,
                };
                let dropout = draws.next(self.config.attention_dropout as f32);
                let attention = Attention { heads: self.config.heads, slope: SLOPE, dropout, alone };
                graph_attention(projected, from, to, graph, attention)
            }
            (Messages::Unweighted(_), None) => unreachable!("messages are those of the configuration"),
        };
        let last = index + 1 == self.layers.len();
        let averaged =
            |y| if last && layer.attention.is_some() { mean_heads(y, self.config.heads) } else { y };
        let biased = |y| match &layer.bias {
            Some(bias) => add_row(y, bias),
            None => y,
        };
        let mut y = if self.config.layer == LayerKind::Genelink {
            let width = shape(&heard).1 / self.config.heads;
            averaged(biased(unit(activate(heard, Activation::LeakyRelu(SLOPE)), width)))
        } else {
            biased(averaged(heard))
        };
        if let Some(own) = &layer.own {
            y = add(y, x.through(own, None, T::default()));
        }
        match (&layer.residual, x) {
            (Some(residual), _) => add(y, x.through(residual, None, T::default())),
            (None, Input::Computed(x) | Input::Constant(x)) if self.config.residual => {
                add(y, x.retaped::<T>())
            }
            (None, _) => y,
        }
    }

    /// Lists every tensor with its name.
    pub fn list<'a>(&'a mut self, at: &str, list: &mut List<'a>) {
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let Layer { weight, bias, own, attention, residual } = layer;
            let at = format!("{at}.layers.{index}");
            list.push(&format!("{at}.weight"), weight);
            if let Some(bias) = bias {
                list.push(&format!("{at}.bias"), bias);
            }
            if let Some(own) = own {
                list.push(&format!("{at}.own"), own);
            }
            if let Some([from, to]) = attention {
                list.push(&format!("{at}.attention_from"), from);
                list.push(&format!("{at}.attention_to"), to);
            }
            if let Some(residual) = residual {
                list.push(&format!("{at}.residual"), residual);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Gnn, LayerKind};
    use crate::model::draws::Draws;
    use data::random::Random;
    use tensor::testing::{difference, normal};
    use tensor::{Untaped, device, tensor, values};

    /// The dense reference: L(A L(A X W) V), A = D^-½ (N + 2 I) D^-½, with N from TF to target and D its row sums.
    #[test]
    fn gnnlinks_genes_hear_their_targets_and_themselves_twice() {
        const GENES: usize = 5;
        let edges = [(0u32, 1u32), (0, 2), (1, 0), (3, 1)];
        let config =
            Config { layer: LayerKind::Gnnlink, widths: vec![4, 3], residual: false, ..Config::default() };
        let device = device();
        let gnn = Gnn::new(&device, config.clone(), 6, &mut Random::new(1, 0));
        let features = tensor(&device, normal(GENES * 6, 0), GENES, 6);
        let messages = config.messages_of_network(GENES, edges.into_iter());
        let found = gnn.encode(&features, &messages, &mut Draws::none(), Untaped);

        let mut sums = [[0.0f32; GENES]; GENES];
        (0..GENES).for_each(|gene| sums[gene][gene] = 2.0);
        edges.iter().for_each(|(tf, target)| sums[*tf as usize][*target as usize] = 1.0);
        let degree = sums.map(|row| row.iter().sum::<f32>());
        let layer = |x: &[f32], inputs: usize, weight: &[f32]| -> Vec<f32> {
            let outputs = weight.len() / inputs;
            let projected = |gene: usize, output: usize| -> f32 {
                (0..inputs).map(|i| x[gene * inputs + i] * weight[output * inputs + i]).sum()
            };
            let heard = |place: usize| {
                let (gene, output) = (place / outputs, place % outputs);
                let weigh = |other: usize| sums[gene][other] / (degree[gene] * degree[other]).sqrt();
                let sum: f32 = (0..GENES).map(|other| weigh(other) * projected(other, output)).sum();
                if sum < 0.0 { 0.2 * sum } else { sum }
            };
            (0..GENES * outputs).map(heard).collect()
        };
        let mut x = values(&features).to_vec();
        for row in x.chunks_exact_mut(6) {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            row.iter_mut().for_each(|value| *value /= length);
        }
        let hidden = layer(&x, 6, values(&gnn.layers[0].weight));
        let expected = layer(&hidden, 4, values(&gnn.layers[1].weight));
        // Sums of about ten terms below 1.
        assert!(difference(values(&found), &expected) < 1e-6);
    }
}
