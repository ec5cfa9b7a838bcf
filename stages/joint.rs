//! `joint`: trains a graph network over known edges together with a transformer's gene embeddings, to find more edges.
//!
//! The method of scTransNet (arXiv 2407.18181). Its paper does not give the exact form of attention over cells; here it
//! is
//! a_c = softmax_c(w · tanh(W h_c)), as in attention pooling for sets (Ilse et al. 2018). GENELink and GNNLink are
//! available as settings of this kind.

mod beside;
mod embedded;
mod inputs;
mod learner;
mod model;
mod training;
mod transformer;

use anyhow::Result;
use arrow::array::{Float32Array, StringArray};
use beside::{Beside, Known};
use contract::bounds::{LARGEST, MOST, WIDEST, above_zero, share_below, within};
use contract::code;
use contract::disk;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, always, sometimes};
use data::cells;
use data::embeddings::{self, Embeddings};
use data::pairs;
use data::scores;
use data::table;
use data::tokens;
use embedded::Embedded;
use inputs::{Genes, Labels};
use learn::model::draws::Draws;
use learn::model::saved::{self, FOLDER};
use learn::model::{gnn, scorer, weights};
use learn::training::{Training, history};
use learner::Network;
use model::Model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tensor::device::{self, Precision};
use tensor::{Device, Tensor, Untaped, shape, values};
use transformer::Transformer;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Joint>(
    "joint",
    "learns edges from known ones: a graph network over expression, joined with a transformer's embeddings",
    Slots::Named(&[
        Slot { name: "data", about: "cells and genes, normalised", required: true, takes: cells::ARTIFACT },
        Slot { name: "split", about: "labelled pairs in parts", required: true, takes: pairs::ARTIFACT },
        Slot {
            name: "embeddings",
            about: "a vector for each gene, or for each gene in each cell; without it, expression alone",
            required: false,
            takes: embeddings::ANY_ARTIFACT,
        },
        Slot {
            name: "model",
            about: "a transformer, instead of its embeddings: to train its last blocks too",
            required: false,
            takes: saved::ARTIFACT,
        },
        Slot {
            name: "tokens",
            about: "tokens of cells, made for the model's vocabulary",
            required: false,
            takes: tokens::ARTIFACT,
        },
    ]),
    code!(),
)
.makes(&[
    always(scores::FILE),
    always(embeddings::FILE),
    always(history::FILE),
    always(weights::FILE),
    always(CONFIG),
    sometimes(ATTENTION),
    sometimes(FOLDER),
])
.on_device(code!(gpu), tensor::card::gpus);

/// The attention over cells, in the artifact.
///
/// Columns: `gene`, `cell` (text), `share` (f32: the cell's weight in the gene's embedding; those of a gene sum to 1).
const ATTENTION: &str = "attention.parquet";
/// The configuration of the model that the weights belong to.
const CONFIG: &str = "config.json";

/// A graph network and a transformer's embeddings, trained together.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Joint {
    /// The graph network's input features of a gene.
    features: Features,
    /// Uses at most this many cells as features, drawn at random.
    most_cells: usize,
    /// The graph network over the training edges.
    gnn: gnn::Config,
    /// How a gene's embeddings in single cells are combined into one.
    pooling: Pooling,
    /// How much of the transformer is trained, if the model itself is wired.
    transformer: transformer::Config,
    /// How embeddings and the graph network's output are combined.
    fusion: Fusion,
    /// How a pair is scored.
    scorer: scorer::Config,
    /// Additional features of a pair, given to the scorer beside its two genes.
    beside: beside::Config,
    /// Leaves the edges of a batch out of the graph while the batch is learned, so that the model cannot look up its
    /// answers.
    hide: bool,
    /// The training loss.
    loss: Loss,
    /// The weight of an edge relative to another pair in the cross-entropy; null gives both classes the same total
    /// weight.
    positive_weight: Option<f64>,
    /// The criterion for the best epoch, computed on the validation pairs.
    select: Select,
    /// Permutes the labels of training and validation: a control whose result must be at chance.
    shuffle_labels: bool,
    /// The settings of the training; an example is a labelled pair.
    #[serde(deserialize_with = "training::over_defaults")]
    training: Training,
    /// How matrix products are rounded.
    precision: Precision,
    /// The random seed of the initial weights and the order of pairs.
    seed: u64,
}

