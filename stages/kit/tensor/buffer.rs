//! Memory that goes round: what one step frees the next one takes.
//!
//! A fresh buffer of megabytes costs a page fault every 4 KiB, more than most kernels that fill it.

use super::Device;
use dfdx::tensor::{Storage, TensorFromVec};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// dfdx finds a freed buffer under one lock and takes it under another, and panics where a second thread was faster.
/// Kernels ask from many threads, so here they come one by one; dfdx itself asks only between kernels.
static TURN: Mutex<()> = Mutex::new(());

fn wait_for_turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Zeros, in a buffer that was freed earlier if one has this length.
pub fn zeros(device: &Device, length: usize) -> Vec<f32> {
    let _turn = wait_for_turn();
    let mut held = Storage::<f32>::try_alloc_len(device, length).expect("dfdx allocates or aborts");
    let taken = std::mem::take(&mut *held);
    // Dropping what is left would put a buffer of no bytes into the cache at every call.
    std::mem::forget(held);
    taken
}

/// Gives a buffer to whoever asks for this length next.
pub fn recycle(device: &Device, buffer: Vec<f32>) {
    let length = buffer.len();
    let _turn = wait_for_turn();
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
    use rayon::prelude::*;

    #[test]
    fn many_threads_may_ask_at_once() {
        let device = crate::kit::tensor::device();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().expect("a pool");
        pool.install(|| {
            (0..200_000).into_par_iter().for_each(|_| recycle(&device, zeros(&device, 4)));
        });
    }

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
