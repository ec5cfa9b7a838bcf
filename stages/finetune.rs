//! `finetune`: continues training a model for one data set or one task.

mod types;

use anyhow::Result;
use contract::bounds::{WIDEST, share_below, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, always, sometimes};
use data::metrics::table;
use data::tokens::{self, About, Corpus, VOCABULARY};
use data::types::PREDICTIONS;
use learn::masked::train::{Task as MaskedTask, train};
use learn::masked::{Masking, judge, learner};
use learn::model::saved::{self, CONFIG, Saved};
use learn::model::{classifier, weights};
use learn::training::{Training, history};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor::Device;
use tensor::device::{self, Precision};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Finetune>(
    "finetune",
    "trains a model on: to guess hidden genes of other cells, or to tell the types of cells",
    Slots::Named(&[
        Slot { name: "model", about: "a trained model", required: true, takes: saved::ARTIFACT },
        Slot {
            name: "tokens",
            about: "tokens of cells, made for the model's vocabulary",
            required: true,
            takes: tokens::ARTIFACT,
        },
        Slot {
            name: "types",
            about: "cells with their types, for the task `types`: an artifact, or a table (csv, tsv, Parquet)",
            required: false,
            takes: Takes::OneOf(&[&[data::types::FILE]]),
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
    sometimes(PREDICTIONS),
    sometimes(types::PER_TYPE),
    sometimes(types::CONFUSION),
    sometimes(classifier::FILE),
])
.judges(&[&judge::METRICS, &types::METRICS])
.on_device(code!(gpu), tensor::card::gpus);

/// Fine-tuning.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Finetune {
    /// The task.
    task: Task,
    /// Trains only this many of the model's last blocks; null trains all of it.
    last_blocks: Option<usize>,
    /// The settings of the training.
    training: Training,
    /// What is hidden, in the task `masked`.
    masking: Masking,
    /// The widths of the head's two hidden layers, in the task `types`, unless the model already has a head for these
    /// types.
    hidden: [usize; 2],
    /// Whether a new head starts from a logistic regression of the tokens, fitted to the training cells, in the task
    /// `types`: the model then learns only what the regression lacks.
    shortcut: bool,
    /// The dropout rate of the hidden layers in training, in the task `types`.
    dropout: f64,
    /// The share of the cells that is held out for early stopping, and again for the final evaluation.
    held_out: f64,
    /// How matrix products are rounded.
    precision: Precision,
    /// The random seed of the order of cells, the head's initial weights and the hidden genes.
    seed: u64,
}

/// The task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Task {
    /// Predict hidden genes, as in pre-training.
    Masked,
    /// Predict the type of a cell.
    Types,
}

impl Default for Finetune {
    fn default() -> Finetune {
        Finetune {
            task: Task::Masked,
            last_blocks: Some(1),
            training: Training::default(),
            masking: Masking::default(),
            hidden: [512, 128],
            shortcut: true,
            dropout: 0.1,
            held_out: 0.1,
            precision: Precision::default(),
            seed: 0,
        }
    }
}

impl Stage for Finetune {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        within("last_blocks", self.last_blocks.unwrap_or(0), 0..=WIDEST)?;
        self.training.check()?;
        self.masking.check()?;
        for (name, width) in ["hidden.0", "hidden.1"].into_iter().zip(self.hidden) {
            within(name, width, 1..=WIDEST)?;
        }
        share_below("dropout", self.dropout, 1.0)?;
        learner::check_held_out(self.held_out)?;
        if self.task == Task::Types && !wires.has("types") {
            let message = "the task `types` needs the input `types`: cells with their types";
            return Err(Mistake::slot("types", message));
        }
        data::types::check("types", wires)
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        match self.task {
            Task::Masked => &[PREDICTIONS, types::PER_TYPE, types::CONFUSION, classifier::FILE],
            Task::Types => &[],
        }
    }

    fn run(&self, io: &Io) -> Result<()> {
        device::on(io.device, self.precision, "training.batch", |device| self.train(device, io))
    }
}

impl Finetune {
    fn train(&self, device: &Device, io: &Io) -> Result<()> {
        let mut saved = Saved::read(device, io.input("model")?)?;
        let folder = io.input("tokens")?;
        let (about, vocabulary) = About::read(folder)?;
        saved.check(about, &vocabulary)?;
        let corpus = Corpus::read(folder, about, || Ok(io.check_stop()?))?;
        if let Some(blocks) = self.last_blocks {
            saved.model.train_last(blocks);
        }
        let what = match self.task {
            Task::Masked => {
                let task = MaskedTask {
                    training: &self.training,
                    masking: self.masking,
                    held_out: self.held_out,
                    redraw_every: None,
                    new: false,
                    seed: self.seed,
                };
                train(task, &mut saved.model, &corpus, about, io)?;
                "cells"
            }
            Task::Types => {
                types::train(self, &mut saved.model, &corpus, io)?;
                "cells and their types"
            }
        };
        saved.card.history.push(format!("fine-tuned on {} {what}", corpus.cells()));
        saved.write(&io.out)
    }
}
