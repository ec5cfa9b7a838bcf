//! Cell types: trains a head on the model that predicts them.

mod judge;
mod regression;

use super::Finetune;
use anyhow::{Result, bail};
use arrow::array::{Float64Array, StringArray};
use contract::stage::Io;
use data::metrics::table;
use data::random::Random;
use data::table as parquet;
use data::tokens::Corpus;
use data::types::{self, PREDICTIONS};
pub use judge::{CONFUSION, METRICS, PER_TYPE};
use judge::{Judged, Told};
use learn::masked::learner::Parts;
use learn::model::classifier::{Classifier, Sizes};
use learn::model::draws::Draws;
use learn::model::parameters::Named;
use learn::model::performer::Performer;
use learn::multinomial::chances;
use learn::training::{Learner, Moment, history};
use regression::{Typed, features};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tensor::ops::add::add;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::tape::Tape;
use tensor::{Scalar, Taped, Tensor, Untaped, tensor, values};

/// The random stream of the head's initial weights.
const HEAD_STREAM: u64 = 1 << 54;

struct Types<'a> {
    settings: &'a Finetune,
    model: &'a mut Performer,
    head: Classifier,
    corpus: &'a Corpus,
    parts: &'a Parts,
    /// The cells that have a type, with the index of the type.
    cells: &'a [(usize, u32)],
    /// The logits of the head's shortcut for each of these cells; empty without a shortcut.
    shortcut: Vec<Vec<f32>>,
}

/// What is predicted for a cell.
#[derive(Debug, Clone, Copy)]
struct Predicted {
    of: u32,
    probability: f64,
}

/// Trains model and head, then writes the history, the metrics and each cell's prediction.
pub fn train(settings: &Finetune, model: &mut Performer, corpus: &Corpus, io: &Io) -> Result<()> {
    let path = io.input("types")?;
    let of_cells: HashMap<String, String> = types::read_any(path, None)?.into_iter().collect();
    let found: BTreeSet<&String> = corpus.ids.iter().filter_map(|id| of_cells.get(id)).collect();
    if found.is_empty() {
        let (theirs, ours) = (of_cells.keys().min(), corpus.ids.first());
        bail!(
            "{}: has a type for none of the cells: it names cells such as `{}`, and the tokens `{}`",
            path.display(),
            theirs.map_or("", String::as_str),
            ours.map_or("", String::as_str)
        );
    }
    if found.len() < 2 {
        bail!("the cells have {} types; it takes at least 2 to tell them apart", found.len());
    }
    let known = known_head(model, &found, io)?;
    let names = match &known {
        Some((_, names)) => names.clone(),
        None => found.iter().copied().cloned().collect(),
    };
    let numbers: HashMap<&String, u32> = names.iter().zip(0..).collect();
    let typed =
        corpus.ids.iter().enumerate().filter_map(|(cell, id)| Some((cell, numbers[of_cells.get(id)?])));
    let cells: Vec<(usize, u32)> = typed.collect();
    let missing = corpus.cells() - cells.len();
    if missing > 0 {
        io.note(format!("{missing} of {} cells have no type: theirs is predicted only", corpus.cells()));
    }
    let parts = Parts::new(cells.len(), settings.held_out, settings.seed)?;
    let rows = features(corpus);
    let positions = model.tables().positions;
    let typed = Typed { rows: &rows, positions, cells: &cells, classes: names.len(), parts: &parts };
    let (yardstick, penalty) = typed.fit(io)?;
    let mut shortcut = Vec::new();
    let head = match known {
        Some((head, _)) => {
            if let Some(fixed) = head.shortcut() {
                let logits = |cell: &(usize, u32)| rounded(fixed.logits(&rows[cell.0]));
                shortcut = cells.iter().map(logits).collect();
            }
            head
        }
        None => {
            let sizes = Sizes {
                width: model.config().width,
                positions,
                hidden: settings.hidden,
                classes: names.len(),
            };
            let head = Classifier::new(model.device(), sizes, &mut Random::new(settings.seed, HEAD_STREAM));
            if settings.shortcut {
                shortcut = typed.logits(&yardstick, penalty, settings.seed, io)?;
                head.with_shortcut(model.device(), &yardstick)
            } else {
                head
            }
        }
    };
    let mut learner = Types { settings, model, head, corpus, parts: &parts, cells: &cells, shortcut };
    let trained = settings.training.run(&mut learner, settings.seed, io)?;
    history::write(&io.out(history::FILE), &trained.history)?;
    let fixed = learner.head.shortcut().cloned();
    let offsets = |cell: usize| fixed.as_ref().map(|fixed| rounded(fixed.logits(&rows[cell])));
    let predicted = learner.predict_all(offsets, io)?;
    let most = most_frequent(&parts, &cells, names.len());
    let told = parts.test.iter().map(|index| {
        let (cell, of) = cells[*index];
        Told { of, said: [predicted[cell].of, likeliest(&rounded(yardstick.logits(&rows[cell]))), most] }
    });
    let judged = Judged { cells: told.collect(), types: &names, seed: settings.seed };
    let metrics = judged.rows();
    judge::tell(&metrics, io);
    table::write(&io.out(table::FILE), &metrics)?;
    judged.write(&io.out)?;
    write_predictions(&names, corpus, &cells, &parts, &predicted, io)?;
    learner.head.write(&io.out, &names)
}

