//! Memory that goes round: what one step frees the next one takes.
//!
//! A fresh buffer of megabytes costs a page fault every 4 KiB, more than most kernels that fill it.

use super::Device;
use super::card::Memory;
use super::matrix::View;
use super::panels::Panels;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Freed buffers of the processor, by exact length: keep shapes fixed.
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

/// The values of a tensor, given back to their device with the last handle on them.
#[derive(Debug)]
pub struct Held {
    device: Device,
    /// Values on the processor; of a card, those that somebody has looked at.
    host: OnceLock<Vec<f32>>,
    card: Option<Memory>,
    /// The transposed matrix as a right factor, once somebody has asked for it.
    turned: OnceLock<Panels>,
}

impl Held {
    /// Values that go to the device.
    pub fn new(device: &Device, values: Vec<f32>) -> Held {
        let card = device.card().map(|card| card.upload(&values));
        Held { device: device.clone(), host: OnceLock::from(values), card, turned: OnceLock::new() }
    }

    /// Values that are on a card.
    pub fn card(memory: Memory) -> Held {
        let device = Device::Cuda(memory.card().clone());
        Held { device, host: OnceLock::new(), card: Some(memory), turned: OnceLock::new() }
    }

    /// Where they are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// All of them, on the processor.
    pub fn values(&self) -> &[f32] {
        self.host.get_or_init(|| self.memory().download())
    }

    /// What multiplies from the right with the transposed matrix of so many rows and columns.
    pub fn turned(&self, (rows, columns): (usize, usize)) -> &Panels {
        if self.turned.get().is_none() {
            let view = View::new(self.values(), rows, columns).transposed();
            // Not under a lock: a thread that waits for others may be given work that asks for the same.
            if let Err(late) = self.turned.set(Panels::new_parallel(&self.device, view)) {
                late.recycle(&self.device);
            }
        }
        self.turned.get().expect("it was just set")
    }

    /// All of them, on the card.
    pub fn memory(&self) -> &Memory {
        self.card.as_ref().expect("an operation of a card is given tensors of the card")
    }

    /// Takes those on a card out.
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

/// Zeros, in a buffer that was freed earlier if one has this length.
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

/// Whatever stands in a buffer that was freed earlier, or zeros: for what is written whole.
pub fn scratch(device: &Device, length: usize) -> Vec<f32> {
    let Device::Cpu(pool) = device else { return vec![0.0; length] };
    pool.take(length).unwrap_or_else(|| vec![0.0; length])
}

/// Gives a buffer to whoever asks for this length next.
pub fn recycle(device: &Device, buffer: Vec<f32>) {
    if let Device::Cpu(pool) = device {
        pool.put(buffer);
    }
}

/// A copy in a buffer that was freed earlier if one has this length.
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
