//! A linear layer, optionally followed by GELU or added to a residual.
//!
//! y = x Wᵀ + b, W one row per output, as in PyTorch. GELU(z) = z Φ(z) = z (1 + erf(z / √2)) / 2
//! (Hendrycks and Gimpel 2016; the exact form, not the tanh approximation).
//! Backward: dx = dy W, dW = dyᵀ x, db = Σ dy over rows; through GELU dz = dy (Φ(z) + z φ(z)).

mod cpu;
mod cuda;

use super::add::add;
use crate::matrix::{View, ViewMut};
use crate::panels::Panels;
use crate::reduce::add_column_sums;
use crate::tape::{Tape, flow_on, put, record, take, take_for_product};
use crate::{Device, Gradients, Tensor, buffer, shape, values};

/// y = x Wᵀ + b. Prereq: `weight` is outputs x inputs, `bias` 1 x outputs.
pub fn linear<T: Tape>(x: Tensor<T>, weight: &Tensor, bias: Option<&Tensor>) -> Tensor<T> {
    let (x, tape) = x.split_tape();
    let layer = Layer::new(x, weight, bias);
    if let Some(card) = layer.x.device().card() {
        return cuda::linear(&card.clone(), layer, tape, false);
    }
    let y = layer.forward();
    record(&layer.device(), tape, y, layer.size(), move |flowing, gradients| {
        layer.backward(flowing, gradients);
    })
}

/// The same for an input that needs no gradient, which saves a third of the work.
pub fn linear_of_constant<T: Tape>(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, tape: T) -> Tensor<T> {
    let layer = Layer::new(x.clone(), weight, bias);
    if let Some(card) = layer.x.device().card() {
        return cuda::linear(&card.clone(), layer, tape, true);
    }
    let y = layer.forward();
    record(&layer.device(), tape, y, layer.size(), move |flowing, gradients| {
        layer.backward_to_parameters(flowing, gradients);
    })
}

/// y = GELU(x Wᵀ + b). Prereq: as for [`linear`].
pub fn linear_gelu<T: Tape>(x: Tensor<T>, weight: &Tensor, bias: Option<&Tensor>) -> Tensor<T> {
    let (x, tape) = x.split_tape();
    let layer = Layer::new(x, weight, bias);
    if let Some(card) = layer.x.device().card() {
        return cuda::linear_gelu(&card.clone(), layer, tape);
    }
    let (device, (rows, outputs)) = (layer.device(), layer.size());
    let mut y = buffer::scratch(&device, rows * outputs);
    let mut before = if T::OWNS_TAPE { buffer::scratch(&device, y.len()) } else { Vec::new() };
    let view = T::OWNS_TAPE.then(|| ViewMut::new(&mut before, rows, outputs));
    cpu::linear_gelu(ViewMut::new(&mut y, rows, outputs), view, layer.inputs(), layer.turned(), layer.bias());
    record(&device, tape, y, layer.size(), move |flowing, gradients| {
        cpu::gelu_backward(&mut before, flowing);
        layer.backward(&before, gradients);
        buffer::recycle(&layer.device(), before);
    })
}

/// y = r + x Wᵀ + b. Prereq: as for [`linear`]; the residual r has the shape of y.
pub fn linear_add<T: Tape>(
    x: Tensor<T>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    residual: Tensor<T>,
) -> Tensor<T> {
    if x.device().card().is_some() {
        return add(linear(x, weight, bias), residual);
    }
    let (x, tape) = x.split_tape();
    let (residual, tape_of_residual) = residual.split_tape();
    let layer = Layer::new(x, weight, bias);
    let (device, (rows, outputs)) = (layer.device(), layer.size());
    assert_eq!(shape(&residual), (rows, outputs), "the residual beside a linear layer");
    let mut y = buffer::scratch(&device, rows * outputs);
    let of_residual = View::new(values(&residual), rows, outputs);
    let view = ViewMut::new(&mut y, rows, outputs);
    cpu::linear_add(view, layer.inputs(), layer.turned(), layer.bias(), of_residual);
    record(&device, tape.merge(tape_of_residual), y, (rows, outputs), move |flowing, gradients| {
        flow_on(gradients, &residual, flowing);
        layer.backward(flowing, gradients);
    })
}

struct Layer {
    x: Tensor,
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Layer {
    /// Prereq: as for [`linear`].
    fn new(x: Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Layer {
        let layer = Layer { x, weight: weight.clone(), bias: bias.cloned() };
        layer.size();
        layer
    }

    /// The layer's output, on the CPU.
    fn forward(&self) -> Vec<f32> {
        let (device, (rows, outputs)) = (self.device(), self.size());
        let mut y = buffer::scratch(&device, rows * outputs);
        cpu::linear(ViewMut::new(&mut y, rows, outputs), self.inputs(), self.turned(), self.bias());
        y
    }

    /// Wᵀ.
    fn turned(&self) -> &Panels {
        self.weight.turned()
    }

    fn bias(&self) -> Option<&[f32]> {
        self.bias.as_ref().map(values)
    }

    fn device(&self) -> Device {
        self.x.device().clone()
    }

    fn size(&self) -> (usize, usize) {
        let ((rows, inputs), (outputs, taken)) = (shape(&self.x), shape(&self.weight));
        assert_eq!(inputs, taken, "the inputs of a linear layer");
        assert!(self.bias.as_ref().is_none_or(|bias| shape(bias) == (1, outputs)), "the biases of a layer");
        (rows, outputs)
    }

    fn inputs(&self) -> View<'_> {
        let (rows, columns) = shape(&self.x);
        View::new(values(&self.x), rows, columns)
    }

    fn weights(&self) -> View<'_> {
        let (rows, columns) = shape(&self.weight);
        View::new(values(&self.weight), rows, columns)
    }

