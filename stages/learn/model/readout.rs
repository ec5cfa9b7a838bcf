//! A vector of a whole cell, from which its hidden genes are predicted beside their own encodings.
//!
//! c = Σ z_g s_g / √genes over the visible genes of a cell, with z_g = (token_g − mean_g) / (deviation_g + 0.1): a
//! projection of the cell that begins as its principal components and is trained to predict what is hidden. Gene g's
//! logits gain b_g + (c · u_g) d, where b_g are the log shares of its bins in the training cells and d is a direction over the
//! bins, at first their numbers. The encoder then has to explain only what the gene's own bins and c leave open.

use super::layers::{Input, Linear, List};
use super::parameters::Role;
use super::performer::Tables;
use crate::linear::{directions, principal_components};
use data::random::Random;
use tensor::ops::add::add;
use tensor::ops::gather::gather;
use tensor::ops::linear::linear;
use tensor::ops::reshape::reshape;
use tensor::tape::Tape;
use tensor::{Device, Tensor, shape, tensor, values};

/// The random stream of its initial weights; those of the model come first.
const STREAM: u64 = 1 << 47;
/// The standard deviation of the initial weights, small so that an untrained model predicts each gene's own bins.
const SPREAD: f64 = 0.1;
/// Added to each gene's standard deviation, so that rare genes are not blown up.
const LEAST_DEVIATION: f32 = 0.1;
/// The logit of what a gene can't be: the zero bin, and the mask.
const IMPOSSIBLE: f32 = -10.0;

/// What the training cells say of each position of the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Priors {
    /// The mean token, zeros included.
    pub means: Vec<f32>,
    /// The standard deviation of the token, zeros included.
    pub deviations: Vec<f32>,
    /// The shares of the bins among the tokens that are not zero; `[0]` is bin 1.
    pub shares: Vec<Vec<f64>>,
}

/// The readout's tensors.
#[derive(Debug, Clone)]
pub struct Readout {
    /// 1 x positions; frozen.
    means: Tensor,
    /// 1 x positions; frozen.
    deviations: Tensor,
    /// positions x tokens; frozen.
    priors: Tensor,
    /// The s_g: cell width x positions.
    from: Linear,
    /// The u_g: positions x cell width.
    onto: Linear,
    /// d: tokens x 1.
    direction: Tensor,
}

impl Readout {
    /// An untrained readout that knows nothing about the genes yet.
    pub fn new(device: &Device, width: usize, tables: Tables, seed: u64) -> Readout {
        let Tables { tokens, positions } = tables;
        let mut random = Random::new(seed, STREAM);
        let mut layer = |inputs: usize, outputs: usize| {
            let weights = (0..inputs * outputs).map(|_| (SPREAD * random.normal()) as f32).collect();
            Linear::of(tensor(device, weights, outputs, inputs))
        };
        let (from, onto) = (layer(positions, width), layer(width, positions));
        let middle = (tokens as f32 - 1.0) / 2.0;
        let direction = (0..tokens).map(|token| token as f32 - middle).collect();
        Readout {
            means: tensor(device, vec![0.0; positions], 1, positions),
            deviations: tensor(device, vec![0.0; positions], 1, positions),
            priors: tensor(device, vec![0.0; positions * tokens], positions, tokens),
            from,
            onto,
            direction: tensor(device, direction, tokens, 1),
        }
    }

    /// Takes over what training cells say, of which `cells` are tokens: the vector of a cell begins as its first principal
    /// components. Prereq: one entry for each position.
    pub fn know(&mut self, priors: &Priors, cells: &[u32]) {
        let (positions, tokens) = shape(&self.priors);
        let row = |values: &[f32], like: &Tensor| tensor(like.device(), values.to_vec(), 1, positions);
        self.means = row(&priors.means, &self.means);
        self.deviations = row(&priors.deviations, &self.deviations);
        let mut logits = vec![IMPOSSIBLE; positions * tokens];
        for (row, shares) in logits.chunks_mut(tokens).zip(&priors.shares) {
            row[1..].iter_mut().zip(shares).for_each(|(logit, share)| *logit = libm::log(*share) as f32);
        }
        self.priors = tensor(&self.priors.device().clone(), logits, positions, tokens);
        let standard: Vec<f32> = cells.chunks(positions).flat_map(|cell| self.standard(cell)).collect();
        let (places, count) = principal_components(&standard, positions, self.width());
        if count == 0 {
            return;
        }
        let axes = directions(&standard, positions, &places, count);
        let mut weights = values(self.from.weight()).to_vec();
        for (axis, weights) in weights.chunks_mut(positions).take(count).enumerate() {
            let along = axes.chunks(count).map(|gene| gene[axis] as f32);
            weights.iter_mut().zip(along).for_each(|(weight, along)| *weight = along);
        }
        self.from = Linear::of(tensor(self.from.weight().device(), weights, self.width(), positions));
    }

