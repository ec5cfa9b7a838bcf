//! The model as a `Learner`: batches of labelled pairs, and validation.

use super::beside::Beside;
use super::inputs::{Genes, Labels, Pairs};
use super::model::Model;
use super::{Joint, Loss, Select};
use anyhow::Result;
use contract::stage::Io;
use data::metrics::{Ranking, Scored};
use learn::model::draws::Draws;
use learn::model::gnn::Messages;
use learn::model::parameters::Named;
use learn::training::{Learner, Moment};
use tensor::ops::activation::{Activation, activate};
use tensor::ops::binary_cross_entropy::binary_cross_entropy;
use tensor::ops::squared_error::squared_error;
use tensor::tape::Tape;
use tensor::{Scalar, Taped, Tensor, Untaped, tensor};

/// Random streams of dropout: one for each batch, and one for the scorer at test time.
const DROPOUT_STREAM: u64 = 1 << 44;
const TEST_STREAM: u64 = (1 << 44) - 1;

/// A model with its training data.
pub struct Network<'a> {
    joint: &'a Joint,
    model: Model,
    genes: &'a Genes,
    labels: &'a Labels,
    beside: Option<&'a Beside<'a>>,
    /// The graph over all training edges.
    messages: Messages,
    /// The graph for the next batch, without the batch's own edges.
    ready: Option<(Moment, Messages)>,
    positive_weight: f32,
}

impl Joint {
    /// The weight of an edge relative to another pair.
    pub fn weight_of_edges(&self, train: &Pairs) -> f64 {
        let edges = train.edges() as f64;
        self.positive_weight.unwrap_or((train.labels.len() as f64 - edges) / edges)
    }

    /// Dropout at test time: none, except when reproducing GENELink.
    pub fn test_draws(&self) -> Draws {
        if self.scorer.always_drop { Draws::new(self.seed, TEST_STREAM) } else { Draws::none() }
    }
}

impl<'a> Network<'a> {
    /// Prereq: the training pairs include both classes.
    pub fn new(
        joint: &'a Joint,
        model: Model,
        genes: &'a Genes,
        labels: &'a Labels,
        beside: Option<&'a Beside<'a>>,
    ) -> Network<'a> {
        let positive_weight = joint.weight_of_edges(&labels.train) as f32;
        let messages = messages(joint, labels, |_| true);
        Network { joint, model, genes, labels, beside, messages, ready: None, positive_weight }
    }

    /// The graph over all training edges.
    pub fn messages(&self) -> &Messages {
        &self.messages
    }

    /// The graph for a batch.
    fn messages_without(&self, examples: &[usize]) -> Messages {
        if !self.joint.hide {
            return self.messages.clone();
        }
        let mut asked = vec![false; self.labels.train.pairs.len()];
        examples.iter().for_each(|example| asked[*example] = true);
        messages(self.joint, self.labels, |place| !asked[place])
    }

    /// The loss of logits.
    fn of_logits<T: Tape>(&self, logits: Tensor<T>, labels: &[bool]) -> Scalar<T> {
        match self.joint.loss {
            Loss::CrossEntropy => binary_cross_entropy(logits, labels, self.positive_weight),
            Loss::Squared => squared_error(activate(logits, Activation::Relu), labels),
        }
    }

    /// The model as it is now.
    pub fn into_model(self) -> Model {
        self.model
    }
}

/// The graph over the training edges that are kept, chosen by their position among the pairs.
fn messages(joint: &Joint, labels: &Labels, keep: impl Fn(usize) -> bool) -> Messages {
    let Pairs { pairs, labels: edge } = &labels.train;
    let kept = (0..pairs.len()).filter(|place| edge[*place] && keep(*place)).map(|place| pairs[place]);
    joint.gnn.messages_of_network(labels.names.len(), kept)
}

impl Learner for Network<'_> {
    fn unit(&self) -> &'static str {
        "pairs"
    }

    fn examples(&self) -> usize {
        self.labels.train.pairs.len()
    }

    fn tensors(&mut self) -> Vec<Named<'_>> {
        self.model.tensors()
    }

    fn prepare(&mut self, examples: &[usize], moment: Moment) {
        self.ready = Some((moment, self.messages_without(examples)));
    }

    fn loss(&mut self, examples: &[usize], moment: Moment) -> Result<Scalar<Taped>> {
        let mut draws = Draws::new(self.joint.seed, DROPOUT_STREAM + moment.batch);
        let ready = self.ready.take().filter(|(of, _)| *of == moment);
        let messages = ready.map_or_else(|| self.messages_without(examples), |(_, messages)| messages);
        let train = &self.labels.train;
        let cells = self.model.cells_of(moment.batch);
        let encoded =
            self.model.encode(self.genes, cells.as_deref(), &messages, &mut draws, Taped::default());
        let sides = self.model.sides(encoded, &mut draws);
        let pairs: Vec<(u32, u32)> = examples.iter().map(|example| train.pairs[*example]).collect();
        let labels: Vec<bool> = examples.iter().map(|example| train.labels[*example]).collect();
        let logits = self.model.logits_in_training(sides, &pairs, self.beside, &mut draws);
        Ok(self.of_logits(logits, &labels))
    }

    fn validate(&mut self, _io: &Io) -> Result<Option<f64>> {
        let Pairs { pairs, labels } = &self.labels.validation;
        if !self.labels.validation.has_both_classes() {
            return Ok(None);
        }
        let encoded = self.model.encode(self.genes, None, &self.messages, &mut Draws::none(), Untaped);
        let sides = self.model.sides(encoded, &mut self.joint.test_draws());
        let logits = self.model.logits(&sides, pairs, self.beside);
        if self.joint.select == Select::Loss {
            let count = logits.len();
            let logits = tensor(self.genes.features.device(), logits, count, 1);
            return Ok(Some(f64::from(self.of_logits(logits, labels)[[]])));
        }
        // NaN cannot be ranked. Training continues and reports the divergence itself.
        let scored = pairs.iter().zip(labels).zip(&logits).map(|(((tf, _), edge), logit)| Scored {
            score: if logit.is_nan() { f64::NEG_INFINITY } else { f64::from(*logit) },
            edge: *edge,
            tf: *tf,
        });
        let found = Ranking::new(scored.collect()).metrics(|_| 1);
        Ok(found.map(|metrics| match self.joint.select {
            Select::AveragePrecision => 1.0 - metrics.average_precision,
            _ => 1.0 - metrics.auroc,
        }))
    }
}
