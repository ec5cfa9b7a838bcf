//! Masked training from tokens to output tables, shared by pre-training and fine-tuning.

use super::Masking;
use super::judge;
use super::learner::{MaskedLearner, Parts};
use super::yardsticks::{Frequencies, Lookers};
use crate::model::performer::Performer;
use crate::training::{Training, history};
use anyhow::Result;
use contract::stage::Io;
use data::metrics::summary::Row;
use data::metrics::table;
use data::tokens::{About, Corpus};

/// The settings of a training.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Optimiser settings: steps, rates, epochs.
    pub training: &'a Training,
    /// What is hidden, and how much.
    pub masking: Masking,
    /// The share of cells held out for validation, and again for the test.
    pub held_out: f64,
    /// Redraws the random features every this many steps.
    pub redraw_every: Option<u64>,
    /// Whether the model is new, and has yet to be told the bins of each gene.
    pub new: bool,
    /// The random seed.
    pub seed: u64,
}

/// A model whose squared error is larger than the ridge regression's by more than this share is warned of.
const WORSE: f64 = 0.05;

/// Trains the model, then writes its history and its metrics on the test cells.
pub fn train(task: Task, model: &mut Performer, corpus: &Corpus, about: About, io: &Io) -> Result<()> {
    let Task { training, masking, held_out, redraw_every, new, seed } = task;
    let parts = Parts::new(corpus.cells(), held_out, seed)?;
    let frequencies = Frequencies::new(corpus, &parts.training, about.bins, about.genes + 1);
    let priors = frequencies.priors(corpus, &parts.training);
    if new {
        model.know(&priors);
    }
    let mut learner = MaskedLearner {
        model,
        corpus,
        parts: &parts,
        masking,
        mask: about.mask,
        redraw_every,
        batch: training.batch,
        seed,
        ready: None,
    };
    let trained = training.run(&mut learner, seed, io)?;
    history::write(&io.out(history::FILE), &trained.history)?;
    let (tokens, targets) = learner.hidden(&parts.validation);
    let lookers = Lookers::new(corpus, &parts.training, priors, (&tokens, &targets));
    let positions = about.genes + 1;
    let mut looked = Vec::with_capacity(parts.test.len());
    for cells in parts.test.chunks(training.batch) {
        io.check_stop()?;
        let (tokens, targets) = learner.hidden(cells);
        let of_cells = tokens.chunks(positions).zip(targets.chunks(positions));
        looked.extend(of_cells.map(|(tokens, targets)| lookers.guess(tokens, targets)));
    }
    let rows = judge::compare(&learner.judge(&parts.test, io)?, &frequencies, &looked, seed);
    tell(&rows, io);
    table::write(&io.out(table::FILE), &rows)
}

fn tell(rows: &[Row], io: &Io) {
    let found = |name: &str| rows.iter().find(|row| row.metric == name);
    let value = |name: &str| found(name).and_then(|row| row.value).unwrap_or(f64::NAN);
    let Some(margin) = found("cross_entropy_below_gene_bins") else {
        return io.warn("no cell is held out for the test, so nothing says what the model is worth");
    };
    let figures = format!(
        "hidden genes of held-out cells: cross-entropy {:.3}, each gene's own bins {:.3}; squared error of the expected \
         bin {:.3}, ridge regression {:.3}, nearest cell {:.3}, each gene's own bins {:.3}",
        value("cross_entropy"),
        value("cross_entropy_gene_bins"),
        value("squared_error"),
        value("squared_error_ridge"),
        value("squared_error_nearest_cell"),
        value("squared_error_gene_bins"),
    );
    if margin.value.is_none_or(|margin| margin <= 0.0) {
        io.warn(format!(
            "the model has learned nothing about cells; train longer, on more of them, or with a \
             `model.cell_width` ({figures})"
        ));
    } else if value("squared_error_below_ridge") < -WORSE * value("squared_error_ridge") {
        io.warn(format!(
            "the model predicts worse than a linear one; train longer, or on more cells ({figures})"
        ));
    } else {
        io.note(figures);
    }
}