    /// A cell's tokens, standardised.
    fn standard(&self, cell: &[u32]) -> Vec<f32> {
        let mask = shape(&self.direction).0 as u32 - 1;
        standardise(cell, mask, values(&self.means), values(&self.deviations), LEAST_DEVIATION)
    }

    /// The vectors of cells; arguments as for `Performer::encode`.
    pub fn cells<T: Tape>(&self, tokens: &[u32], cells: usize, tape: T) -> Tensor<T> {
        self.from.apply(Input::Constant(&self.visible(tokens, cells)), tape)
    }

    /// The z_g / √genes: cells x positions. Arguments as for `Performer::encode`.
    pub fn visible(&self, tokens: &[u32], cells: usize) -> Tensor {
        let positions = tokens.len() / cells;
        let scale = 1.0 / (positions as f32).sqrt();
        let standard = tokens.chunks(positions).flat_map(|cell| self.standard(cell));
        let visible = standard.map(|value| scale * value).collect();
        tensor(self.means.device(), visible, cells, positions)
    }

    /// How far a visible gene's number in [`Readout::visible`] moves with its token, by position.
    pub fn steps(&self) -> Vec<f32> {
        let scale = 1.0 / (shape(&self.means).1 as f32).sqrt();
        let step = |deviation: &f32| match *deviation == 0.0 {
            true => 0.0,
            false => scale / (deviation + LEAST_DEVIATION),
        };
        values(&self.deviations).iter().map(step).collect()
    }

    /// Adds what the cell says of its genes to their logits; arguments as for `Performer::encode`.
    pub fn add_to<T: Tape>(&self, logits: Tensor<T>, tokens: &[u32], cells: usize) -> Tensor<T> {
        self.add_of(logits, self.cells(tokens, cells, T::default()))
    }

    /// The same from what [`Readout::visible`] gives, which may have a tape.
    pub fn add_seen<T: Tape>(&self, logits: Tensor<T>, visible: Tensor<T>) -> Tensor<T> {
        self.add_of(logits, self.from.forward(visible))
    }

    fn add_of<T: Tape>(&self, logits: Tensor<T>, of_cells: Tensor<T>) -> Tensor<T> {
        let (cells, rows) = (shape(&of_cells).0, shape(&logits).0);
        let of_genes = self.onto.forward(of_cells);
        let along = linear(reshape(of_genes, (rows, 1)), &self.direction, None);
        let places: Vec<u32> = (0..cells).flat_map(|_| 0..(rows / cells) as u32).collect();
        let priors = gather(self.priors.clone(), &places).put_tape(T::default());
        add(add(logits, along), priors)
    }

    /// The product s_g · u_h for one visible gene g and each hidden gene h: a linear network of genes.
    pub fn effects(&self, gene: usize) -> Vec<f64> {
        let (width, positions) = shape(self.from.weight());
        let from = (0..width).map(|row| values(self.from.weight())[row * positions + gene]);
        let from: Vec<f64> = from.map(f64::from).collect();
        let onto = values(self.onto.weight()).chunks(width);
        onto.map(|onto| onto.iter().zip(&from).map(|(onto, from)| f64::from(*onto) * from).sum()).collect()
    }

    /// The width of a cell's vector.
    pub fn width(&self) -> usize {
        shape(self.from.weight()).0
    }

