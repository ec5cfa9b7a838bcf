//! A transformer whose last blocks are trained together with the rest.
//!
//! The output of its frozen blocks is computed once per cell and kept. A training step uses a few cells drawn for it;
//! validation and scoring use all of them.

use super::embedded::{Embedded, places};
use super::{Joint, PoolBy};
use anyhow::{Result, bail};
use contract::bounds::{MOST, WIDEST, within};
use contract::disk;
use contract::stage::{Io, Mistake, Wires};
use data::random::choose;
use data::tokens::{About, Corpus, VOCABULARY};
use learn::model::parameters::{Named, Role};
use learn::model::saved::{self, Saved};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tensor::ops::pool::pool;
use tensor::ops::standardise::{Moments, standardise};
use tensor::tape::Tape;
use tensor::{Device, Tensor, Untaped, shape, tensor, values};

/// The streams after this one draw the cells of each step.
const STEP_STREAM: u64 = 1 << 45;

/// How much of a transformer is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Trains this many of its last blocks together with the rest; 0 leaves it unchanged.
    last_blocks: usize,
    /// Each training step uses at most this many cells, drawn anew from those that are pooled.
    cells_per_step: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { last_blocks: 0, cells_per_step: 8 }
    }
}

impl Config {
    /// Whether any of it is trained.
    pub fn trains(&self) -> bool {
        self.last_blocks > 0
    }

    /// Rejects invalid settings; what is allowed depends on whether a model is wired.
    pub fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        within("transformer.last_blocks", self.last_blocks, 0..=WIDEST)?;
        within("transformer.cells_per_step", self.cells_per_step, 1..=MOST)?;
        let [model, tokens, embeddings] = ["model", "tokens", "embeddings"].map(|slot| wires.has(slot));
        if model != tokens {
            let filled = if model { "model" } else { "tokens" };
            return Err(Mistake::slot(
                filled,
                "the inputs `model` and `tokens` go together; wire both or none",
            ));
        }
        if model && embeddings {
            let message = "`embeddings` and `model` are both wired; embeddings are what the model would compute, so give one";
            return Err(Mistake::slot("embeddings", message));
        }
        if self.trains() && !model {
            let message = format!(
                "`transformer.last_blocks` is {}, and no transformer is wired; give it in `model`, with its `tokens`",
                self.last_blocks
            );
            return Err(Mistake::param("transformer.last_blocks", message));
        }
        Ok(())
    }
}

/// A transformer and the cells that it encodes.
pub struct Transformer {
    saved: Saved,
    last_blocks: usize,
    /// The ids of the cells.
    cells: Vec<String>,
    /// The output of the frozen blocks for each cell.
    trunks: Vec<Vec<f32>>,
    /// The index of each gene of the data among the model's genes.
    places: Vec<Option<usize>>,
    by: PoolBy,
    /// The moments that standardise vectors, and those of their means over the cells. They are fixed at the model's
    /// initial state, so that changes seen by other layers come from training alone.
    vector_moments: Moments,
    mean_moments: Moments,
    cells_per_step: usize,
    seed: u64,
}

