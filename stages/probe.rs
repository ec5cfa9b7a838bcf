//! `probe`: asks a trained transformer what a TF's value says of each target.

mod asked;
mod attention;
mod gradient;
mod perturbation;
mod question;
mod readout;

use crate::kit::candidates::{self, Candidates, SLOTS};
use anyhow::{Result, bail};
use asked::{Asked, Cells};
use attention::Attention;
use contract::bounds::{MOST, WIDEST, above_zero, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires};
use data::random::choose;
use data::tokens::{self, About, Corpus};
use gradient::Gradient;
use learn::model::saved::{self, Saved};
use perturbation::{Perturbation, Plan};
use question::Pace;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor::Device;
use tensor::device::{self, Precision};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Probe>(
    "probe",
    "scores each pair by what a trained transformer makes of the TF when it predicts the target",
    Slots::Named(&[
        Slot { name: "model", about: "a trained model", required: true, takes: saved::ARTIFACT },
        Slot {
            name: "tokens",
            about: "tokens of the cells that the model is asked about, made for its vocabulary",
            required: true,
            takes: tokens::ARTIFACT,
        },
        SLOTS[0],
        SLOTS[1],
        SLOTS[2],
    ]),
    code!(),
)
.makes(&candidates::OUTPUTS)
.on_device(code!(gpu), tensor::card::gpus);

/// The random stream that draws the cells.
const CELLS_STREAM: u64 = 1 << 53;

/// Scores pairs by a trained transformer, which learns nothing more. Pairs with a gene that the model does not know score
/// 0. The sign says whether the target is expected to rise or to fall with the TF.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Probe {
    /// What is asked.
    by: By,
    /// Uses at most this many cells, drawn at random; `readout` uses none.
    cells: usize,
    /// The number of values, evenly spaced from zero to the highest bin, that a TF is set to; for `perturbation`.
    values: usize,
    /// The number of groups of genes that are hidden in turn, each with the targets in it; for `perturbation`.
    groups: usize,
    /// The random seed that draws the cells and the groups.
    seed: u64,
    /// How matrix products are rounded.
    precision: Precision,
    /// Cells per batch. Does not affect the result, so it is not part of the key.
    #[serde(skip_serializing)]
    batch: Option<usize>,
    /// The minutes between checkpoints. Does not affect the result, so it is not part of the key.
    #[serde(skip_serializing)]
    checkpoint_minutes: f64,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum By {
    /// Sets the TF to several values: the slope of the bin expected of the hidden target, averaged over the cells.
    Perturbation,
    /// Leaves the TF as it is: the derivative of the bin expected of the hidden target by the TF's value, averaged over the
    /// cells.
    Gradient,
    /// Attention rollout: the share of the TF in the target's encoding, averaged over the cells.
    Attention,
    /// The linear gene network inside a model with a `cell_width`: the TF's projection into a cell's vector times the
    /// target's out of it.
    Readout,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe {
            by: By::Perturbation,
            cells: 16,
            values: 4,
            groups: 8,
            seed: 0,
            precision: Precision::default(),
            batch: None,
            checkpoint_minutes: 5.0,
        }
    }
}

impl Stage for Probe {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("cells", self.cells, 1..=MOST)?;
        within("values", self.values, 2..=256)?;
        within("groups", self.groups, 2..=MOST)?;
        within("batch", self.batch.unwrap_or(1), 1..=WIDEST)?;
        above_zero("checkpoint_minutes", self.checkpoint_minutes, 1e6)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let candidates = Candidates::find(io)?;
        let scores =
            device::on(io.device, self.precision, "batch", |device| self.scores(&candidates, device, io))?;
        candidates.write(scores, io)
    }
}

impl Probe {
    fn scores(&self, candidates: &Candidates, device: &Device, io: &Io) -> Result<Vec<f64>> {
        let saved = Saved::read(device, io.input("model")?)?;
        let folder = io.input("tokens")?;
        let (about, vocabulary) = About::read(folder)?;
        saved.check(about, &vocabulary)?;
        let asked = Asked::new(candidates, &vocabulary, io)?;
        if self.by == By::Readout {
            let Some(readout) = saved.model.readout() else {
                bail!(
                    "the model has no readout to ask `by: readout`; pre-train it with `model: {{cell_width: 64}}`, or ask \
                     by something else"
                );
            };
            return Ok(readout::scores(readout, &asked));
        }
        let corpus = Corpus::read(folder, about, || Ok(io.check_stop()?))?;
        let cells = Cells::read(&corpus, &choose(corpus.cells(), self.cells, self.seed, CELLS_STREAM));
        if cells.count() == 0 {
            bail!("{}: has no cells to ask about", folder.display());
        }
        let model = &saved.model;
        let pace = Pace { batch: model.batch(self.batch), minutes: self.checkpoint_minutes };
        let mut scores = match self.by {
            By::Perturbation => {
                let (values, groups, seed) = (self.values, self.groups, self.seed);
                let plan = Plan { values, groups, seed };
                pace.ask(&Perturbation::new(model, &cells, &asked, plan, about), asked.pairs, io)?
            }
            By::Gradient => pace.ask(&Gradient::new(model, &cells, &asked, about), asked.pairs, io)?,
            By::Attention => pace.ask(&Attention::new(model, &cells, &asked), asked.pairs, io)?,
            By::Readout => unreachable!("it is answered above"),
        };
        scores.iter_mut().for_each(|score| *score /= cells.count() as f64);
        Ok(scores)
    }
}