/// The graph network's input features of a gene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Features {
    /// Its z-scored expression in each cell.
    Expression,
    /// The same number of random values: a control.
    Random,
}

/// How a gene's embeddings in single cells are combined into one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Pooling {
    /// How cells are weighted.
    by: PoolBy,
    /// The width of the attention's hidden layer.
    width: usize,
    /// Uses at most this many cells, drawn at random.
    most_cells: usize,
}

/// How cells are weighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PoolBy {
    /// By a learned attention.
    Attention,
    /// All equally.
    Mean,
}

/// How embeddings and the graph network's output are combined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Fusion {
    /// The form of the combination.
    form: FusionForm,
    /// The width of the result.
    width: usize,
    /// The dropout rate of the result in training.
    dropout: f64,
}

/// The form of the combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FusionForm {
    /// A layer over the concatenation of both.
    Concatenate,
    /// A mixture with a learned gate for each element.
    Gated,
}

/// The training loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Loss {
    /// The cross-entropy of the logits.
    CrossEntropy,
    /// The squared error of the scores, negative ones counted as 0, against 1 for an edge and 0 for another pair.
    Squared,
}

/// The criterion for the best epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Select {
    /// Average precision.
    AveragePrecision,
    /// The area under the ROC curve.
    Auroc,
    /// The loss.
    Loss,
}

impl Default for Pooling {
    fn default() -> Pooling {
        Pooling { by: PoolBy::Attention, width: 32, most_cells: 32 }
    }
}

impl Default for Fusion {
    fn default() -> Fusion {
        Fusion { form: FusionForm::Concatenate, width: 16, dropout: 0.5 }
    }
}

impl Default for Joint {
    fn default() -> Joint {
        Joint {
            features: Features::Expression,
            most_cells: 1024,
            gnn: gnn::Config::default(),
            pooling: Pooling::default(),
            transformer: transformer::Config::default(),
            fusion: Fusion::default(),
            scorer: scorer::Config::default(),
            beside: beside::Config::default(),
            hide: true,
            loss: Loss::CrossEntropy,
            positive_weight: Some(1.0),
            select: Select::AveragePrecision,
            shuffle_labels: false,
            training: training::default(),
            precision: Precision::default(),
            seed: 0,
        }
    }
}

impl Stage for Joint {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        self.gnn.check()?;
        self.scorer.check()?;
        self.transformer.check(wires)?;
        within("most_cells", self.most_cells, 1..=MOST)?;
        within("pooling.width", self.pooling.width, 1..=WIDEST)?;
        within("pooling.most_cells", self.pooling.most_cells, 1..=MOST)?;
        within("fusion.width", self.fusion.width, 1..=WIDEST)?;
        share_below("fusion.dropout", self.fusion.dropout, 1.0)?;
        within("beside.width", self.beside.width, 1..=WIDEST)?;
        above_zero("positive_weight", self.positive_weight.unwrap_or(1.0), LARGEST)?;
        self.training.check()
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        if self.transformer.trains() { &[] } else { &[FOLDER] }
    }

    fn run(&self, io: &Io) -> Result<()> {
        device::on(io.device, self.precision, self.takes_memory(io), |device| self.learn(device, io))
    }
}

impl Select {
    /// Describes a validation loss in words.
    fn words(self, loss: f64) -> String {
        match self {
            Select::AveragePrecision => format!("average precision {:.3} on validation", 1.0 - loss),
            Select::Auroc => format!("AUROC {:.3} on validation", 1.0 - loss),
            Select::Loss => format!("loss {loss:.4} on validation"),
        }
    }
}

