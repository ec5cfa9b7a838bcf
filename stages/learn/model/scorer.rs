//! Scores a pair of genes: the logit that the first regulates the second.
//!
//! Two networks, one for TFs and one for targets, give each gene a vector per role. The score is the vectors' dot
//! product, a bilinear form t M g, or a hidden layer over the pair, w · leaky(t + g + b). The latter is an MLP over the
//! concatenated pair whose first layer is computed once per gene. Biases add one number for the TF, one for the target
//! and one for all pairs.

use super::draws::Draws;
use super::layers::{Linear, List, glorot};
use contract::bounds::{WIDEST, above_zero, share_below, within};
use contract::stage::Mistake;
use data::random::Random;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor::ops::activation::{Activation, activate};
use tensor::ops::add::add;
use tensor::ops::add_row::add_row;
use tensor::ops::dot::dot;
use tensor::ops::gather::gather;
use tensor::tape::Tape;
use tensor::{Device, Tensor, tensor};

/// PyTorch's slope.
const LEAKY: Activation = Activation::LeakyRelu(0.01);

/// How a pair is scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How the vectors of TF and target are combined.
    pub form: Form,
    /// The layer widths of each role's network; if empty, both roles use the gene's encoding itself.
    pub widths: Vec<usize>,
    /// The dropout rate of the role networks' hidden layers.
    pub dropout: f64,
    /// Keeps dropout on at test time, as GENELink does.
    pub always_drop: bool,
    /// The role networks' weights start within this times Glorot's bound, as GENELink's do; without it, within 1 /
    /// √inputs.
    pub gain: Option<f64>,
    /// Adds one number for the TF, one for the target and one for all pairs.
    pub biases: bool,
}

/// How the vectors of TF and target are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A hidden layer over both.
    Mlp,
    /// A matrix between them.
    Bilinear,
    /// Their dot product.
    Dot,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            form: Form::Mlp,
            widths: vec![16],
            dropout: 0.5,
            always_drop: false,
            gain: None,
            biases: true,
        }
    }
}

impl Config {
    /// Rejects invalid settings.
    pub fn check(&self) -> Result<(), Mistake> {
        if self.widths.is_empty() && self.form == Form::Mlp {
            let message =
                "`scorer.widths` is empty, which is for `form: dot` and `bilinear`; give at least one layer";
            return Err(Mistake::param("scorer.widths", message));
        }
        for (i, width) in self.widths.iter().enumerate() {
            within(&format!("scorer.widths.{i}"), *width, 1..=WIDEST)?;
        }
        share_below("scorer.dropout", self.dropout, 1.0)?;
        above_zero("scorer.gain", self.gain.unwrap_or(1.0), 1e3)
    }
}

/// The initial biases.
#[derive(Debug, Clone)]
pub struct Biases {
    /// For each gene as a TF.
    pub tf: Vec<f32>,
    /// For each gene as a target.
    pub target: Vec<f32>,
    /// For all pairs.
    pub all: f32,
}

/// The scorer.
#[derive(Debug, Clone)]
pub struct Scorer {
    config: Config,
    tf: Vec<Linear>,
    target: Vec<Linear>,
    /// The last layer of the MLP, or the matrix of the bilinear form.
    pair: Option<Linear>,
    /// The biases of TFs, of targets and of all pairs.
    biases: Option<[Tensor; 3]>,
}

/// The vectors of each gene in both roles.
pub struct Sides<T> {
    /// As a TF.
    pub tf: Tensor<T>,
    /// As a target.
    pub target: Tensor<T>,
}

impl Scorer {
    /// An untrained scorer, for genes with this many features.
    pub fn new(
        device: &Device,
        config: Config,
        inputs: usize,
        biases: Option<Biases>,
        random: &mut Random,
    ) -> Scorer {
        let mut role = || {
            let starts = std::iter::once(inputs).chain(config.widths.iter().copied());
            let sizes: Vec<(usize, usize)> = starts.zip(config.widths.iter().copied()).collect();
            let layer = |(from, to): &(usize, usize)| {
                let layer = Linear::new(device, random, *from, *to, true);
                match config.gain {
                    Some(gain) => layer.with_weight(glorot(device, random, *from, *to, gain)),
                    None => layer,
                }
            };
            sizes.iter().map(layer).collect()
        };
        let (tf, target) = (role(), role());
        let side = config.widths.last().copied().unwrap_or(inputs);
        let pair = match config.form {
            Form::Mlp => Some(Linear::new(device, random, side, 1, false)),
            Form::Bilinear => Some(Linear::new(device, random, side, side, false)),
            Form::Dot => None,
        };
        let biases = biases.filter(|_| config.biases).map(|Biases { tf, target, all }| {
            let (tfs, targets) = (tf.len(), target.len());
            [tensor(device, tf, tfs, 1), tensor(device, target, targets, 1), tensor(device, vec![all], 1, 1)]
        });
        Scorer { config, tf, target, pair, biases }
    }

