//! scBERT's head that predicts the type of a cell from the encodings of its genes (Yang et al. 2022).
//!
//! A convolution as wide as an encoding turns each gene's encoding into one number. The numbers of all genes pass
//! through two hidden layers and a linear layer that gives the logits; ReLU follows each of the first three layers,
//! dropout the hidden ones. Tensors have the names of the original in PyTorch, where this head takes the place of the
//! one that predicts tokens.
//!
//! A head may also have a shortcut, which the original lacks: a logistic regression of the tokens, whose logits are
//! added to those of the last layer.

use super::layers::{Linear, List};
use super::parameters::{self, Named, Role};
use super::performer::Performer;
use super::weights::{self, Array, Arrays};
use crate::multinomial::Multinomial;
use anyhow::{Context, Result, bail, ensure};
use contract::disk;
use data::random::Random;
use std::path::Path;
use tensor::ops::activation::{Activation, activate};
use tensor::ops::dropout::dropout;
use tensor::ops::reshape::reshape;
use tensor::tape::Tape;
use tensor::{Device, Tensor, shape, tensor};

/// The head as a safetensors file, whose metadata has the names of the types.
pub const FILE: &str = "classifier.safetensors";
const TYPES: &str = "types";
/// The weights of the shortcut: types × positions, and a number for each type.
const SHORTCUT: [&str; 2] = ["shortcut.weight", "shortcut.bias"];

/// The head.
#[derive(Debug, Clone)]
pub struct Classifier {
    summary: Linear,
    hidden: [Linear; 2],
    classes: Linear,
    /// It is fitted before the head is trained, and then fixed.
    shortcut: Option<Multinomial>,
    sizes: Sizes,
}

/// The sizes of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The width of an encoding.
    pub width: usize,
    /// The number of positions of a cell.
    pub positions: usize,
    /// The widths of the hidden layers.
    pub hidden: [usize; 2],
    /// The number of types.
    pub classes: usize,
}

impl Classifier {
    /// An untrained head.
    pub fn new(device: &Device, sizes: Sizes, random: &mut Random) -> Classifier {
        let Sizes { width, positions, hidden: [first, second], classes } = sizes;
        let mut layer = |inputs, outputs| Linear::new(device, random, inputs, outputs, true);
        Classifier {
            summary: layer(width, 1),
            hidden: [layer(positions, first), layer(first, second)],
            classes: layer(second, classes),
            shortcut: None,
            sizes,
        }
    }

    /// Adds a shortcut. The last layer starts at 0, so that the head begins with what the shortcut says.
    ///
    /// Prereq: the shortcut has a feature for each position.
    pub fn with_shortcut(self, device: &Device, shortcut: &Multinomial) -> Classifier {
        let Sizes { positions, hidden: [_, width], classes, .. } = self.sizes;
        // As 32-bit floats, so that a head that was written and read gives the same bits.
        let rounded = shortcut.weights().iter().map(|weight| f64::from(*weight as f32)).collect();
        let last = self.classes.with_weight(tensor(device, vec![0.0; width * classes], classes, width));
        let last = last.with_bias(tensor(device, vec![0.0; classes], 1, classes));
        Classifier { shortcut: Some(Multinomial::of_weights(rounded, positions)), classes: last, ..self }
    }

    /// The shortcut.
    pub fn shortcut(&self) -> Option<&Multinomial> {
        self.shortcut.as_ref()
    }

