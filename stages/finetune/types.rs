//! Cell types: trains a head on the model that predicts them.

use super::Finetune;
use anyhow::{Result, bail};
use arrow::array::StringArray;
use contract::stage::Io;
use data::metrics::summary::Row;
use data::metrics::table;
use data::random::Random;
use data::table as parquet;
use data::tokens::Corpus;
use data::types;
use learn::masked::learner::Parts;
use learn::model::classifier::{Classifier, Sizes};
use learn::model::draws::Draws;
use learn::model::parameters::Named;
use learn::model::performer::Performer;
use learn::training::{Learner, Moment, history};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::{Scalar, Taped, Untaped, values};

/// The random stream of the head's initial weights.
const HEAD_STREAM: u64 = 1 << 54;
/// Columns: `cell`, `type`, `predicted`, `part` (text); one row for each cell that has a type.
pub const PREDICTIONS: &str = "predictions.parquet";

/// The metrics on the test cells, in this order.
pub const METRICS: [&str; 3] = ["accuracy", "macro_f1", "accuracy_most_frequent_type"];

struct Types<'a> {
    settings: &'a Finetune,
    model: &'a mut Performer,
    head: Classifier,
    corpus: &'a Corpus,
    parts: &'a Parts,
    /// The cells that have a type, with the index of the type.
    cells: &'a [(usize, u32)],
}

/// Trains model and head, then writes the history, the metrics and each cell's prediction.
pub fn train(settings: &Finetune, model: &mut Performer, corpus: &Corpus, io: &Io) -> Result<()> {
    let folder = io.input("types")?;
    let of_cells: HashMap<String, String> = types::read(&folder.join(types::FILE))?.into_iter().collect();
    let found: BTreeSet<&String> = corpus.ids.iter().filter_map(|id| of_cells.get(id)).collect();
    if found.len() < 2 {
        bail!("the cells have {} types; it takes at least 2 to tell them apart", found.len());
    }
    let (head, names) = match known_head(model, &found, io)? {
        Some(known) => known,
        None => {
            let sizes = Sizes {
                width: model.config().width,
                positions: model.tables().positions,
                hidden: settings.hidden,
                classes: found.len(),
            };
            let head = Classifier::new(model.device(), sizes, &mut Random::new(settings.seed, HEAD_STREAM));
            (head, found.into_iter().cloned().collect())
        }
    };
    let numbers: HashMap<&String, u32> = names.iter().zip(0..).collect();
    let typed =
        corpus.ids.iter().enumerate().filter_map(|(cell, id)| Some((cell, numbers[of_cells.get(id)?])));
    let cells: Vec<(usize, u32)> = typed.collect();
    let missing = corpus.cells() - cells.len();
    if missing > 0 {
        io.warn(format!("{missing} of {} cells have no type and are left out", corpus.cells()));
    }
    let parts = Parts::new(cells.len(), settings.held_out, settings.seed)?;
    let mut learner = Types { settings, model, head, corpus, parts: &parts, cells: &cells };
    let trained = settings.training.run(&mut learner, settings.seed, io)?;
    history::write(&io.out(history::FILE), &trained.history)?;
    let all: Vec<usize> = (0..cells.len()).collect();
    let (predicted, _) = learner.predict(&all, io)?;
    let counts = Counts::new(&parts, &cells, &predicted, names.len());
    let rows = counts.rows();
    counts.tell(&rows, io);
    table::write(&io.out(table::FILE), &rows)?;
    let mut of_part = vec!["training"; cells.len()];
    parts.validation.iter().for_each(|cell| of_part[*cell] = "validation");
    parts.test.iter().for_each(|cell| of_part[*cell] = "test");
    let text = |values: Vec<&str>| Arc::new(StringArray::from(values));
    parquet::write(
        &io.out(PREDICTIONS),
        vec![
            ("cell", text(cells.iter().map(|(cell, _)| corpus.ids[*cell].as_str()).collect())),
            ("type", text(cells.iter().map(|(_, of)| names[*of as usize].as_str()).collect())),
            ("predicted", text(predicted.iter().map(|of| names[*of as usize].as_str()).collect())),
            ("part", text(of_part)),
        ],
    )?;
    learner.head.write(&io.out, &names)
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

impl Types<'_> {
    fn tokens(&self, examples: impl Iterator<Item = usize>) -> (Vec<u32>, Vec<u32>) {
        let (mut tokens, mut targets) = (Vec::new(), Vec::new());
        for example in examples {
            let (cell, of) = self.cells[example];
            self.corpus.append(cell, &mut tokens);
            targets.push(of);
        }
        (tokens, targets)
    }

    /// The most likely type of each example, and the mean loss.
    fn predict(&self, examples: &[usize], io: &Io) -> Result<(Vec<u32>, f64)> {
        let (mut predicted, mut loss) = (Vec::with_capacity(examples.len()), 0.0);
        for batch in examples.chunks(self.settings.training.batch) {
            io.check_stop()?;
            let (tokens, targets) = self.tokens(batch.iter().copied());
            let logits = self.head.logits(self.model.encode(&tokens, batch.len(), Untaped), [(0.0, 0); 2]);
            let of_cell = values(&logits).len() / batch.len();
            for logits in values(&logits).chunks(of_cell) {
                let likeliest =
                    (0..of_cell).fold(0, |best, of| if logits[of] > logits[best] { of } else { best });
                predicted.push(likeliest as u32);
            }
            loss += f64::from(cross_entropy(logits, &targets)[[]]) * batch.len() as f64;
        }
        Ok((predicted, loss / examples.len() as f64))
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
        let (tokens, targets) = self.tokens(examples.iter().map(|example| self.parts.training[*example]));
        let encodings = self.model.encode(&tokens, examples.len(), Taped::default());
        let mut draws = Draws::new(self.settings.seed, moment.batch);
        let drops = [0; 2].map(|_| draws.next(self.settings.dropout as f32));
        Ok(cross_entropy(self.head.logits(encodings, drops), &targets))
    }

    fn validate(&mut self, io: &Io) -> Result<Option<f64>> {
        if self.parts.validation.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.predict(&self.parts.validation, io)?.1))
    }
}

