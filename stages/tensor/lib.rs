//! Tensors with gradients: dfdx's tape below operations and buffers of our own.
//!
//! Everything is a matrix whose size is known at run time: a batch of cells lies gene below gene and cell below
//! cell, a vector is a matrix of one row. So one type serves parameters, activations and gradients, and an
//! operation that needs to know where a cell ends is told so.
//!
//! dfdx alone is too slow on a CPU: only its matrix product is threaded. Here every operation is a folder below
//! `ops` with its formula, its kernels and its tests. Work is cut into pieces whose size does not depend on the
//! number of threads, so neither does any result.
//!
//! On a GPU an operation has kernels of its own in `cuda.rs`. One that has none is still right there: its values
//! come to the processor and its result goes back (`docs/gpu.md`).

pub mod buffer;
pub mod card;
pub mod device;
pub mod gemm;
pub mod gradients;
pub mod graph;
pub mod matrix;
pub mod ops;
mod panels;
mod reduce;
pub mod simd;
mod sparse;
pub mod tape;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use device::{Device, device};
/// Nothing is recorded: inference.
pub use dfdx::tensor::NoneTape as Untaped;
pub use gradients::Gradients;

use buffer::Held;
use card::Memory;
use panels::Panels;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records what is needed for gradients.
pub type Taped = dfdx::tensor::OwnedTape<f32, dfdx::tensor::Cpu>;
/// A single number on the processor, from which gradients flow back.
pub type Scalar<T = Untaped> = dfdx::tensor::Tensor<(), f32, dfdx::tensor::Cpu, T>;

/// Rows by columns, row after row, 32 bits; `T` says whether operations on it are recorded. Clones share values.
#[derive(Debug, Clone)]
pub struct Tensor<T = Untaped> {
    /// Under which its gradient is added up.
    id: u64,
    held: Arc<Held>,
    shape: (usize, usize),
    tape: T,
}

impl Tensor {
    fn new(held: Held, shape: (usize, usize)) -> Tensor {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Tensor { id, held: Arc::new(held), shape, tape: Untaped }
    }

    /// A tensor of what lies on a card. Prereq: as many numbers as rows times columns.
    fn on_card(memory: Memory, shape: (usize, usize)) -> Tensor {
        assert_eq!(memory.length(), shape.0 * shape.1, "values of a {} x {} tensor", shape.0, shape.1);
        Tensor::new(Held::card(memory), shape)
    }

    /// The transposed matrix as a right factor on the processor: laid out once, since values do not change.
    fn turned(&self) -> &Panels {
        self.held.turned(self.shape)
    }

    /// Its memory on the card for a step to change, a copy where somebody else has it too; the tensor has none then.
    fn take_memory(&mut self) -> Memory {
        match Arc::get_mut(&mut self.held).and_then(Held::take_memory) {
            Some(memory) => memory,
            None => self.memory().copy(),
        }
    }

    /// The same with a tape.
    pub fn put_tape<T>(self, tape: T) -> Tensor<T> {
        let Tensor { id, held, shape, tape: Untaped } = self;
        Tensor { id, held, shape, tape }
    }
}

impl<T> Tensor<T> {
    /// Where its values are.
    pub fn device(&self) -> &Device {
        self.held.device()
    }

    /// The same without its tape: a result that is used twice hands its tape to one use.
    pub fn split_tape(self) -> (Tensor, T) {
        let Tensor { id, held, shape, tape } = self;
        (Tensor { id, held, shape, tape: Untaped }, tape)
    }

    /// The same with an empty tape.
    pub fn retaped<New: Default>(&self) -> Tensor<New> {
        Tensor { id: self.id, held: self.held.clone(), shape: self.shape, tape: New::default() }
    }

    /// Its values on the card. Prereq: that is where it is.
    fn memory(&self) -> &Memory {
        self.held.memory()
    }
}

/// A tensor from its values. Prereq: as many values as rows times columns.
pub fn tensor(device: &Device, values: Vec<f32>, rows: usize, columns: usize) -> Tensor {
    assert_eq!(values.len(), rows * columns, "values of a {rows} x {columns} tensor");
    Tensor::new(Held::new(device, values), (rows, columns))
}

/// Rows and columns.
pub fn shape<T>(tensor: &Tensor<T>) -> (usize, usize) {
    tensor.shape
}

/// The values, row after row: without a copy on the processor, fetched once from a card.
pub fn values<T>(tensor: &Tensor<T>) -> &[f32] {
    tensor.held.values()
}

#[cfg(test)]
mod tests {
    use super::{device, tensor, values};

    #[test]
    fn values_are_those_given() {
        let device = device();
        for (rows, columns) in [(2, 3), (1, 6), (6, 1), (0, 3), (1, 1)] {
            let given: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            assert_eq!(values(&tensor(&device, given.clone(), rows, columns)), given);
        }
    }

    #[test]
    #[should_panic(expected = "values of a 2 x 3 tensor")]
    fn too_few_values_are_refused() {
        tensor(&device(), vec![0.0; 5], 2, 3);
    }
}