impl Transformer {
    /// Reads the wired model and computes the output of its frozen part.
    pub fn read(joint: &Joint, names: &[String], device: &Device, io: &Io) -> Result<Transformer> {
        let Config { last_blocks, cells_per_step } = joint.transformer;
        let artifact = io.input("model")?;
        let mut saved = Saved::read(device, artifact)?;
        let folder = io.input("tokens")?;
        let (about, vocabulary) = About::read(folder)?;
        saved.check(about, &vocabulary)?;
        let depth = saved.card.performer.depth;
        if last_blocks > depth {
            bail!("`transformer.last_blocks` is {last_blocks}, and the model has {depth} blocks");
        }
        saved.model.train_last(last_blocks);
        let corpus = Corpus::read(folder, about, || Ok(io.check_stop()?))?;
        if corpus.cells() == 0 {
            bail!("{}: has no cells", folder.display());
        }
        let chosen = joint.choose_cells(corpus.cells());
        let places = places(names, &vocabulary, &saved::locate(artifact).join(VOCABULARY), io)?;
        let mut trunks = Vec::with_capacity(chosen.len());
        for cells in chosen.chunks(saved.model.cells_at_once()) {
            io.check_stop()?;
            let mut tokens = Vec::new();
            cells.iter().for_each(|cell| corpus.append(*cell, &mut tokens));
            let made = saved.model.trunk(&tokens, cells.len());
            let of_cells = values(&made).chunks(values(&made).len() / cells.len());
            trunks.extend(of_cells.map(<[f32]>::to_vec));
        }
        let width = saved.card.performer.width;
        let mut transformer = Transformer {
            saved,
            last_blocks,
            cells: chosen.iter().map(|cell| corpus.ids[*cell].clone()).collect(),
            trunks,
            places,
            by: joint.pooling.by,
            vector_moments: Moments::none(width),
            mean_moments: Moments::none(width),
            cells_per_step,
            seed: joint.seed,
        };
        let vectors: Tensor = transformer.vectors(None);
        transformer.vector_moments = Moments::of(values(&vectors), width);
        if joint.pooling.by == PoolBy::Mean {
            let means: Tensor = transformer.mean(transformer.vectors(None), transformer.cells.len());
            transformer.mean_moments = Moments::of(values(&means), width);
        }
        Ok(transformer)
    }

    /// Whether any of it is trained.
    pub fn is_trained(&self) -> bool {
        self.last_blocks > 0
    }

    /// The vectors, for a transformer that is not trained.
    pub fn embedded(self) -> Embedded {
        Embedded::pooled(self.by, self.vectors(None), self.cells)
    }

    /// The ids of the cells.
    pub fn cells(&self) -> &[String] {
        &self.cells
    }

    /// The width of a vector.
    pub fn width(&self) -> usize {
        self.saved.card.performer.width
    }

    /// The cells that a training batch uses, by index.
    pub fn cells_of(&self, batch: u64) -> Vec<usize> {
        choose(self.cells.len(), self.cells_per_step, self.seed, STEP_STREAM + batch)
    }

    /// The vector of each gene in some cells, gene after gene; with `None`, of all cells and without a tape.
    pub fn vectors<T: Tape>(&self, cells: Option<&[usize]>) -> Tensor<T> {
        let model = &self.saved.model;
        let (encodings, cells) = match cells {
            Some(cells) => {
                let trunk = self.trunk(cells).put_tape(T::default());
                (model.finish(trunk, cells.len()), cells.len())
            }
            None => {
                let all: Vec<usize> = (0..self.cells.len()).collect();
                let of_cells = |cells: &[usize]| {
                    values(&model.finish::<Untaped>(self.trunk(cells), cells.len())).to_vec()
                };
                let encodings = all.chunks(model.cells_at_once()).map(of_cells).collect::<Vec<_>>().concat();
                let rows = encodings.len() / self.width();
                let encodings = tensor(model.device(), encodings, rows, self.width());
                (encodings.put_tape(T::default()), all.len())
            }
        };
        let positions = model.tables().positions;
        let row = |place: Option<usize>, cell| place.map(|place| (cell * positions + place) as u32);
        let rows = self.places.iter().flat_map(|place| (0..cells).map(move |cell| row(*place, cell)));
        standardise(encodings, &rows.collect(), &self.vector_moments)
    }

    /// The mean of each gene's vectors over this many cells.
    pub fn mean<T: Tape>(&self, vectors: Tensor<T>, cells: usize) -> Tensor<T> {
        let rows = shape(&vectors).0;
        let alike = tensor(self.saved.model.device(), vec![0.0; rows], rows, 1);
        let pooled = pool(alike.put_tape(T::default()), vectors, &starts(rows / cells, cells));
        standardise(pooled, &(0..(rows / cells) as u32).map(Some).collect(), &self.mean_moments)
    }

