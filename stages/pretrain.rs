//! `pretrain`: trains a Performer on unlabelled cells.

use anyhow::{Result, bail};
use contract::bounds::{MOST, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, always};
use data::embeddings::{self, Embeddings};
use data::metrics::table;
use data::tokens::{self, About, Corpus, VOCABULARY};
use learn::masked::train::{Task, train};
use learn::masked::{Masking, judge, learner};
use learn::model::performer::Config;
use learn::model::saved::{CONFIG, Saved};
use learn::model::weights;
use learn::training::{Training, history};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;
use tensor::device::{self, Precision};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Pretrain>(
    "pretrain",
    "a transformer over all genes of a cell, scBERT's Performer, that learns by guessing hidden genes",
    Slots::Named(&[
        Slot { name: "tokens", about: "tokens of cells", required: true, takes: tokens::ARTIFACT },
        Slot {
            name: "positions",
            about: "a vector for each gene, such as those of `gene2vec`; without them they are learned",
            required: false,
            takes: embeddings::ARTIFACT,
        },
    ]),
    code!(),
)
.makes(&[
    always(CONFIG),
    always(weights::FILE),
    always(VOCABULARY),
    always(history::FILE),
    always(table::FILE),
])
.judges(&[&judge::METRICS])
.on_device(code!(gpu), tensor::card::gpus);

/// Masked pre-training. The default sizes are scBERT's, which take days; a `width` of 32 and a `depth` of 2 take
/// minutes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Pretrain {
    /// The sizes of the model.
    model: Config,
    /// The settings of the training.
    training: Training,
    /// What is hidden, and how much.
    masking: Masking,
    /// The share of the cells that is held out for early stopping, and again for the final evaluation.
    held_out: f64,
    /// Redraws the random features of attention every this many steps; null keeps the first ones.
    redraw_every: Option<u64>,
    /// How matrix products are rounded.
    precision: Precision,
    /// The random seed of the initial weights, the order of cells and the hidden genes.
    seed: u64,
}

impl Default for Pretrain {
    fn default() -> Pretrain {
        Pretrain {
            model: Config::default(),
            training: Training::default(),
            masking: Masking::default(),
            held_out: 0.1,
            redraw_every: Some(1000),
            precision: Precision::default(),
            seed: 0,
        }
    }
}

impl Stage for Pretrain {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        self.model.check()?;
        self.training.check()?;
        self.masking.check()?;
        learner::check_held_out(self.held_out)?;
        within("redraw_every", self.redraw_every.unwrap_or(1), 1..=MOST as u64)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let folder = io.input("tokens")?;
        let (about, vocabulary) = About::read(folder)?;
        let corpus = Corpus::read(folder, about, || Ok(io.check_stop()?))?;
        let mut config = self.model.clone();
        config.train_positions |= io.optional_input("positions").is_none();
        device::on(io.device, self.precision, "training.batch", |device| {
            let mut saved = Saved::new(device, config, about, vocabulary, self.seed);
            self.train(&mut saved, &corpus, about, io)
        })
    }
}

impl Pretrain {
    fn train(&self, saved: &mut Saved, corpus: &Corpus, about: About, io: &Io) -> Result<()> {
        if let Some(folder) = io.optional_input("positions") {
            place(saved, folder, io)?;
        }
        let task = Task {
            training: &self.training,
            masking: self.masking,
            held_out: self.held_out,
            redraw_every: self.redraw_every,
            new: true,
            seed: self.seed,
        };
        train(task, &mut saved.model, corpus, about, io)?;
        saved.card.history.push(format!("pre-trained on {} cells", corpus.cells()));
        saved.write(&io.out)
    }
}

/// Fills the position table with gene vectors; genes without a vector, and the last position, get zeros.
fn place(saved: &mut Saved, folder: &Path, io: &Io) -> Result<()> {
    let path = folder.join(embeddings::FILE);
    let vectors = Embeddings::read(&path)?;
    let (width, found) = (saved.card.performer.width, vectors.dimensions);
    if found != width {
        bail!("{}: its vectors have {found} numbers, and `model.width` is {width}", path.display());
    }
    let index: HashMap<&str, usize> = vectors.names.iter().map(String::as_str).zip(0..).collect();
    let mut table = vec![0.0; saved.model.tables().positions * width];
    let mut missing = 0;
    for (gene, row) in saved.vocabulary.iter().zip(table.chunks_mut(width)) {
        match index.get(gene.as_str()) {
            Some(at) => row.copy_from_slice(&vectors.values[at * width..][..width]),
            None => missing += 1,
        }
    }
    let genes = saved.vocabulary.len();
    if missing == genes {
        bail!(
            "{}: has no vector for any of the {genes} genes; are they of the same species?",
            path.display()
        );
    }
    if missing > 0 {
        io.warn(format!("{missing} of {genes} genes have no vector in `positions`, and get zeros"));
    }
    saved.model.place(table);
    Ok(())
}