impl Joint {
    /// The param to lower when memory runs out.
    fn takes_memory(&self, io: &Io) -> &'static str {
        let wired = |slot| io.optional_input(slot).is_some();
        match (self.transformer.trains(), wired("embeddings") || wired("model")) {
            (true, _) => "transformer.cells_per_step",
            (false, true) => "pooling.most_cells",
            (false, false) => "most_cells",
        }
    }

    fn learn(&self, device: &Device, io: &Io) -> Result<()> {
        let labels = Labels::read(self, io)?;
        let (embedded, transformer) = self.embedded(&labels, device, io)?;
        let genes = Genes::read(self, device, embedded, io)?;
        let model = Model::new(self, device, &genes, &labels, transformer);
        let known = Known::new(&labels);
        let beside = Beside::new(&self.beside, device, &genes, &labels, &known, self.seed);
        let mut network = Network::new(self, model, &genes, &labels, beside.as_ref());
        let trained = self.training.run(&mut network, self.seed, io)?;
        match trained.validation_loss {
            Some(loss) => {
                io.note(format!("the best epoch is {}, {}", trained.epoch, self.select.words(loss)))
            }
            None => io.warn("there are no validation pairs of both classes: the last epoch is kept"),
        }
        history::write(&io.out(history::FILE), &trained.history)?;
        let messages = network.messages().clone();
        let mut model = network.into_model();
        let encoded: Tensor = model.encode(&genes, None, &messages, &mut Draws::none(), Untaped);
        write_embeddings(&labels.names, &encoded, io)?;
        write_scores(self, &model, encoded, &labels, beside.as_ref(), io)?;
        if let Some((cells, shares)) = model.attention(&genes) {
            write_attention(&labels.names, cells, &shares, io)?;
        }
        if let Some(transformer) = model.take_transformer() {
            transformer.write(io)?;
        }
        weights::write(&io.out(weights::FILE), &weights::of_tensors(model.tensors()))?;
        disk::write(&io.out(CONFIG), &serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }

    /// The fixed embeddings, or the transformer if it is trained.
    fn embedded(&self, labels: &Labels, device: &Device, io: &Io) -> Result<(Embedded, Option<Transformer>)> {
        if let Some(folder) = io.optional_input("embeddings") {
            return Ok((Embedded::read(folder, &labels.names, self, device, io)?, None));
        }
        if io.optional_input("model").is_none() {
            return Ok((Embedded::Nothing, None));
        }
        let transformer = Transformer::read(self, &labels.names, device, io)?;
        Ok(match transformer.is_trained() {
            true => (Embedded::Nothing, Some(transformer)),
            false => (transformer.embedded(), None),
        })
    }
}

fn write_embeddings(names: &[String], encoded: &Tensor, io: &Io) -> Result<()> {
    let (names, dimensions) = (names.to_vec(), shape(encoded).1);
    let vectors = Embeddings { names, dimensions, values: values(encoded).to_vec() };
    vectors.write(&io.out(embeddings::FILE))
}

/// Writes scores of each TF of the split with every other gene.
fn write_scores(
    joint: &Joint,
    model: &Model,
    encoded: Tensor,
    labels: &Labels,
    beside: Option<&Beside>,
    io: &Io,
) -> Result<()> {
    let sides = model.sides(encoded, &mut joint.test_draws());
    let name = |gene: &u32| labels.names[*gene as usize].as_str();
    let mut genes: Vec<u32> = (0..labels.names.len() as u32).collect();
    genes.sort_by_key(name);
    let mut writer = scores::Writer::create(&io.out(scores::FILE))?;
    for tf in genes.iter().filter(|gene| labels.tfs.contains(gene)) {
        io.check_stop()?;
        let pairs: Vec<(u32, u32)> =
            genes.iter().filter(|gene| *gene != tf).map(|target| (*tf, *target)).collect();
        let logits = model.logits(&sides, &pairs, beside);
        let likely = |logit: &f32| 1.0 / (1.0 + libm::exp(-f64::from(*logit)));
        let scored = pairs.iter().map(|(_, target)| name(target)).zip(logits.iter().map(likely));
        writer.push(name(tf), scored)?;
    }
    writer.finish()
}

fn write_attention(genes: &[String], cells: &[String], shares: &[f32], io: &Io) -> Result<()> {
    let of_genes = genes.iter().flat_map(|gene| cells.iter().map(move |_| gene));
    let of_genes = StringArray::from_iter_values(of_genes);
    let of_cells = StringArray::from_iter_values(genes.iter().flat_map(|_| cells));
    let shares = Float32Array::from(shares.to_vec());
    table::write(
        &io.out(ATTENTION),
        vec![("gene", Arc::new(of_genes)), ("cell", Arc::new(of_cells)), ("share", Arc::new(shares))],
    )
}