    /// Takes a head out of a model's weights; `None` if they contain none.
    pub fn take(device: &Device, arrays: &mut Arrays) -> Result<Option<Classifier>> {
        const SUMMARY: &str = "to_out.conv1.weight";
        if let Some(Array { shape, values }) = arrays.get_mut(SUMMARY) {
            // PyTorch stores the convolution's weights by channel: 1 × 1 × 1 × width.
            *shape = vec![values.len()];
        }
        let shape = |name: &str| arrays.get(name).map(|array| array.shape.clone());
        let Some(summary) = shape(SUMMARY) else { return Ok(None) };
        let two = |name: &str| match shape(name).as_deref() {
            Some([outputs, inputs]) => Ok((*outputs, *inputs)),
            // A weight matrix with a single output is stored with one axis.
            Some([inputs]) => Ok((1, *inputs)),
            Some(other) => bail!("`{name}` has the shape {other:?}, expected two axes"),
            None => bail!("the weights lack `{name}`"),
        };
        let (first, positions) = two("to_out.fc1.weight")?;
        let (second, _) = two("to_out.fc2.weight")?;
        let (classes, _) = two("to_out.fc3.weight")?;
        let sizes = Sizes { width: summary[0], positions, hidden: [first, second], classes };
        let mut head = Classifier::new(device, sizes, &mut Random::new(0, 0));
        parameters::load(head.tensors(), |name| {
            arrays.remove(name).map(|array| (array.shape, array.values))
        })?;
        if let [Some(weight), Some(bias)] = SHORTCUT.map(|name| arrays.remove(name)) {
            let fits = weight.values.len() == classes * positions && bias.values.len() == classes;
            ensure!(fits, "the shortcut has other sizes than the head");
            let rows = weight.values.chunks_exact(positions).zip(&bias.values);
            let weights = rows.flat_map(|(row, bias)| row.iter().chain([bias]).copied().map(f64::from));
            head.shortcut = Some(Multinomial::of_weights(weights.collect(), positions));
        }
        Ok(Some(head))
    }

    /// The sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// Rejects a head whose sizes do not match this model.
    pub fn check(&self, model: &Performer) -> Result<()> {
        let Sizes { width, positions, .. } = self.sizes;
        let (given, of) = (model.config().width, model.tables().positions);
        ensure!(
            (width, positions) == (given, of),
            "the head that tells types takes {width} numbers of {positions} genes, and the model gives {given} of {of}"
        );
        Ok(())
    }

    /// The logits of each type for each cell, without those of the shortcut; `drops` has the dropout rate and key of each hidden layer.
    pub fn logits<T: Tape>(&self, encodings: Tensor<T>, drops: [(f32, u64); 2]) -> Tensor<T> {
        let cells = shape(&encodings).0 / self.sizes.positions;
        let summaries = activate(self.summary.forward(encodings), Activation::Relu);
        let mut x = reshape(summaries, (cells, self.sizes.positions));
        for (layer, (rate, key)) in self.hidden.iter().zip(drops) {
            x = dropout(activate(layer.forward(x), Activation::Relu), rate, key);
        }
        self.classes.forward(x)
    }