/// The most frequent type of the training cells.
fn most_frequent(parts: &Parts, cells: &[(usize, u32)], types: usize) -> u32 {
    let mut counts = vec![0; types];
    parts.training.iter().for_each(|cell| counts[cells[*cell].1 as usize] += 1);
    (0..types).fold(0, |most, of| if counts[of] > counts[most] { of } else { most }) as u32
}

fn write_predictions(
    names: &[String],
    corpus: &Corpus,
    cells: &[(usize, u32)],
    parts: &Parts,
    predicted: &[Predicted],
    io: &Io,
) -> Result<()> {
    let mut part_of = vec!["unlabelled"; corpus.cells()];
    let mut type_of = vec![None; corpus.cells()];
    for (part, name) in
        [(&parts.training, "training"), (&parts.validation, "validation"), (&parts.test, "test")]
    {
        for index in part {
            let (cell, of) = cells[*index];
            part_of[cell] = name;
            type_of[cell] = Some(names[of as usize].as_str());
        }
    }
    let said = StringArray::from_iter_values(predicted.iter().map(|said| &names[said.of as usize]));
    let probability = Float64Array::from_iter_values(predicted.iter().map(|said| said.probability));
    parquet::write(
        &io.out(PREDICTIONS),
        vec![
            ("cell", Arc::new(StringArray::from_iter_values(&corpus.ids))),
            ("type", Arc::new(StringArray::from(type_of))),
            ("predicted", Arc::new(said)),
            ("part", Arc::new(StringArray::from(part_of))),
            ("probability", Arc::new(probability)),
        ],
    )
}

/// The model's own head and the names of its types, if those include all types of the cells.
fn known_head(
    model: &Performer,
    found: &BTreeSet<&String>,
    io: &Io,
) -> Result<Option<(Classifier, Vec<String>)>> {
    let known = Classifier::read(model.device(), io.input("model")?)?;
    if let Some((head, _)) = &known {
        head.check(model)?;
    }
    Ok(known.filter(|(_, names)| {
        let unknown = found.iter().find(|name| !names.contains(name));
        if let Some(unknown) = unknown {
            io.warn(format!("the model's own head does not know the type `{unknown}`: a new one is trained"));
        }
        unknown.is_none()
    }))
}

fn rounded(logits: Vec<f64>) -> Vec<f32> {
    logits.into_iter().map(|logit| logit as f32).collect()
}

fn likeliest(logits: &[f32]) -> u32 {
    (0..logits.len()).fold(0, |best, of| if logits[of] > logits[best] { of } else { best }) as u32
}

