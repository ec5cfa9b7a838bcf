//! Tensors with gradients: dfdx's tape on top of our own operations and buffers.
//!
//! Every tensor is a matrix whose size is known at run time. A batch of cells is stacked by rows, one row per gene, and
//! a vector is a matrix of one row. One type therefore serves parameters, activations and gradients, and an operation
//! that needs to know where a cell ends takes that as an argument.
//!
//! dfdx alone is too slow on a CPU: only its matrix product is threaded. Here every operation is a folder under `ops`
//! with its formula, its kernels and its tests. Work is cut into pieces whose size does not depend on the number of
//! threads, so results do not depend on it either.
//!
//! An operation's GPU kernels are in its `cuda.rs`. Without any, it still works on a GPU: its inputs are copied to the
//! CPU and its result is copied back (`docs/gpu.md`).

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
/// No tape, for inference: nothing is recorded.
pub use dfdx::tensor::NoneTape as Untaped;
pub use gradients::Gradients;

use buffer::Held;
use card::Memory;
use panels::Panels;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records what is needed to compute gradients.
pub type Taped = dfdx::tensor::OwnedTape<f32, dfdx::tensor::Cpu>;
/// A single number on the CPU, the start of a backward pass.
pub type Scalar<T = Untaped> = dfdx::tensor::Tensor<(), f32, dfdx::tensor::Cpu, T>;

/// A row-major matrix of 32-bit floats; `T` says whether operations on it are recorded. Clones share values.
#[derive(Debug, Clone)]
pub struct Tensor<T = Untaped> {
    /// The key of its gradient.
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

    /// A tensor from memory on a card. Prereq: as many numbers as rows times columns.
    fn on_card(memory: Memory, shape: (usize, usize)) -> Tensor {
        assert_eq!(memory.length(), shape.0 * shape.1, "values of a {} x {} tensor", shape.0, shape.1);
        Tensor::new(Held::card(memory), shape)
    }

    /// The transposed matrix as a right factor on the CPU. Laid out only once, since values never change.
    fn turned(&self) -> &Panels {
        self.held.turned(self.shape)
    }

    /// Takes the memory on the card for an optimiser step to modify in place, leaving the tensor empty. A copy if the
    /// memory is shared.
    fn take_memory(&mut self) -> Memory {
        match Arc::get_mut(&mut self.held).and_then(Held::take_memory) {
            Some(memory) => memory,
            None => self.memory().copy(),
        }
    }

    /// The same tensor with this tape.
    pub fn put_tape<T>(self, tape: T) -> Tensor<T> {
        let Tensor { id, held, shape, tape: Untaped } = self;
        Tensor { id, held, shape, tape }
    }
}

impl<T> Tensor<T> {
    /// The device that holds its values.
    pub fn device(&self) -> &Device {
        self.held.device()
    }

    /// Separates the tensor from its tape. A result that is used twice hands its tape to only one of the uses.
    pub fn split_tape(self) -> (Tensor, T) {
        let Tensor { id, held, shape, tape } = self;
        (Tensor { id, held, shape, tape: Untaped }, tape)
    }

    /// The same tensor with an empty tape.
    pub fn retaped<New: Default>(&self) -> Tensor<New> {
        Tensor { id: self.id, held: self.held.clone(), shape: self.shape, tape: New::default() }
    }

    /// Its memory on the card. Prereq: the tensor is on a card.
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

/// The values in row-major order: borrowed on the CPU, downloaded once from a card.
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