    /// The tensors that are trained.
    pub fn trained(&mut self) -> Vec<Named<'_>> {
        let mut tensors = self.saved.model.encoder_tensors();
        tensors.retain(|named| named.role == Role::Trained);
        tensors.iter_mut().for_each(|named| named.name.insert_str(0, "transformer."));
        tensors
    }

    /// Writes the model in its current state.
    pub fn write(mut self, io: &Io) -> Result<()> {
        let folder = io.out(saved::FOLDER);
        disk::create_folder(&folder)?;
        let blocks = match self.last_blocks {
            1 => "last block".to_owned(),
            many => format!("last {many} blocks"),
        };
        self.saved.card.history.push(format!("the {blocks} trained together with a graph network"));
        self.saved.write(&folder)
    }

    fn trunk(&self, cells: &[usize]) -> Tensor {
        let trunks: Vec<&[f32]> = cells.iter().map(|cell| self.trunks[*cell].as_slice()).collect();
        let trunk = trunks.concat();
        let rows = trunk.len() / self.width();
        tensor(self.saved.model.device(), trunk, rows, self.width())
    }
}

/// Where each gene's rows begin, given one row per gene and cell, gene after gene.
pub fn starts(genes: usize, cells: usize) -> Arc<Vec<usize>> {
    Arc::new((0..=genes).map(|gene| gene * cells).collect())
}

#[cfg(test)]
mod tests {
    use super::super::inputs::{Genes, Labels, Pairs};
    use super::super::learner::Network;
    use super::super::model::Model;
    use super::super::{Fusion, Pooling};
    use super::*;
    use data::tokens::Zeros;
    use learn::model::{gnn, performer, scorer};
    use learn::training::{Learner, Moment};
    use tensor::device;
    use tensor::tape::{backward, gradient};
    use tensor::testing::normal;

    const GENES: usize = 7;
    const CELLS: usize = 4;

    fn joint(by: PoolBy) -> Joint {
        Joint {
            gnn: gnn::Config { widths: vec![5, 4], dropout: 0.0, ..gnn::Config::default() },
            pooling: Pooling { by, width: 3, most_cells: CELLS },
            transformer: Config { last_blocks: 1, cells_per_step: 2 },
            fusion: Fusion { width: 6, dropout: 0.0, ..Fusion::default() },
            scorer: scorer::Config { widths: vec![4], dropout: 0.0, ..scorer::Config::default() },
            ..Joint::default()
        }
    }

    /// A transformer that knows all genes but the first.
    fn transformer(joint: &Joint, device: &Device) -> Transformer {
        let vocabulary: Vec<String> = (1..GENES).map(|gene| format!("g{gene}")).collect();
        let config = performer::Config {
            width: 8,
            depth: 2,
            heads: 2,
            head_width: 4,
            features: Some(6),
            ..performer::Config::default()
        };
        let mut saved = Saved::new(device, config, About::new(4, GENES - 1, Zeros::Drop), vocabulary, 5);
        saved.model.train_last(joint.transformer.last_blocks);
        let trunk = |cell: usize| {
            let tokens: Vec<u32> = (0..GENES).map(|gene| (gene * (cell + 2) % 5) as u32).collect();
            values(&saved.model.trunk(&tokens, 1)).to_vec()
        };
        let narrow = |stream| normal(50 * 8, stream).iter().map(|value| 0.3 * value).collect::<Vec<f32>>();
        Transformer {
            trunks: (0..CELLS).map(trunk).collect(),
            saved,
            last_blocks: joint.transformer.last_blocks,
            cells: (0..CELLS).map(|cell| format!("c{cell}")).collect(),
            places: (0..GENES).map(|gene| gene.checked_sub(1)).collect(),
            by: joint.pooling.by,
            // From narrow columns, so that the transformer's contribution and its gradients are large.
            vector_moments: Moments::of(&narrow(1), 8),
            mean_moments: Moments::of(&narrow(2), 8),
            cells_per_step: joint.transformer.cells_per_step,
            seed: joint.seed,
        }
    }

