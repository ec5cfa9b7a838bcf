//! Memory that goes round: what one step frees the next one takes.
//!
//! A fresh buffer of megabytes costs a page fault every 4 KiB, more than most kernels that fill it.

use super::Device;
use dfdx::tensor::{Storage, TensorFromVec};

/// Zeros, in a buffer that was freed earlier if one has this length.
pub fn zeros(device: &Device, length: usize) -> Vec<f32> {
    let mut held = Storage::<f32>::try_alloc_len(device, length).expect("dfdx allocates or aborts");
    let taken = std::mem::take(&mut *held);
    // Dropping what is left would put a buffer of no bytes into the cache at every call.
    std::mem::forget(held);
    taken
}

/// Gives a buffer to whoever asks for this length next.
pub fn recycle(device: &Device, buffer: Vec<f32>) {
    let length = buffer.len();
    drop(device.tensor_from_vec(buffer, (length,)));
}

/// A copy in a buffer that was freed earlier if one has this length.
pub fn copy(device: &Device, values: &[f32]) -> Vec<f32> {
    let mut copied = zeros(device, values.len());
    copied.copy_from_slice(values);
    copied
}

#[cfg(test)]
mod tests {
    use super::{recycle, zeros};

    #[test]
    fn a_recycled_buffer_comes_back_as_zeros() {
        let device = crate::kit::tensor::device();
        let mut first = zeros(&device, 1000);
        first.fill(3.0);
        let address = first.as_ptr();
        recycle(&device, first);
        let second = zeros(&device, 1000);
        assert_eq!(second.as_ptr(), address);
        assert!(second.iter().all(|value| *value == 0.0));
    }
}
