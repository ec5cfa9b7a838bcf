//! scBERT's Performer (Yang et al. 2022): a transformer over all genes of a cell, linear in their number.
//!
//! x = `token[t] + position[gene]`. Each block computes x += attention(norm(x)), x += feed(norm(x)), with feed =
//! linear, GELU, linear. A final norm gives the encoding of each gene, and a linear head follows, beside which a
//! [`Readout`] may predict genes from a vector of the whole cell. Attention is FAVOR+ (`tensor::ops::favor`). Parameters
//! have the names and shapes of the original in PyTorch.

mod orthogonal;
mod rollout;
mod slopes;

use super::layers::{Linear, List, Norm};
use super::parameters::{Named, Role};
use super::readout::{Priors, Readout};
use anyhow::Result;
use contract::bounds::{MOST, WIDEST, within};
use contract::stage::Mistake;
use data::random::Random;
use serde::{Deserialize, Serialize};
use tensor::ops::add::add;
use tensor::ops::favor::{Layout, Stabiliser, favor_of};
use tensor::ops::gather::gather;
use tensor::tape::Tape;
use tensor::{Device, Tensor, shape, tensor};

/// The name of the head's tensors.
const HEAD: &str = "to_out";
/// The number of genes, over all cells, per batch on the CPU.
const GENES_AT_ONCE: usize = 1 << 13;
/// The same on a GPU.
const GENES_AT_ONCE_ON_GPU: usize = 1 << 19;

/// The sizes of the embedding tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    /// Distinct tokens: the expression bins and the mask token.
    pub tokens: usize,
    /// Positions: the genes of the vocabulary, and one for scBERT's trailing token.
    pub positions: usize,
}

/// The sizes of a model; the defaults are scBERT's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The width of a gene's encoding.
    pub width: usize,
    /// The number of blocks.
    pub depth: usize,
    /// The number of attention heads.
    pub heads: usize,
    /// The width of a head.
    pub head_width: usize,
    /// The number of random features per head; by default the head width times its logarithm.
    pub features: Option<usize>,
    /// The width of the feed-forward layer, as a multiple of the model's width.
    pub feed_factor: usize,
    /// The width of a cell's own vector, from which hidden genes are predicted beside their encodings; null, as in
    /// scBERT, predicts them from their encodings alone.
    pub cell_width: Option<usize>,
    /// Whether the position table is trained.
    pub train_positions: bool,
    /// The range of the keys' stabiliser.
    pub stabiliser: Stabiliser,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            width: 200,
            depth: 6,
            heads: 10,
            head_width: 64,
            features: None,
            feed_factor: 4,
            cell_width: None,
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

    /// Rejects invalid sizes, and a model too large for any memory.
    pub fn check(&self) -> Result<(), Mistake> {
        let Config { width, depth, heads, head_width, feed_factor, .. } = *self;
        let sizes = [
            ("model.width", width),
            ("model.depth", depth),
            ("model.heads", heads),
            ("model.head_width", head_width),
            ("model.features", self.features()),
            ("model.feed_factor", feed_factor),
            ("model.cell_width", self.cell_width.unwrap_or(1)),
        ];
        for (name, size) in sizes {
            within(name, size, 1..=WIDEST)?;
        }
        // Each block has four attention matrices and two feed-forward ones.
        let of_block = 4 * heads as u128 * head_width as u128 + 2 * width as u128 * feed_factor as u128;
        let weights = depth as u128 * width as u128 * of_block;
        if weights > MOST as u128 {
            let message = format!("the model would have {weights} weights, more than {MOST}");
            return Err(Mistake::param("model", message));
        }
        Ok(())
    }
}

/// The model.
#[derive(Debug, Clone)]
pub struct Performer {
    config: Config,
    /// The number of frozen blocks; if set, the embedding tables are frozen too.
    frozen: Option<usize>,
    token: Tensor,
    position: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
    readout: Option<Readout>,
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

impl Performer {
    /// An untrained model, drawn from a seed with PyTorch's initial distributions.
    pub fn new(device: &Device, config: Config, tables: Tables, seed: u64) -> Performer {
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
        let readout = config.cell_width.map(|width| Readout::new(device, width, tables, seed));
        let head = match readout {
            None => layer(width, tables.tokens, true),
            // Training starts from what the readout predicts.
            Some(_) => Linear::zero(device, width, tables.tokens),
        };
        let mut table =
            |rows| tensor(device, (0..rows * width).map(|_| random.normal() as f32).collect(), rows, width);
        let (token, position) = (table(tables.tokens), table(tables.positions));
        Performer {
            token,
            position,
            blocks,
            norm: Norm::new(device, width),
            head,
            readout,
            config,
            frozen: None,
        }
    }

    /// The sizes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The sizes of its tables.
    pub fn tables(&self) -> Tables {
        Tables { tokens: shape(&self.token).0, positions: shape(&self.position).0 }
    }

    /// The device of its tensors.
    pub fn device(&self) -> &Device {
        self.token.device()
    }

    /// Replaces the position table; `positions` is row-major. Prereq: its size equals that of the current table.
    pub fn place(&mut self, positions: Vec<f32>) {
        let (rows, columns) = shape(&self.position);
        self.position = tensor(&self.device().clone(), positions, rows, columns);
    }