impl Types<'_> {
    fn tokens(&self, examples: &[usize]) -> (Vec<u32>, Vec<u32>) {
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        for example in examples {
            let (cell, of) = self.cells[*example];
            self.corpus.append(cell, &mut tokens);
            targets.push(of);
        }
        (tokens, targets)
    }

    /// Adds the logits of the shortcut, given by cell, to those of the head.
    fn added<T: Tape>(&self, logits: Tensor<T>, shortcut: Vec<f32>) -> Tensor<T> {
        if shortcut.is_empty() {
            return logits;
        }
        let classes = self.head.sizes().classes;
        let rows = shortcut.len() / classes;
        add(logits, tensor(self.model.device(), shortcut, rows, classes).retaped())
    }

    fn shortcut_of(&self, examples: &[usize]) -> Vec<f32> {
        if self.shortcut.is_empty() {
            return Vec::new();
        }
        examples.iter().flat_map(|example| self.shortcut[*example].iter().copied()).collect()
    }

    /// The most likely type of each cell of the corpus.
    fn predict_all(
        &self,
        shortcut_of: impl Fn(usize) -> Option<Vec<f32>>,
        io: &Io,
    ) -> Result<Vec<Predicted>> {
        let all: Vec<usize> = (0..self.corpus.cells()).collect();
        let mut predicted = Vec::with_capacity(all.len());
        for batch in all.chunks(self.settings.training.batch) {
            io.check_stop()?;
            let mut tokens = Vec::new();
            batch.iter().for_each(|cell| self.corpus.append(*cell, &mut tokens));
            let shortcut = batch.iter().filter_map(|cell| shortcut_of(*cell)).flatten().collect();
            let logits = self.head.logits(self.model.encode(&tokens, batch.len(), Untaped), [(0.0, 0); 2]);
            let logits = self.added(logits, shortcut);
            for logits in values(&logits).chunks(self.head.sizes().classes) {
                let of = likeliest(logits);
                let chances = chances(logits.iter().copied().map(f64::from).collect());
                predicted.push(Predicted { of, probability: chances[of as usize] });
            }
        }
        Ok(predicted)
    }

    /// The mean loss of some examples.
    fn mean_loss(&self, examples: &[usize], io: &Io) -> Result<f64> {
        let mut loss = 0.0;
        for batch in examples.chunks(self.settings.training.batch) {
            io.check_stop()?;
            let (tokens, targets) = self.tokens(batch);
            let logits = self.head.logits(self.model.encode(&tokens, batch.len(), Untaped), [(0.0, 0); 2]);
            let logits = self.added(logits, self.shortcut_of(batch));
            loss += f64::from(cross_entropy(logits, &targets)[[]]) * batch.len() as f64;
        }
        Ok(loss / examples.len() as f64)
    }
}

impl Learner for Types<'_> {
    fn unit(&self) -> &'static str {
        "cells"
    }

    fn examples(&self) -> usize {
        self.parts.training.len()
    }

    fn tensors(&mut self) -> Vec<Named<'_>> {
        let mut tensors = self.model.tensors();
        // The head that predicts hidden genes is not used here.
        tensors.retain(|named| !named.name.starts_with("to_out."));
        tensors.extend(self.head.tensors());
        tensors
    }

    fn loss(&mut self, examples: &[usize], moment: Moment) -> Result<Scalar<Taped>> {
        let examples: Vec<usize> = examples.iter().map(|example| self.parts.training[*example]).collect();
        let (tokens, targets) = self.tokens(&examples);
        let encodings = self.model.encode(&tokens, examples.len(), Taped::default());
        let mut draws = Draws::new(self.settings.seed, moment.batch);
        let drops = [0; 2].map(|_| draws.next(self.settings.dropout as f32));
        let logits = self.added(self.head.logits(encodings, drops), self.shortcut_of(&examples));
        Ok(cross_entropy(logits, &targets))
    }

    fn validate(&mut self, io: &Io) -> Result<Option<f64>> {
        if self.parts.validation.is_empty() {
            return Ok(None);
        }
        self.mean_loss(&self.parts.validation, io).map(Some)
    }
}