    fn backward(&self, flowing: &[f32], gradients: &mut Gradients) {
        let ((rows, inputs), (outputs, _)) = (shape(&self.x), shape(&self.weight));
        let device = self.device();
        let (mut dx, start) = take_for_product(gradients, &self.x);
        let weights = Panels::new_parallel(&device, self.weights());
        let dy = View::new(flowing, rows, outputs);
        weights.multiply_parallel(ViewMut::new(&mut dx, rows, inputs), dy, start);
        weights.recycle(&device);
        put(gradients, &self.x, dx);
        self.backward_to_parameters(flowing, gradients);
    }

    fn backward_to_parameters(&self, flowing: &[f32], gradients: &mut Gradients) {
        let ((rows, inputs), (outputs, _)) = (shape(&self.x), shape(&self.weight));
        let device = self.device();
        let (mut dw, start) = take_for_product(gradients, &self.weight);
        let x = Panels::new_parallel(&device, self.inputs());
        let dy = View::new(flowing, rows, outputs).transposed();
        x.multiply_long(&device, ViewMut::new(&mut dw, outputs, inputs), dy, start);
        x.recycle(&device);
        put(gradients, &self.weight, dw);
        if let Some(bias) = &self.bias {
            let mut db = take(gradients, bias);
            add_column_sums(&mut db, flowing);
            put(gradients, bias, db);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{linear, linear_add, linear_gelu, linear_of_constant};
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{Taped, device, tensor, values};

    #[test]
    fn values_are_those_of_the_formula() {
        let device = device();
        let (x, w, b) = (normal(200 * 3, 0), normal(5 * 3, 1), normal(5, 2));
        let z: Vec<f64> = (0..200 * 5)
            .map(|i| {
                let (row, output) = (i / 5, i % 5);
                let sum: f64 = (0..3).map(|k| f64::from(x[row * 3 + k]) * f64::from(w[output * 3 + k])).sum();
                sum + f64::from(b[output])
            })
            .collect();
        let (x, w, b) = (tensor(&device, x, 200, 3), tensor(&device, w, 5, 3), tensor(&device, b, 1, 5));
        let expected: Vec<f32> = z.iter().map(|z| *z as f32).collect();
        // Sums of four terms of size 1.
        assert!(difference(values(&linear(x.clone(), &w, Some(&b))), &expected) < 2e-6);
        let expected: Vec<f32> = z
            .iter()
            .map(|z| (z * 0.5 * (1.0 + libm::erf(z * std::f64::consts::FRAC_1_SQRT_2))) as f32)
            .collect();
        assert!(difference(values(&linear_gelu(x.clone(), &w, Some(&b))), &expected) < 2e-6);
        let residual = tensor(&device, normal(200 * 5, 3), 200, 5);
        let expected: Vec<f32> =
            z.iter().zip(values(&residual)).map(|(z, r)| (z + f64::from(*r)) as f32).collect();
        assert!(difference(values(&linear_add(x, &w, Some(&b), residual)), &expected) < 2e-6);
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let device = device();
        // The layers of scBERT and of its head, and one larger one.
        for (inputs, outputs) in [(200, 640), (640, 200), (200, 800), (800, 200), (200, 7), (2000, 64)] {
            let (x, w) =
                (normal(400 * inputs, 0), tensor(&device, normal(outputs * inputs, 1), outputs, inputs));
            let of = |first: usize, rows: usize| {
                let x = x[first * inputs..][..rows * inputs].to_vec();
                values(&linear(tensor(&device, x, rows, inputs), &w, None)).to_vec()
            };
            let all = of(0, 400);
            for (first, rows) in
                [(0, 1), (399, 1), (17, 2), (5, 64), (100, 65), (128, 129), (1, 255), (50, 350)]
            {
                let same = of(first, rows) == all[first * outputs..][..rows * outputs];
                assert!(same, "{inputs} to {outputs}, {rows} rows from {first}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let sizes = [(3, 4), (5, 4), (1, 5)];
        check_gradients(&sizes, 1e-3, |t| weighted_sum(linear(t[0].retaped(), &t[1], Some(&t[2]))));
        check_gradients(&sizes[..2], 1e-3, |t| weighted_sum(linear(t[0].retaped(), &t[1], None)));
        check_gradients(&sizes, 1e-3, |t| weighted_sum(linear_gelu(t[0].retaped(), &t[1], Some(&t[2]))));
        check_gradients(&[sizes[0], sizes[1], sizes[2], (3, 5)], 1e-3, |t| {
            weighted_sum(linear_add(t[0].retaped(), &t[1], Some(&t[2]), t[3].retaped()))
        });
        // The residual is the input itself.
        check_gradients(&[(3, 4), (4, 4)], 1e-3, |t| {
            weighted_sum(linear_add(t[0].retaped(), &t[1], None, t[0].retaped()))
        });
        let x = tensor(&device(), normal(12, 7), 3, 4);
        check_gradients(&sizes[1..], 1e-3, |t| {
            weighted_sum(linear_of_constant(&x, &t[0], Some(&t[1]), Taped::default()))
        });
    }

    #[test]
    #[should_panic(expected = "the inputs of a linear layer")]
    fn a_weight_of_another_width_is_refused() {
        let device = device();
        linear(tensor(&device, vec![0.0; 6], 2, 3), &tensor(&device, vec![0.0; 8], 2, 4), None);
    }
}
