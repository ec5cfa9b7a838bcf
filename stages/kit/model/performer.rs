//! scBERT's Performer (Yang et al. 2022): a transformer over all genes of a cell, linear in their number.
//!
//! x = `token[t] + position[gene]`; per block x += attention(norm(x)), x += feed(norm(x)), feed being linear, GELU,
//! linear; then a norm, whose result is the encoding of each gene, and a linear head. Attention is FAVOR+
//! (`kit::tensor::ops::favor`). Parameters have the names and shapes that PyTorch gives them in the original.

mod orthogonal;

use crate::kit::random::Random;
use crate::kit::tensor::ops::add::add;
use crate::kit::tensor::ops::favor::{Layout, Stabiliser, favor};
use crate::kit::tensor::ops::gather::gather;
use crate::kit::tensor::ops::layer_norm::layer_norm;
use crate::kit::tensor::ops::linear::{linear, linear_gelu};
use crate::kit::tensor::tape::Tape;
use crate::kit::tensor::{Device, Tensor, shape, tensor};
use anyhow::{Context, Result, ensure};
use dfdx::tensor::{PutTape, SplitTape};
use serde::{Deserialize, Serialize};

/// The sizes of a model; the defaults are scBERT's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Distinct tokens: expression bins, the mask's among them.
    pub tokens: usize,
    /// Positions: the genes of the vocabulary, and one for the trailing token of scBERT.
    pub positions: usize,
    /// The numbers that stand for one gene.
    pub width: usize,
    /// The number of blocks.
    pub depth: usize,
    /// The heads of an attention.
    pub heads: usize,
    /// The width of a head.
    pub head_width: usize,
    /// The random features of a head; head width times its logarithm where not given.
    pub features: Option<usize>,
    /// The width inside a feed-forward layer, in widths.
    pub feed_factor: usize,
    /// Whether the position table is trained.
    pub train_positions: bool,
    /// Over what keys are stabilised.
    pub stabiliser: Stabiliser,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            tokens: 7,
            positions: 16_907,
            width: 200,
            depth: 6,
            heads: 10,
            head_width: 64,
            features: None,
            feed_factor: 4,
            train_positions: false,
            stabiliser: Stabiliser::default(),
        }
    }
}

impl Config {
    /// The number of random features.
    pub fn features(&self) -> usize {
        let width = self.head_width as f64;
        self.features.unwrap_or((width * libm::log(width)) as usize)
    }
}

/// What happens to a tensor of the model in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Moves along its gradient.
    Trained,
    /// Stays as it is.
    Frozen,
}

/// One tensor of the model.
pub struct Named<'a> {
    /// As PyTorch names it in the original.
    pub name: String,
    /// Its values; a vector is a tensor of one row.
    pub tensor: &'a mut Tensor,
    /// What happens to it in training.
    pub role: Role,
}

/// The model.
#[derive(Debug, Clone)]
pub struct Performer {
    config: Config,
    token: Tensor,
    position: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
}

#[derive(Debug, Clone)]
struct Block {
    attention_norm: Norm,
    features: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    feed_norm: Norm,
    widen: Linear,
    narrow: Linear,
}

#[derive(Debug, Clone)]
struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

#[derive(Debug, Clone)]
struct Norm {
    gain: Tensor,
    bias: Tensor,
}

impl Performer {
    /// A model that has learned nothing: PyTorch's initial distributions, drawn from a seed.
    pub fn new(device: &Device, config: Config, seed: u64) -> Performer {
        let mut random = Random::new(seed, 0);
        let Config { width, heads, head_width, .. } = config;
        let (inner, feed) = (heads * head_width, config.feed_factor * width);
        let mut layer = |inputs, outputs, biased| Linear::new(device, &mut random, inputs, outputs, biased);
        let mut blocks = Vec::with_capacity(config.depth);
        for index in 0..config.depth {
            blocks.push(Block {
                attention_norm: Norm::new(device, width),
                features: draw_features(device, &config, seed, index, 0),
                query: layer(width, inner, false),
                key: layer(width, inner, false),
                value: layer(width, inner, false),
                output: layer(inner, width, true),
                feed_norm: Norm::new(device, width),
                widen: layer(width, feed, true),
                narrow: layer(feed, width, true),
            });
        }
        let head = layer(width, config.tokens, true);
        let mut table =
            |rows| tensor(device, (0..rows * width).map(|_| random.normal() as f32).collect(), rows, width);
        let (token, position) = (table(config.tokens), table(config.positions));
        Performer { token, position, blocks, norm: Norm::new(device, width), head, config }
    }

