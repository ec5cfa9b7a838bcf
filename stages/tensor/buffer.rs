//! Buffer reuse: a buffer freed in one training step is handed out again in the next.
//!
//! A fresh buffer of megabytes costs a page fault every 4 KiB, more than most kernels that fill it.

use super::Device;
use super::card::Memory;
use super::matrix::View;
use super::panels::Panels;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Freed CPU buffers, keyed by exact length, so reuse depends on shapes staying fixed.
#[derive(Debug, Default)]
pub struct Pool(Mutex<HashMap<usize, Vec<Vec<f32>>>>);

impl Pool {
    fn free(&self) -> MutexGuard<'_, HashMap<usize, Vec<Vec<f32>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, length: usize) -> Option<Vec<f32>> {
        self.free().get_mut(&length)?.pop()
    }

    fn put(&self, buffer: Vec<f32>) {
        if !buffer.is_empty() {
            self.free().entry(buffer.len()).or_default().push(buffer);
        }
    }
}

/// The values of a tensor. The buffer returns to its device when the last handle is dropped.
#[derive(Debug)]
pub struct Held {
    device: Device,
    /// The values in CPU memory. For a tensor on a card, they are downloaded on first access.
    host: OnceLock<Vec<f32>>,
    card: Option<Memory>,
    /// The transposed matrix laid out as a right factor, built on first use.
    turned: OnceLock<Panels>,
}

impl Held {
    /// Uploads the values if the device is a card.
    pub fn new(device: &Device, values: Vec<f32>) -> Held {
        let card = device.card().map(|card| card.upload(&values));
        Held { device: device.clone(), host: OnceLock::from(values), card, turned: OnceLock::new() }
    }

    /// Wraps values that are already on a card.
    pub fn card(memory: Memory) -> Held {
        let device = Device::Cuda(memory.card().clone());
        Held { device, host: OnceLock::new(), card: Some(memory), turned: OnceLock::new() }
    }

    /// The device that holds the values.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All values, in CPU memory.
    pub fn values(&self) -> &[f32] {
        self.host.get_or_init(|| self.memory().download())
    }

    /// The transpose of the matrix of this size, laid out as a right factor.
    pub fn turned(&self, (rows, columns): (usize, usize)) -> &Panels {
        if self.turned.get().is_none() {
            let view = View::new(self.values(), rows, columns).transposed();
            // No lock is held here: while waiting for other threads, this one may steal a task that calls this function
            // too.
            if let Err(late) = self.turned.set(Panels::new_parallel(&self.device, view)) {
                late.recycle(&self.device);
            }
        }
        self.turned.get().expect("it was just set")
    }

    /// All values, in the card's memory.
    pub fn memory(&self) -> &Memory {
        self.card.as_ref().expect("an operation of a card is given tensors of the card")
    }

    /// Takes the card's memory out, if there is any.
    pub fn take_memory(&mut self) -> Option<Memory> {
        self.card.take()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Device::Cpu(pool), Some(values)) = (&self.device, self.host.take()) {
            pool.put(values);
        }
        if let Some(panels) = self.turned.take() {
            panels.recycle(&self.device);
        }
    }
}

/// A zeroed buffer, reusing a freed one of this length if there is one.
pub fn zeros(device: &Device, length: usize) -> Vec<f32> {
    let Device::Cpu(pool) = device else { return vec![0.0; length] };
    match pool.take(length) {
        Some(mut buffer) => {
            buffer.fill(0.0);
            buffer
        }
        None => vec![0.0; length],
    }
}

/// A buffer with unspecified contents, for callers that overwrite all of it.
pub fn scratch(device: &Device, length: usize) -> Vec<f32> {
    let Device::Cpu(pool) = device else { return vec![0.0; length] };
    pool.take(length).unwrap_or_else(|| vec![0.0; length])
}

/// Frees a buffer for the next caller that needs this length.
pub fn recycle(device: &Device, buffer: Vec<f32>) {
    if let Device::Cpu(pool) = device {
        pool.put(buffer);
    }
}

/// A copy, in a reused buffer of this length if there is one.
pub fn copy(device: &Device, values: &[f32]) -> Vec<f32> {
    let Device::Cpu(pool) = device else { return values.to_vec() };
    match pool.take(values.len()) {
        Some(mut buffer) => {
            buffer.copy_from_slice(values);
            buffer
        }
        None => values.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::{recycle, zeros};
    use crate::{Device, tensor};
    use rayon::prelude::*;

    #[test]
    fn many_threads_may_ask_at_once() {
        let device = Device::cpu();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().expect("a pool");
        pool.install(|| {
            (0..200_000).into_par_iter().for_each(|_| recycle(&device, zeros(&device, 4)));
        });
    }

    #[test]
    fn a_recycled_buffer_comes_back_as_zeros() {
        let device = Device::cpu();
        let mut first = zeros(&device, 1000);
        first.fill(3.0);
        let address = first.as_ptr();
        recycle(&device, first);
        let second = zeros(&device, 1000);
        assert_eq!(second.as_ptr(), address);
        assert!(second.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn the_values_of_a_tensor_come_back_with_its_last_handle() {
        let device = Device::cpu();
        let values = vec![1.0; 1000];
        let address = values.as_ptr();
        let first = tensor(&device, values, 10, 100);
        let second = first.clone();
        drop(first);
        let other = zeros(&device, 1000);
        assert_ne!(other.as_ptr(), address);
        drop(second);
        let again = zeros(&device, 1000);
        assert_eq!(again.as_ptr(), address);
    }
}
