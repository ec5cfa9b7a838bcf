//! Tensors with gradients: dfdx's tape and buffers below operations of our own.
//!
//! Everything is a matrix whose size is known at run time: a batch of cells lies gene below gene and cell below
//! cell, a vector is a matrix of one row. So one type serves parameters, activations and gradients, and an
//! operation that needs to know where a cell ends is told so.
//!
//! dfdx alone is too slow on a CPU: only its matrix product is threaded. Here every operation is a folder below
//! `ops` with its formula, its kernels and its tests. Work is cut into pieces whose size does not depend on the
//! number of threads, so neither does any result.

pub mod buffer;
pub mod gemm;
pub mod gradients;
pub mod matrix;
pub mod ops;
mod reduce;
pub mod simd;
mod sparse;
pub mod tape;
#[cfg(test)]
pub mod testing;

use dfdx::shapes::HasShape;
use dfdx::tensor::{Cache, Cpu, TensorFromVec};

/// What computes. Clones share memory.
pub type Device = Cpu;
/// Where gradients are added up, by tensor.
pub type Gradients = dfdx::tensor::Gradients<f32, Device>;
/// Nothing is recorded: inference.
pub use dfdx::tensor::NoneTape as Untaped;
/// Records what is needed for gradients.
pub type Taped = dfdx::tensor::OwnedTape<f32, Device>;
/// Rows by columns, row after row, 32 bits; `T` says whether operations on it are recorded.
pub type Tensor<T = Untaped> = dfdx::tensor::Tensor<(usize, usize), f32, Device, T>;
/// A single number, from which gradients flow back.
pub type Scalar<T = Untaped> = dfdx::tensor::Tensor<(), f32, Device, T>;

/// A device that keeps freed buffers for the next step, by exact size: keep shapes fixed.
pub fn device() -> Device {
    let device = Device::default();
    device.enable_cache();
    device
}

/// A tensor from its values. Prereq: as many values as rows times columns.
pub fn tensor(device: &Device, values: Vec<f32>, rows: usize, columns: usize) -> Tensor {
    assert_eq!(values.len(), rows * columns, "values of a {rows} x {columns} tensor");
    device.tensor_from_vec(values, (rows, columns))
}

/// Rows and columns.
pub fn shape<T>(tensor: &Tensor<T>) -> (usize, usize) {
    *tensor.shape()
}

/// The values, row after row, without a copy.
///
/// Panics where the tensor was permuted or broadcast by dfdx: its storage is then not what its shape says.
#[expect(
    unsafe_code,
    reason = "dfdx lends single elements only, and a copy would cost a pass over the tensor"
)]
pub fn values<T>(tensor: &Tensor<T>) -> &[f32] {
    let (rows, columns) = shape(tensor);
    if rows * columns == 0 {
        return &[];
    }
    let first: *const f32 = &tensor[[0, 0]];
    let offset = |row: usize, column: usize| {
        (std::ptr::from_ref(&tensor[[row, column]]).addr() - first.addr()) / size_of::<f32>()
    };
    let in_order = (rows == 1 || offset(1, 0) == columns) && (columns == 1 || offset(0, 1) == 1);
    assert!(in_order, "a permuted or broadcast tensor has no values in order");
    // SAFETY: both strides are those of a dense matrix, so elements 0..rows * columns lie side by side; indexing
    // has checked that the last of them is inside the tensor's one buffer, which lives as long as the borrow.
    unsafe { std::slice::from_raw_parts(first, offset(rows - 1, columns - 1) + 1) }
}

#[cfg(test)]
mod tests {
    use super::{device, tensor, values};
    use dfdx::shapes::Axes2;
    use dfdx::tensor_ops::PermuteTo;

    #[test]
    fn values_are_those_given() {
        let device = device();
        for (rows, columns) in [(2, 3), (1, 6), (6, 1), (0, 3), (1, 1)] {
            let given: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
            assert_eq!(values(&tensor(&device, given.clone(), rows, columns)), given);
        }
    }

    #[test]
    #[should_panic(expected = "permuted")]
    fn a_permuted_tensor_is_refused() {
        let tensor = tensor(&device(), vec![0.0; 6], 2, 3);
        values(&PermuteTo::permute::<(usize, usize), Axes2<1, 0>>(tensor));
    }
}