    /// The sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Draws new random features; each `draw` is another one of the same seed.
    pub fn redraw_features(&mut self, seed: u64, draw: u64) {
        for (index, block) in self.blocks.iter_mut().enumerate() {
            block.features = draw_features(&self.token.device().clone(), &self.config, seed, index, draw);
        }
    }

    /// The encoding of each gene of each cell.
    ///
    /// `tokens` are cells, one after the other, each of the same number of genes, the first of the vocabulary.
    /// Prereq: at least one cell and one gene.
    pub fn encode<T: Tape>(&self, tokens: &[u32], cells: usize, tape: T) -> Tensor<T> {
        let genes = tokens.len() / cells;
        let layout = Layout { cells, heads: self.config.heads, stabiliser: self.config.stabiliser };
        let positions: Vec<u32> = (0..cells).flat_map(|_| 0..genes as u32).collect();
        let token = gather(self.token.clone().put_tape(tape), tokens);
        let position = match self.config.train_positions {
            true => gather(self.position.retaped::<T>(), &positions),
            false => gather(self.position.clone(), &positions).put_tape(T::default()),
        };
        let embedded = add(token, position);
        let x = self.blocks.iter().fold(embedded, |x, block| block.forward(x, layout));
        self.norm.forward(x)
    }

    /// The logits of each token for each encoding.
    pub fn logits<T: Tape>(&self, encodings: Tensor<T>) -> Tensor<T> {
        self.head.forward(encodings)
    }

    /// Every tensor, in the order in which PyTorch lists them.
    pub fn tensors(&mut self) -> Vec<Named<'_>> {
        let mut list = List(Vec::new());
        list.push("token_emb.weight", &mut self.token, Role::Trained);
        let role = if self.config.train_positions { Role::Trained } else { Role::Frozen };
        list.push("pos_emb.emb.weight", &mut self.position, role);
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let Block { attention_norm, features, query, key, value, output, feed_norm, widen, narrow } =
                block;
            let at = format!("performer.net.layers.{index}");
            list.norm(&format!("{at}.0.norm"), attention_norm);
            list.push(&format!("{at}.0.fn.fast_attention.projection_matrix"), features, Role::Frozen);
            let attention = [("to_q", query), ("to_k", key), ("to_v", value), ("to_out", output)];
            attention.into_iter().for_each(|(name, layer)| list.linear(&format!("{at}.0.fn.{name}"), layer));
            list.norm(&format!("{at}.1.norm"), feed_norm);
            let feed = [("w1", widen), ("w2", narrow)];
            feed.into_iter().for_each(|(name, layer)| list.linear(&format!("{at}.1.fn.fn.{name}"), layer));
        }
        list.norm("norm", &mut self.norm);
        list.linear("to_out", &mut self.head);
        list.0
    }

    /// Takes every tensor from `source`, which hears the name and answers with shape and values.
    pub fn load(&mut self, mut source: impl FnMut(&str) -> Option<(Vec<usize>, Vec<f32>)>) -> Result<()> {
        for Named { name, tensor: into, .. } in self.tensors() {
            let (found, values) = source(&name).with_context(|| format!("the weights lack `{name}`"))?;
            let (rows, columns) = shape(into);
            let fits = found == [rows, columns] || (rows == 1 && found == [columns]);
            ensure!(
                fits && values.len() == rows * columns,
                "`{name}` has the shape {found:?}, expected {rows} x {columns}"
            );
            *into = tensor(&into.device().clone(), values, rows, columns);
        }
        Ok(())
    }
}

impl Block {
    fn forward<T: Tape>(&self, x: Tensor<T>, layout: Layout) -> Tensor<T> {
        let (x, tape) = x.split_tape();
        let (normal, tape) = self.attention_norm.forward(x.clone().put_tape(tape)).split_tape();
        let q = self.query.forward(normal.clone().put_tape(tape));
        let [k, v] = [&self.key, &self.value].map(|layer| layer.forward(normal.retaped::<T>()));
        let attended = self.output.forward(favor(q, k, v, &self.features, layout));
        let (x, tape) = add(attended, x.retaped::<T>()).split_tape();
        let normal = self.feed_norm.forward(x.clone().put_tape(tape));
        let wide = linear_gelu(normal, &self.widen.weight, self.widen.bias.as_ref());
        add(self.narrow.forward(wide), x.retaped::<T>())
    }
}

