//! The linear layer and GELU on a GPU: products by cuBLAS, then biases and GELU in one pass.

use super::Layer;
use crate::card::kernels::{add_column_sums, add_to_rows, word};
use crate::card::{Card, Memory, Product, arguments};
use crate::tape::{Tape, record_on_card};
use crate::{Gradients, Tensor, shape};

/// y = x Wᵀ + b. With `constant`, x needs no gradient.
pub fn linear<T: Tape>(card: &Card, layer: Layer, tape: T, constant: bool) -> Tensor<T> {
    let (mut y, size) = layer.product(card);
    if let Some(bias) = &layer.bias {
        add_to_rows(&mut y, bias.memory());
    }
    record_on_card(tape, y, size, move |flowing, _, gradients| {
        layer.backward_on_card(flowing, gradients, constant);
    })
}

/// y = GELU(x Wᵀ + b).
pub fn linear_gelu<T: Tape>(card: &Card, layer: Layer, tape: T) -> Tensor<T> {
    let (z, size) = layer.product(card);
    let count = z.length();
    // Without a tape z is not needed again, so y overwrites it.
    let y = T::OWNS_TAPE.then(|| card.scratch(count));
    let of_y = y.as_ref().unwrap_or(&z);
    let bias = layer.bias.as_ref().map_or(&z, Tensor::memory);
    let biased = word(usize::from(layer.bias.is_some()));
    card.launch_each("gelu", count, arguments![of_y, &z, bias, count, word(size.1), biased]);
    let (y, z) = match y {
        Some(y) => (y, Some(z)),
        None => (z, None),
    };
    record_on_card(tape, y, size, move |flowing, _, gradients| {
        let z = z.expect("a tape keeps what it needs");
        let count = z.length();
        z.card().launch_each("gelu_back", count, arguments![&z, flowing, count]);
        layer.backward_on_card(&z, gradients, false);
    })
}

impl Layer {
    /// x Wᵀ and its shape.
    fn product(&self, card: &Card) -> (Memory, (usize, usize)) {
        let ((rows, inputs), (outputs, _)) = (shape(&self.x), shape(&self.weight));
        let y = card.scratch(rows * outputs);
        let weights = self.weight.memory().matrix(outputs, inputs).turned();
        let x = self.x.memory().matrix(rows, inputs);
        card.multiply(Product::new(y.matrix(rows, outputs), x, weights));
        (y, (rows, outputs))
    }

    fn backward_on_card(&self, dy: &Memory, gradients: &mut Gradients, constant: bool) {
        let ((rows, inputs), (outputs, _)) = (shape(&self.x), shape(&self.weight));
        let (card, flowing) = (dy.card(), dy.matrix(rows, outputs));
        if !constant {
            let weights = self.weight.memory().matrix(outputs, inputs);
            gradients.change(&self.x, |dx| {
                card.multiply(Product::new(dx.matrix(rows, inputs), flowing, weights).add());
            });
        }
        let x = self.x.memory().matrix(rows, inputs);
        gradients.change(&self.weight, |dw| {
            card.multiply(Product::new(dw.matrix(outputs, inputs), flowing.turned(), x).add());
        });
        if let Some(bias) = &self.bias {
            gradients.change(bias, |db| add_column_sums(db, dy));
        }
    }
}