    /// Every tensor, in PyTorch's order.
    pub fn tensors(&mut self) -> Vec<Named<'_>> {
        let Classifier { summary, hidden: [first, second], classes, .. } = self;
        let mut list = List::new(Role::Trained);
        list.linear("to_out.conv1", summary);
        list.linear("to_out.fc1", first);
        list.linear("to_out.fc2", second);
        list.linear("to_out.fc3", classes);
        list.named()
    }

    /// Writes the head and, in order, the names of its types.
    pub fn write(&mut self, folder: &Path, types: &[String]) -> Result<()> {
        ensure!(
            types.len() == self.sizes.classes,
            "the head tells {} types apart, and {} have a name",
            self.sizes.classes,
            types.len()
        );
        let mut arrays = weights::of_tensors(self.tensors());
        if let Some(shortcut) = &self.shortcut {
            let Sizes { positions, classes, .. } = self.sizes;
            let rows = || shortcut.weights().chunks_exact(positions + 1);
            let floats = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
            let weight = rows().flat_map(|row| floats(&row[..positions])).collect();
            let bias = rows().flat_map(|row| floats(&row[positions..])).collect();
            let [weights, biases] = SHORTCUT.map(str::to_owned);
            arrays.insert(weights, Array { shape: vec![classes, positions], values: weight });
            arrays.insert(biases, Array { shape: vec![classes], values: bias });
        }
        let bytes = weights::to_bytes(&arrays, (TYPES, &serde_json::to_string(types)?))?;
        Ok(disk::write(&folder.join(FILE), &bytes)?)
    }

    /// Reads the head in a folder and the names of its types; `None` if there is no head.
    pub fn read(device: &Device, folder: &Path) -> Result<Option<(Classifier, Vec<String>)>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let read = || -> Result<(Classifier, Vec<String>)> {
            let (mut arrays, types) = weights::from_bytes(&disk::read(&path)?, TYPES)?;
            let types: Vec<String> = serde_json::from_str(&types.context("it does not name its types")?)?;
            let head = Classifier::take(device, &mut arrays)?.context("it holds no head")?;
            ensure!(
                types.len() == head.sizes.classes,
                "it names {} types of {}",
                types.len(),
                head.sizes.classes
            );
            Ok((head, types))
        };
        read().map(Some).with_context(|| format!("reading {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Classifier, Sizes};
    use crate::model::weights::{self, Array};
    use crate::multinomial::Multinomial;
    use data::random::Random;
    use tensor::testing::{difference, normal};
    use tensor::{Untaped, device, tensor, values};

    const SIZES: Sizes = Sizes { width: 4, positions: 6, hidden: [5, 3], classes: 2 };

    fn head() -> Classifier {
        Classifier::new(&device(), SIZES, &mut Random::new(1, 0))
    }

    #[test]
    fn logits_are_those_of_the_original() {
        let mut head = head();
        let arrays = weights::of_tensors(head.tensors());
        let layer = |name: &str, x: &[f64], relu: bool| -> Vec<f64> {
            let (weight, bias) = (
                &arrays[&format!("to_out.{name}.weight")].values,
                &arrays[&format!("to_out.{name}.bias")].values,
            );
            let rows = weight.chunks(x.len()).zip(bias);
            let sums = rows.map(|(row, bias)| {
                f64::from(*bias) + row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>()
            });
            sums.map(|sum| if relu { sum.max(0.0) } else { sum }).collect()
        };
        let encodings = normal(2 * 6 * 4, 3);
        let of_cell = |cell: &[f32]| -> Vec<f32> {
            let genes = cell.chunks(4).flat_map(|gene| {
                layer("conv1", &gene.iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), true)
            });
            let hidden = layer("fc2", &layer("fc1", &genes.collect::<Vec<_>>(), true), true);
            layer("fc3", &hidden, false).into_iter().map(|logit| logit as f32).collect()
        };
        let expected: Vec<f32> = encodings.chunks(24).flat_map(of_cell).collect();
        let found = head.logits::<Untaped>(tensor(&device(), encodings, 12, 4), [(0.0, 0); 2]);
        assert!(difference(values(&found), &expected) < 1e-6);
    }

    #[test]
    fn a_head_is_taken_from_weights_by_its_shapes() {
        let device = device();
        let mut arrays = weights::of_tensors(head().tensors());
        arrays.get_mut("to_out.conv1.weight").unwrap().shape = vec![1, 1, 1, 4];
        let other = Array { shape: vec![1], values: vec![1.0] };
        arrays.insert("norm.weight".to_owned(), other);
        let mut taken = Classifier::take(&device, &mut arrays).unwrap().unwrap();
        assert_eq!(taken.sizes(), SIZES);
        assert_eq!(weights::of_tensors(taken.tensors()), weights::of_tensors(head().tensors()));
        assert_eq!(arrays.into_keys().collect::<Vec<_>>(), ["norm.weight"]);
        let mut damaged = weights::of_tensors(head().tensors());
        damaged.remove("to_out.fc2.weight");
        assert_eq!(
            Classifier::take(&device, &mut damaged).unwrap_err().to_string(),
            "the weights lack `to_out.fc2.weight`"
        );
    }

    #[test]
    fn a_shortcut_comes_back_and_the_head_begins_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let weights = (0..14).map(|place| f64::from(place) / 3.0).collect();
        let device = device();
        let mut head = head().with_shortcut(&device, &Multinomial::of_weights(weights, 6));
        let encodings = tensor(&device, normal(6 * 4, 3), 6, 4);
        assert_eq!(values(&head.logits::<Untaped>(encodings, [(0.0, 0); 2])), [0.0, 0.0]);
        head.write(folder.path(), &["a".to_owned(), "b".to_owned()]).unwrap();
        let (read, _) = Classifier::read(&device, folder.path()).unwrap().unwrap();
        assert_eq!(read.shortcut(), head.shortcut());
        assert!(read.shortcut().is_some());
    }

    #[test]
    fn what_is_written_is_read_with_its_types() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Classifier::read(&device(), folder.path()).unwrap().is_none());
        let types = ["a".to_owned(), "b".to_owned()];
        head().write(folder.path(), &types).unwrap();
        let (mut read, names) = Classifier::read(&device(), folder.path()).unwrap().unwrap();
        assert_eq!(names, types);
        assert_eq!(weights::of_tensors(read.tensors()), weights::of_tensors(head().tensors()));
        let error = head().write(folder.path(), &types[..1]).unwrap_err().to_string();
        assert_eq!(error, "the head tells 2 types apart, and 1 have a name");
    }
}
