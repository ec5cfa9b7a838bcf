//! The model: from genes to encodings to logits, by pooling, graph network, fusion and scorer.

use super::beside::Beside;
use super::embedded::Embedded;
use super::inputs::{Genes, Labels};
use super::transformer::{Transformer, starts};
use super::{FusionForm, Joint, PoolBy};
use data::random::Random;
use learn::model::draws::Draws;
use learn::model::gnn::{Gnn, Messages};
use learn::model::layers::{Input, Linear, List};
use learn::model::parameters::{Named, Role};
use learn::model::scorer::{Scorer, Sides};
use tensor::ops::activation::{Activation, activate};
use tensor::ops::add::add;
use tensor::ops::concatenate::concatenate;
use tensor::ops::gate::gate;
use tensor::ops::pool::{self, pool, pool_of_constant};
use tensor::tape::Tape;
use tensor::{Device, Tensor, Untaped, shape, values};

/// The random stream of the initial weights.
const START_STREAM: u64 = 1 << 42;
const LEAKY: Activation = Activation::LeakyRelu(0.01);

/// The model.
pub struct Model {
    /// Present if its last blocks are trained.
    transformer: Option<Transformer>,
    gnn: Gnn,
    pooling: Option<Attention>,
    fusion: Option<Fusion>,
    scorer: Scorer,
    /// Two layers over the additional features of a pair.
    beside: Option<[Linear; 2]>,
}

/// a_c = softmax_c(w · tanh(W h_c)).
struct Attention {
    hidden: Linear,
    score: Linear,
}

struct Fusion {
    /// Projects both inputs to one width, embeddings first; without it both are concatenated.
    gated: Option<[Linear; 2]>,
    /// The layer over the concatenation, or the gate.
    layer: Linear,
    dropout: f32,
}

impl Model {
    /// An untrained model, whose biases reflect how common edges are.
    pub fn new(
        joint: &Joint,
        device: &Device,
        genes: &Genes,
        labels: &Labels,
        transformer: Option<Transformer>,
    ) -> Model {
        let mut random = Random::new(joint.seed, START_STREAM);
        let gnn = Gnn::new(device, joint.gnn.clone(), shape(&genes.features).1, &mut random);
        let heard = joint.gnn.outputs();
        let mut layer = |inputs, outputs| Linear::new(device, &mut random, inputs, outputs, true);
        let (attends, embedded) = match (&transformer, &genes.embedded) {
            (Some(transformer), _) => (joint.pooling.by == PoolBy::Attention, Some(transformer.width())),
            (None, Embedded::Nothing) => (false, None),
            (None, Embedded::ByGene(vectors)) => (false, Some(shape(vectors).1)),
            (None, Embedded::ByCell { vectors, .. }) => (true, Some(shape(vectors).1)),
        };
        let pooling = embedded.filter(|_| attends).map(|inputs| Attention {
            hidden: layer(inputs, joint.pooling.width),
            score: layer(joint.pooling.width, 1),
        });
        let (width, dropout) = (joint.fusion.width, joint.fusion.dropout as f32);
        let fusion = embedded.map(|embedded| match joint.fusion.form {
            FusionForm::Concatenate => Fusion { gated: None, layer: layer(embedded + heard, width), dropout },
            FusionForm::Gated => Fusion {
                gated: Some([layer(embedded, width), layer(heard, width)]),
                layer: layer(2 * width, width),
                dropout,
            },
        });
        let inputs = if fusion.is_some() { width } else { heard };
        let biases = Some(labels.biases(joint.weight_of_edges(&labels.train)));
        let scorer = Scorer::new(device, joint.scorer.clone(), inputs, biases, &mut random);
        let numbers = joint.beside.numbers();
        let mut layer = |inputs, outputs| Linear::new(device, &mut random, inputs, outputs, true);
        let beside =
            (numbers > 0).then(|| [layer(numbers, joint.beside.width), layer(joint.beside.width, 1)]);
        Model { transformer, gnn, pooling, fusion, scorer, beside }
    }

    /// The cells that a training batch uses, if a transformer is trained.
    pub fn cells_of(&self, batch: u64) -> Option<Vec<usize>> {
        self.transformer.as_ref().map(|transformer| transformer.cells_of(batch))
    }

    /// The encoding of each gene. A trained transformer uses these cells; with `None` it uses all cells, and is not on
    /// the tape.
    pub fn encode<T: Tape>(
        &self,
        genes: &Genes,
        cells: Option<&[usize]>,
        messages: &Messages,
        draws: &mut Draws,
        tape: T,
    ) -> Tensor<T> {
        let heard = self.gnn.encode(&genes.features, messages, draws, tape);
        let Some(fusion) = &self.fusion else { return heard };
        let embedded = self.embedded(genes, cells);
        let fused = match &fusion.gated {
            None => fusion.layer.forward(concatenate(embedded, heard)),
            Some([of_embedded, of_heard]) => {
                let (embedded, tape) = of_embedded.forward(embedded).split_tape();
                let (heard, other) = of_heard.forward(heard).split_tape();
                let both = concatenate(embedded.clone().put_tape(tape), heard.clone().put_tape(other));
                gate(fusion.layer.forward(both), embedded.retaped::<T>(), heard.retaped::<T>())
            }
        };
        draws.drop(activate(fused, LEAKY), fusion.dropout)
    }