/// The counts that the metrics on the test cells are computed from.
struct Counts {
    /// For each type: cells of this type, cells predicted to be of it, cells for which both hold.
    types: Vec<[f64; 3]>,
    cells: usize,
    /// The share of the test cells whose type is the most frequent one among the training cells.
    most_frequent: f64,
}

impl Counts {
    fn new(parts: &Parts, cells: &[(usize, u32)], predicted: &[u32], types: usize) -> Counts {
        let mut counts = vec![[0.0; 3]; types];
        let mut in_training = vec![0; types];
        parts.training.iter().for_each(|cell| in_training[cells[*cell].1 as usize] += 1);
        let most = (0..types).fold(0, |most, of| if in_training[of] > in_training[most] { of } else { most });
        let mut of_most = 0.0;
        for cell in &parts.test {
            let (of, said) = (cells[*cell].1 as usize, predicted[*cell] as usize);
            counts[of][0] += 1.0;
            counts[said][1] += 1.0;
            counts[of][2] += f64::from(u8::from(of == said));
            of_most += f64::from(u8::from(of == most));
        }
        Counts {
            types: counts,
            cells: parts.test.len(),
            most_frequent: of_most / parts.test.len().max(1) as f64,
        }
    }

    fn rows(&self) -> Vec<Row> {
        if self.cells == 0 {
            return Vec::new();
        }
        let right: f64 = self.types.iter().map(|[.., right]| right).sum();
        // A type that is neither true nor predicted for any cell does not count.
        let scores: Vec<f64> = self
            .types
            .iter()
            .filter(|[of, said, _]| of + said > 0.0)
            .map(|[of, said, right]| 2.0 * right / (of + said))
            .collect();
        let f1 = scores.iter().sum::<f64>() / scores.len() as f64;
        let row = |(metric, value): (&str, f64)| Row {
            metric: metric.to_owned(),
            value: Some(value),
            interval: None,
            count: self.cells,
        };
        METRICS.into_iter().zip([right / self.cells as f64, f1, self.most_frequent]).map(row).collect()
    }

    fn tell(&self, rows: &[Row], io: &Io) {
        match rows {
            [accuracy, f1, trivial] => io.note(format!(
                "{} test cells: accuracy {:.3}, macro-F1 {:.3}; always the most frequent type: {:.3}",
                self.cells,
                accuracy.value.unwrap_or(f64::NAN),
                f1.value.unwrap_or(f64::NAN),
                trivial.value.unwrap_or(f64::NAN),
            )),
            _ => io.warn("no cell is held out for the test, so nothing says what the model is worth"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Parts};

    #[test]
    fn scores_are_those_of_the_definitions() {
        // Three types, the third neither true nor predicted; of five test cells one of type 1 was predicted as 0.
        let cells = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1), (5, 0), (6, 1)];
        let predicted = [0, 0, 0, 1, 1, 0, 1];
        let parts = Parts { training: vec![5, 6], validation: vec![], test: vec![0, 1, 2, 3, 4] };
        let values: Vec<f64> =
            Counts::new(&parts, &cells, &predicted, 3).rows().iter().filter_map(|row| row.value).collect();
        // F1 of both types: 2·2 / (2 + 3) = .8.
        assert_eq!(values, [0.8, 0.8, 0.4]);
    }
}