    /// The vectors of each gene in both roles.
    pub fn sides<T: Tape>(&self, genes: Tensor<T>, draws: &mut Draws) -> Sides<T> {
        let (genes, tape) = genes.split_tape();
        let mut role = |layers: &[Linear], tape: T| {
            let last = layers.len().saturating_sub(1);
            layers.iter().enumerate().fold(genes.clone().put_tape(tape), |x, (index, layer)| {
                let x = layer.forward(x);
                // The activation of an MLP's hidden layer is applied after both sides were added.
                if index == last && self.config.form == Form::Mlp {
                    return x;
                }
                let x = activate(x, LEAKY);
                if index == last { x } else { draws.drop(x, self.config.dropout as f32) }
            })
        };
        let tf = role(&self.tf, tape);
        let target = role(&self.target, T::default());
        match (self.config.form, &self.pair) {
            (Form::Bilinear, Some(matrix)) => Sides { tf: matrix.forward(tf), target },
            _ => Sides { tf, target },
        }
    }

    /// The logit of each pair. Prereq: as many targets as TFs, all of them valid gene indices.
    pub fn logits<T: Tape>(
        &self,
        sides: Sides<T>,
        tfs: &[u32],
        targets: &[u32],
        draws: &mut Draws,
    ) -> Tensor<T> {
        let (tf, target) = (gather(sides.tf, tfs), gather(sides.target, targets));
        let mut logits = match (self.config.form, &self.pair) {
            (Form::Mlp, Some(last)) => {
                last.forward(draws.drop(activate(add(tf, target), LEAKY), self.config.dropout as f32))
            }
            _ => dot(tf, target),
        };
        if let Some([of_tf, of_target, of_all]) = &self.biases {
            logits = add(logits, gather(of_tf.retaped::<T>(), tfs));
            logits = add_row(add(logits, gather(of_target.retaped::<T>(), targets)), of_all);
        }
        logits
    }

    /// Lists every tensor with its name.
    pub fn list<'a>(&'a mut self, at: &str, list: &mut List<'a>) {
        let Scorer { config: _, tf, target, pair, biases } = self;
        for (role, layers) in [("tf", tf), ("target", target)] {
            for (index, layer) in layers.iter_mut().enumerate() {
                list.linear(&format!("{at}.{role}.{index}"), layer);
            }
        }
        if let Some(pair) = pair {
            list.linear(&format!("{at}.pair"), pair);
        }
        if let Some([tf, target, all]) = biases {
            list.push(&format!("{at}.biases.tf"), tf);
            list.push(&format!("{at}.biases.target"), target);
            list.push(&format!("{at}.biases.all"), all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Biases, Config, Form, Scorer, Sides};
    use crate::model::draws::Draws;
    use data::random::Random;
    use tensor::testing::normal;
    use tensor::{device, tensor, values};

    #[test]
    fn a_pair_and_its_mirror_have_scores_of_their_own_and_biases_are_added() {
        let device = device();
        let genes = tensor(&device, normal(4 * 6, 0), 4, 6);
        for form in [Form::Mlp, Form::Bilinear, Form::Dot] {
            let config = Config { form, widths: vec![5, 3], ..Config::default() };
            let scorer = |biases: [f32; 3]| {
                let [tf, target, all] = biases;
                let biases = Biases { tf: vec![tf; 4], target: vec![target; 4], all };
                Scorer::new(&device, config.clone(), 6, Some(biases), &mut Random::new(1, 0))
            };
            let score = |scorer: &Scorer| {
                let Sides { tf, target } = scorer.sides(genes.clone(), &mut Draws::none());
                let sides = Sides { tf, target };
                values(&scorer.logits(sides, &[0, 1], &[1, 0], &mut Draws::none())).to_vec()
            };
            let (plain, raised) = (score(&scorer([0.0; 3])), score(&scorer([1.0, 2.0, 4.0])));
            assert!((plain[0] - plain[1]).abs() > 1e-4, "{form:?}: {plain:?}");
            for (plain, raised) in plain.iter().zip(&raised) {
                assert!((raised - plain - 7.0).abs() < 1e-5, "{form:?}");
            }
        }
    }
}