    /// The transformer's vector of each gene.
    fn embedded<T: Tape>(&self, genes: &Genes, cells: Option<&[usize]>) -> Tensor<T> {
        match (&self.transformer, &genes.embedded, &self.pooling) {
            (Some(transformer), _, Some(attention)) => {
                let (vectors, tape) = transformer.vectors::<T>(cells).split_tape();
                let scores = attention.scores(Input::Computed(&vectors), tape);
                let starts = starts(genes.count(), shape(&vectors).0 / genes.count());
                pool(scores, vectors.retaped(), &starts)
            }
            (Some(transformer), _, None) => {
                let vectors = transformer.vectors(cells);
                let cells = shape(&vectors).0 / genes.count();
                transformer.mean(vectors, cells)
            }
            (None, Embedded::ByCell { vectors, cells }, Some(attention)) => {
                let scores = attention.scores(Input::Constant(vectors), T::default());
                pool_of_constant(scores, vectors, &starts(genes.count(), cells.len()))
            }
            (None, Embedded::ByGene(vectors), _) => vectors.clone().put_tape(T::default()),
            _ => unreachable!("a fusion is made where there are embeddings"),
        }
    }

    /// The vectors of each gene in both roles.
    pub fn sides<T: Tape>(&self, encoded: Tensor<T>, draws: &mut Draws) -> Sides<T> {
        self.scorer.sides(encoded, draws)
    }

    /// The logits of pairs in training.
    pub fn logits_in_training<T: Tape>(
        &self,
        sides: Sides<T>,
        pairs: &[(u32, u32)],
        told: Option<&Beside>,
        draws: &mut Draws,
    ) -> Tensor<T> {
        let (tfs, targets): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
        let logits = self.scorer.logits(sides, &tfs, &targets, draws);
        let (Some(told), Some([hidden, last])) = (told, &self.beside) else { return logits };
        let hidden = hidden.apply(Input::Constant(&told.describe(pairs)), T::default());
        add(logits, last.forward(activate(hidden, LEAKY)))
    }

    /// The logits of pairs.
    pub fn logits(&self, sides: &Sides<Untaped>, pairs: &[(u32, u32)], told: Option<&Beside>) -> Vec<f32> {
        let sides = Sides { tf: sides.tf.clone(), target: sides.target.clone() };
        values(&self.logits_in_training(sides, pairs, told, &mut Draws::none())).to_vec()
    }

    /// The cells, and for each gene in turn the weight of every cell in its embedding.
    pub fn attention<'a>(&'a self, genes: &'a Genes) -> Option<(&'a [String], Vec<f32>)> {
        let attention = self.pooling.as_ref()?;
        let (vectors, cells) = match (&self.transformer, &genes.embedded) {
            (Some(transformer), _) => (transformer.vectors(None), transformer.cells()),
            (None, Embedded::ByCell { vectors, cells }) => (vectors.clone(), cells.as_slice()),
            _ => return None,
        };
        let scores: Tensor = attention.scores(Input::Constant(&vectors), Untaped);
        Some((cells, pool::attention(values(&scores), &starts(genes.count(), cells.len()))))
    }

    /// Takes the trained transformer out of the model.
    pub fn take_transformer(&mut self) -> Option<Transformer> {
        self.transformer.take()
    }

    /// Lists every tensor with its name.
    pub fn tensors(&mut self) -> Vec<Named<'_>> {
        let Model { transformer, gnn, pooling, fusion, scorer, beside } = self;
        let mut list = List::new(Role::Trained);
        gnn.list("gnn", &mut list);
        if let Some(Attention { hidden, score }) = pooling {
            list.linear("pooling.hidden", hidden);
            list.linear("pooling.score", score);
        }
        if let Some(Fusion { gated, layer, dropout: _ }) = fusion {
            if let Some([embedded, heard]) = gated {
                list.linear("fusion.embedded", embedded);
                list.linear("fusion.heard", heard);
            }
            list.linear("fusion.layer", layer);
        }
        scorer.list("scorer", &mut list);
        if let Some([hidden, last]) = beside {
            list.linear("beside.0", hidden);
            list.linear("beside.1", last);
        }
        let mut tensors = list.named();
        tensors.extend(transformer.iter_mut().flat_map(Transformer::trained));
        tensors
    }
}

impl Attention {
    fn scores<T: Tape>(&self, vectors: Input, tape: T) -> Tensor<T> {
        let hidden = activate(self.hidden.apply(vectors, tape), Activation::Tanh);
        self.score.forward(hidden)
    }
}