    /// Adds its tensors to a list under this name.
    pub fn list<'a>(&'a mut self, name: &str, list: &mut List<'a>) {
        let Readout { means, deviations, priors, from, onto, direction } = self;
        let trained = std::mem::replace(&mut list.role, Role::Frozen);
        list.push(&format!("{name}.means"), means);
        list.push(&format!("{name}.deviations"), deviations);
        list.push(&format!("{name}.priors"), priors);
        list.role = trained;
        list.linear(&format!("{name}.from"), from);
        list.linear(&format!("{name}.onto"), onto);
        list.push(&format!("{name}.direction"), direction);
    }
}

/// A cell's tokens less their means, by their deviations plus `added`; 0 where hidden or constant.
pub fn standardise(cell: &[u32], mask: u32, means: &[f32], deviations: &[f32], added: f32) -> Vec<f32> {
    let genes = means.iter().zip(deviations);
    let standard =
        |(token, (mean, deviation)): (&u32, (&f32, &f32))| match *token == mask || *deviation == 0.0 {
            true => 0.0,
            false => (*token as f32 - mean) / (deviation + added),
        };
    cell.iter().zip(genes).map(standard).collect()
}

#[cfg(test)]
mod tests {
    use super::{Priors, Readout, Tables};
    use tensor::ops::cross_entropy::cross_entropy;
    use tensor::tape::{backward, gradient};
    use tensor::{Taped, Untaped, device, tensor, values};

    /// Three genes and the trailing position; bins 1 and 2, so the mask is 3.
    fn known() -> Readout {
        let mut readout = Readout::new(&device(), 2, Tables { tokens: 4, positions: 4 }, 1);
        let priors = Priors {
            means: vec![1.0, 0.5, 2.0, 0.0],
            deviations: vec![0.4, 0.9, 0.0, 0.0],
            shares: vec![vec![0.25, 0.75], vec![0.5, 0.5], vec![0.9, 0.1], vec![0.5, 0.5]],
        };
        readout.know(&priors, &[1, 0, 2, 0, 1, 2, 2, 0, 2, 1, 2, 0]);
        readout
    }

    #[test]
    fn an_average_cell_gets_the_shares_of_the_bins() {
        let readout = known();
        // Hidden genes, and genes at their mean, say nothing.
        let zero = || tensor(&device(), vec![0.0; 16], 4, 4);
        let logits = readout.add_to(zero(), &[3, 3, 2, 0], 1);
        let of_gene = &values(&logits)[..4];
        assert!((of_gene[2] - of_gene[1] - 3.0f32.ln()).abs() < 1e-6, "{of_gene:?}");
        assert!(of_gene[0] < -9.0 && of_gene[3] < -9.0, "{of_gene:?}");
        let off = readout.add_to(zero(), &[3, 2, 2, 0], 1);
        assert_ne!(values(&off), values(&logits), "a visible gene moves the others");
    }

    #[test]
    fn what_is_hidden_moves_no_cell_and_cells_do_not_depend_on_batch_mates() {
        let readout = known();
        let one = values(&readout.cells(&[3, 2, 1, 0], 1, Untaped)).to_vec();
        let both = values(&readout.cells(&[1, 0, 3, 0, 3, 2, 1, 0], 2, Untaped)).to_vec();
        assert_eq!(both[2..], one[..]);
        assert_eq!(values(&readout.cells(&[3, 3, 3, 0], 1, Untaped)), [0.0, 0.0]);
    }

    #[test]
    fn the_projections_learn_and_what_is_known_of_genes_does_not() {
        let mut readout = known();
        let zero = tensor(&device(), vec![0.0; 16], 4, 4).put_tape(Taped::default());
        let mut gradients = backward(cross_entropy(
            readout.add_to(zero, &[3, 2, 1, 0], 1),
            &[2, u32::MAX, u32::MAX, u32::MAX],
        ));
        let mut list = super::List::new(super::Role::Trained);
        readout.list("cell", &mut list);
        let mut learning = Vec::new();
        for named in list.named() {
            if named.role == super::Role::Trained {
                assert!(gradient(&mut gradients, named.tensor).iter().any(|value| *value != 0.0));
                learning.push(named.name);
            }
        }
        assert_eq!(learning, ["cell.from.weight", "cell.onto.weight", "cell.direction"]);
    }
}