impl Linear {
    /// PyTorch's start: uniform within 1 / √inputs.
    fn new(device: &Device, random: &mut Random, inputs: usize, outputs: usize, biased: bool) -> Linear {
        let bound = 1.0 / (inputs as f64).sqrt();
        let mut draw = |rows: usize, columns: usize| {
            let values = (0..rows * columns).map(|_| random.between(-bound, bound) as f32).collect();
            tensor(device, values, rows, columns)
        };
        Linear { weight: draw(outputs, inputs), bias: biased.then(|| draw(1, outputs)) }
    }

    fn forward<T: Tape>(&self, x: Tensor<T>) -> Tensor<T> {
        linear(x, &self.weight, self.bias.as_ref())
    }
}

impl Norm {
    fn new(device: &Device, width: usize) -> Norm {
        let row = |value| tensor(device, vec![value; width], 1, width);
        Norm { gain: row(1.0), bias: row(0.0) }
    }

    fn forward<T: Tape>(&self, x: Tensor<T>) -> Tensor<T> {
        layer_norm(x, &self.gain, &self.bias)
    }
}

fn draw_features(device: &Device, config: &Config, seed: u64, block: usize, draw: u64) -> Tensor {
    // Stream 0 is the weights'.
    let mut random = Random::new(seed, 1 + block as u64 + draw * config.depth as u64);
    let values = orthogonal::features(&mut random, config.features(), config.head_width);
    tensor(device, values, config.features(), config.head_width)
}

struct List<'a>(Vec<Named<'a>>);

impl<'a> List<'a> {
    fn push(&mut self, name: &str, tensor: &'a mut Tensor, role: Role) {
        self.0.push(Named { name: name.to_owned(), tensor, role });
    }

    fn linear(&mut self, name: &str, Linear { weight, bias }: &'a mut Linear) {
        self.push(&format!("{name}.weight"), weight, Role::Trained);
        if let Some(bias) = bias {
            self.push(&format!("{name}.bias"), bias, Role::Trained);
        }
    }

    fn norm(&mut self, name: &str, Norm { gain, bias }: &'a mut Norm) {
        self.push(&format!("{name}.weight"), gain, Role::Trained);
        self.push(&format!("{name}.bias"), bias, Role::Trained);
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Performer};
    use crate::kit::tensor::{Untaped, device, values};

    fn small() -> Config {
        Config { positions: 40, width: 16, depth: 2, heads: 2, head_width: 8, ..Config::default() }
    }

    fn tokens(cells: usize, genes: usize) -> Vec<u32> {
        (0..cells * genes).map(|i| (i * i + i / genes) as u32 % 7).collect()
    }

    #[test]
    fn the_default_has_the_features_of_scbert() {
        assert_eq!(Config::default().features(), 266);
    }

    #[test]
    fn an_encoding_does_not_depend_on_batch_mates() {
        let model = Performer::new(&device(), small(), 1);
        let tokens = tokens(5, 40);
        let together = model.encode(&tokens, 5, Untaped);
        for (cell, tokens) in tokens.chunks(40).enumerate() {
            let alone = model.encode(tokens, 1, Untaped);
            // Bit for bit: attention sums over the genes of one cell, and layers know of no other row.
            assert_eq!(values(&alone), &values(&together)[cell * 40 * 16..][..40 * 16], "cell {cell}");
        }
    }

    #[test]
    fn encodings_are_the_same_on_any_number_of_threads() {
        let model = Performer::new(&device(), small(), 1);
        let encode = || values(&model.encode(&tokens(5, 40), 5, Untaped)).to_vec();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let one = pool.install(encode);
        assert_eq!(one, encode());
    }

    #[test]
    fn another_draw_of_features_is_another_model_and_the_same_draw_the_same() {
        let mut model = Performer::new(&device(), small(), 1);
        let encode = |model: &Performer| values(&model.encode(&tokens(1, 40), 1, Untaped)).to_vec();
        let first = encode(&model);
        model.redraw_features(1, 1);
        assert_ne!(encode(&model), first);
        model.redraw_features(1, 0);
        assert_eq!(encode(&model), first);
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let mut model = Performer::new(&device(), small(), 1);
        assert_eq!(model.load(|_| None).unwrap_err().to_string(), "the weights lack `token_emb.weight`");
        let error = model.load(|_| Some((vec![7, 8], vec![0.0; 56]))).unwrap_err();
        assert_eq!(error.to_string(), "`token_emb.weight` has the shape [7, 8], expected 7 x 16");
    }
}
