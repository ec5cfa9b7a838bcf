//! Masked training from tokens to output tables, shared by pre-training and fine-tuning.

use super::Masking;
use super::judge::{self, Frequencies};
use super::learner::{MaskedLearner, Parts};
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
    /// The random seed.
    pub seed: u64,
}

/// Trains the model, then writes its history and its metrics on the test cells.
pub fn train(task: Task, model: &mut Performer, corpus: &Corpus, about: About, io: &Io) -> Result<()> {
    let Task { training, masking, held_out, redraw_every, seed } = task;
    let parts = Parts::new(corpus.cells(), held_out, seed)?;
    let frequencies = Frequencies::new(corpus, &parts.training, about.bins, about.genes + 1);
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
    let rows = judge::compare(&learner.judge(&parts.test, io)?, &frequencies, seed);
    tell(&rows, io);
    table::write(&io.out(table::FILE), &rows)
}

fn tell(rows: &[Row], io: &Io) {
    let found = |name: &str| rows.iter().find(|row| row.metric == name);
    let value = |name: &str| found(name).and_then(|row| row.value).unwrap_or(f64::NAN);
    let Some(margin) = found("cross_entropy_below_gene_bins") else {
        return io.warn("no cell is held out for the test, so nothing says what the model is worth");
    };
    let sentence = format!(
        "hidden genes of held-out cells: accuracy {:.3}, cross-entropy {:.3}; each gene's own bins reach {:.3} and {:.3}, the most \
         frequent bin {:.3} and {:.3}",
        value("accuracy"),
        value("cross_entropy"),
        value("accuracy_gene_bins"),
        value("cross_entropy_gene_bins"),
        value("accuracy_most_frequent_bin"),
        value("cross_entropy_most_frequent_bin"),
    );
    match margin.value {
        Some(margin) if margin > 0.0 => io.note(sentence),
        _ => io.warn(format!(
            "{sentence}: the model has learned nothing about cells; train longer, or on more of them"
        )),
    }
}