    fn labels() -> Labels {
        let pairs: Vec<(u32, u32)> =
            (0..3).flat_map(|tf| (0..GENES as u32).map(move |target| (tf, target))).collect();
        let labels = pairs.iter().map(|(tf, target)| (tf * 3 + target) % 4 == 1).collect();
        Labels {
            names: (0..GENES).map(|gene| format!("g{gene}")).collect(),
            tfs: (0..3).collect(),
            train: Pairs { pairs, labels },
            validation: Pairs::default(),
        }
    }

    #[test]
    fn gradients_of_the_whole_are_those_of_differences() {
        for by in [PoolBy::Attention, PoolBy::Mean] {
            let (joint, device, labels) = (joint(by), device(), labels());
            let features = tensor(&device, normal(GENES * 9, 3), GENES, 9);
            let genes = Genes { features, embedded: Embedded::Nothing };
            let model = Model::new(&joint, &device, &genes, &labels, Some(transformer(&joint, &device)));
            let mut network = Network::new(&joint, model, &genes, &labels, None);
            let examples: Vec<usize> = (0..20).step_by(2).collect();
            let loss =
                |network: &mut Network| network.loss(&examples, Moment { epoch: 0, batch: 3 }).unwrap();
            let mut gradients = backward(loss(&mut network));
            let found: Vec<Vec<f32>> =
                network.tensors().into_iter().map(|named| gradient(&mut gradients, named.tensor)).collect();
            let mut blocks = 0;
            for (index, found) in found.iter().enumerate() {
                let length = found.iter().map(|slope| slope * slope).sum::<f32>().sqrt();
                let (name, start) = {
                    let named = &network.tensors()[index];
                    (named.name.clone(), named.tensor.clone())
                };
                if length == 0.0 {
                    continue;
                }
                blocks += usize::from(name.starts_with("transformer."));
                let mut at = |step: f32| {
                    let moved = values(&start).iter().zip(found).map(|(x, slope)| x + step * slope / length);
                    let (rows, columns) = shape(&start);
                    *network.tensors()[index].tensor = tensor(&device, moved.collect(), rows, columns);
                    let loss = f64::from(loss(&mut network)[[]]);
                    *network.tensors()[index].tensor = start.clone();
                    loss
                };
                // A step along the gradient must increase the loss by the step times the gradient's length. Shorter
                // steps lose more to rounding, and longer ones may cross a kink of a leaky ReLU, so one of three step
                // sizes must agree.
                let close = |step: f32| {
                    let step64 = f64::from(step);
                    let expected = (at(step) - at(-step)) / (2.0 * step64);
                    (expected - f64::from(length)).abs() < 1e-2 * expected + 5e-7 / step64
                };
                assert!([1e-2, 3e-3, 1e-3].into_iter().any(close), "{by:?}: {name}: {length}");
            }
            // A block has two norms, four projections (one with a bias) and two layers with biases; then a norm.
            assert_eq!(blocks, 4 + 5 + 4 + 2, "{by:?}");
        }
    }

    #[test]
    fn a_step_looks_at_its_own_cells() {
        let (joint, device) = (joint(PoolBy::Attention), device());
        let transformer = transformer(&joint, &device);
        let all: Tensor = transformer.vectors(None);
        let mut seen = std::collections::BTreeSet::new();
        for batch in 0..20 {
            let cells = transformer.cells_of(batch);
            assert_eq!((cells.len(), &cells), (2, &transformer.cells_of(batch)));
            let vectors: Tensor = transformer.vectors(Some(&cells));
            for gene in 0..GENES {
                for (place, cell) in cells.iter().enumerate() {
                    let of = |vectors: &Tensor, row: usize| values(vectors)[row * 8..][..8].to_vec();
                    assert_eq!(of(&vectors, gene * 2 + place), of(&all, gene * CELLS + cell));
                }
            }
            seen.extend(cells);
        }
        assert_eq!(seen.len(), CELLS);
    }
}