    /// Freezes everything in training except the last `blocks` blocks, the final norm and the head.
    pub fn train_last(&mut self, blocks: usize) {
        self.frozen = Some(self.blocks.len().saturating_sub(blocks));
    }

    /// Redraws the random features; each `draw` gives different ones for the same seed.
    pub fn redraw_features(&mut self, seed: u64, draw: u64) {
        for (index, block) in self.blocks.iter_mut().enumerate() {
            block.features = draw_features(&block.features.device().clone(), &self.config, seed, index, draw);
        }
    }

    /// The encoding of each gene of each cell.
    ///
    /// `tokens` holds the cells one after the other, each with the same number of genes, which are the first of the
    /// vocabulary. Prereq: at least one cell and one gene.
    pub fn encode<T: Tape>(&self, tokens: &[u32], cells: usize, tape: T) -> Tensor<T> {
        if self.frozen.is_some() {
            // The frozen part needs no tape.
            return self.finish(self.trunk(tokens, cells).put_tape(tape), cells);
        }
        let positions = positions(tokens, cells);
        let token = gather(self.token.clone().put_tape(tape), tokens);
        let position = match self.config.train_positions {
            true => gather(self.position.retaped::<T>(), &positions),
            false => gather(self.position.clone(), &positions).put_tape(T::default()),
        };
        self.finish(add(token, position), cells)
    }

    /// The output of the frozen part, i.e. of everything before the first trained block; arguments as for `encode`.
    pub fn trunk(&self, tokens: &[u32], cells: usize) -> Tensor {
        let positions = positions(tokens, cells);
        let x = add(gather(self.token.clone(), tokens), gather(self.position.clone(), &positions));
        let frozen = &self.blocks[..self.frozen.unwrap_or(0)];
        frozen.iter().fold(x, |x, block| block.forward(x, self.layout(cells)))
    }

    /// The encodings, given the `trunk` of this many cells.
    pub fn finish<T: Tape>(&self, trunk: Tensor<T>, cells: usize) -> Tensor<T> {
        let trained = &self.blocks[self.frozen.unwrap_or(0)..];
        let x = trained.iter().fold(trunk, |x, block| block.forward(x, self.layout(cells)));
        self.norm.forward(x)
    }

    fn layout(&self, cells: usize) -> Layout {
        Layout { cells, heads: self.config.heads, stabiliser: self.config.stabiliser }
    }

    /// The default number of cells per batch: enough work for every thread, but a single cell if encodings depend on
    /// the other cells of the batch.
    pub fn cells_at_once(&self) -> usize {
        let genes = if self.device().card().is_some() { GENES_AT_ONCE_ON_GPU } else { GENES_AT_ONCE };
        match self.config.stabiliser {
            Stabiliser::Row => (genes / self.tables().positions).clamp(1, 64),
            Stabiliser::Batch => 1,
        }
    }

    /// The number of cells per batch, if the user wants this many: by default enough work for every thread, but always a
    /// single cell if encodings depend on the other cells of the batch, because a batch's size must not affect a result.
    pub fn batch(&self, wanted: Option<usize>) -> usize {
        match self.config.stabiliser {
            Stabiliser::Row => wanted.unwrap_or(self.cells_at_once()),
            Stabiliser::Batch => 1,
        }
    }

    /// The token logits of each gene of each cell, from its encodings; `tokens` and `cells` as for `encode`. Prereq: with
    /// a readout, the cells have every position of the vocabulary.
    pub fn logits<T: Tape>(&self, encodings: Tensor<T>, tokens: &[u32], cells: usize) -> Tensor<T> {
        let logits = self.head.forward(encodings);
        match &self.readout {
            None => logits,
            Some(readout) => readout.add_to(logits, tokens, cells),
        }
    }

    /// Tells an untrained model what the training cells say of each gene; only a model with a readout makes use of it.
    pub fn know(&mut self, priors: &Priors, cells: &[u32]) {
        if let Some(readout) = &mut self.readout {
            readout.know(priors, cells);
        }
    }

    /// What predicts genes from a vector of the whole cell, if the model has it.
    pub fn readout(&self) -> Option<&Readout> {
        self.readout.as_ref()
    }

    /// Every tensor that encodings depend on: all except the head's.
    pub fn encoder_tensors(&mut self) -> Vec<Named<'_>> {
        let mut tensors = self.tensors();
        tensors.retain(|named| !named.name.starts_with(HEAD));
        tensors
    }

    /// Every tensor, in PyTorch's order.
    pub fn tensors(&mut self) -> Vec<Named<'_>> {
        let frozen = |is: bool| if is { Role::Frozen } else { Role::Trained };
        let mut list = List::new(frozen(self.frozen.is_some()));
        list.push("token_emb.weight", &mut self.token);
        list.role = frozen(self.frozen.is_some() || !self.config.train_positions);
        list.push("pos_emb.emb.weight", &mut self.position);
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let Block { attention_norm, features, query, key, value, output, feed_norm, widen, narrow } =
                block;
            let at = format!("performer.net.layers.{index}");
            let role = frozen(self.frozen.is_some_and(|count| index < count));
            list.role = role;
            list.norm(&format!("{at}.0.norm"), attention_norm);
            list.role = Role::Frozen;
            list.push(&format!("{at}.0.fn.fast_attention.projection_matrix"), features);
            list.role = role;
            let attention = [("to_q", query), ("to_k", key), ("to_v", value), ("to_out", output)];
            attention.into_iter().for_each(|(name, layer)| list.linear(&format!("{at}.0.fn.{name}"), layer));
            list.norm(&format!("{at}.1.norm"), feed_norm);
            let feed = [("w1", widen), ("w2", narrow)];
            feed.into_iter().for_each(|(name, layer)| list.linear(&format!("{at}.1.fn.fn.{name}"), layer));
        }
        list.role = Role::Trained;
        list.norm("norm", &mut self.norm);
        list.linear(HEAD, &mut self.head);
        if let Some(readout) = &mut self.readout {
            readout.list(&format!("{HEAD}.cell"), &mut list);
        }
        list.named()
    }
}

impl Block {
    fn forward<T: Tape>(&self, x: Tensor<T>, layout: Layout) -> Tensor<T> {
        let (x, tape) = x.split_tape();
        let normal = self.attention_norm.forward(x.clone().put_tape(tape));
        let layers = [&self.query, &self.key, &self.value].map(Linear::weight);
        let attended = favor_of(normal, layers, &self.features, layout);
        let (x, tape) = self.output.forward_add(attended, x.retaped::<T>()).split_tape();
        let normal = self.feed_norm.forward(x.clone().put_tape(tape));
        let wide = self.widen.forward_gelu(normal);
        self.narrow.forward_add(wide, x.retaped::<T>())
    }
}

/// The position of each token.
fn positions(tokens: &[u32], cells: usize) -> Vec<u32> {
    let genes = tokens.len() / cells;
    (0..cells).flat_map(|_| 0..genes as u32).collect()
}

fn draw_features(device: &Device, config: &Config, seed: u64, block: usize, draw: u64) -> Tensor {
    // Stream 0 draws the weights.
    let mut random = Random::new(seed, 1 + block as u64 + draw * config.depth as u64);
    let values = orthogonal::features(&mut random, config.features(), config.head_width);
    tensor(device, values, config.features(), config.head_width)
}

#[cfg(test)]
mod tests {
    use super::{Config, Performer, Tables};
    use crate::model::parameters::Role;
    use tensor::ops::cross_entropy::cross_entropy;
    use tensor::tape::{backward, gradient};
    use tensor::{Taped, Untaped, device, values};

    fn small() -> Performer {
        let config = Config { width: 16, depth: 2, heads: 2, head_width: 8, ..Config::default() };
        Performer::new(&device(), config, Tables { tokens: 7, positions: 40 }, 1)
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
        let model = small();
        let tokens = tokens(5, 40);
        let together = model.encode(&tokens, 5, Untaped);
        for (cell, tokens) in tokens.chunks(40).enumerate() {
            let alone = model.encode(tokens, 1, Untaped);
            // Bit for bit: attention sums over the genes of one cell, and all other layers work row by row.
            assert_eq!(values(&alone), &values(&together)[cell * 40 * 16..][..40 * 16], "cell {cell}");
        }
    }

    #[test]
    fn encodings_are_the_same_on_any_number_of_threads() {
        let model = small();
        let encode = || values(&model.encode(&tokens(5, 40), 5, Untaped)).to_vec();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let one = pool.install(encode);
        assert_eq!(one, encode());
    }

    #[test]
    fn another_draw_of_features_is_another_model_and_the_same_draw_the_same() {
        let mut model = small();
        let encode = |model: &Performer| values(&model.encode(&tokens(1, 40), 1, Untaped)).to_vec();
        let first = encode(&model);
        model.redraw_features(1, 1);
        assert_ne!(encode(&model), first);
        model.redraw_features(1, 0);
        assert_eq!(encode(&model), first);
    }

    #[test]
    fn a_frozen_trunk_changes_no_value_and_the_rest_has_the_gradients_it_had() {
        let (mut whole, mut last) = (small(), small());
        last.train_last(1);
        let tokens = tokens(2, 40);
        let mut gradients = [&whole, &last].map(|model| {
            let logits = model.logits(model.encode(&tokens, 2, Taped::default()), &tokens, 2);
            backward(cross_entropy(logits, &tokens))
        });
        let mut trained = 0;
        for (a, b) in whole.tensors().into_iter().zip(last.tensors()) {
            assert_eq!(a.name, b.name);
            if b.role == Role::Trained {
                trained += 1;
                let [of_whole, of_last] = &mut gradients;
                assert!(gradient(of_whole, a.tensor) == gradient(of_last, b.tensor), "{}", a.name);
                assert!(!a.name.contains("layers.0") && !a.name.contains("emb"), "{}", a.name);
            }
        }
        // A block has two norms, four projections (one with a bias) and two layers with biases; then a norm and a head.
        assert_eq!(trained, 4 + 5 + 4 + 2 + 2);
    }
}
