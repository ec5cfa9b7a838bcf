//! The kernels on the processor, one thread after the other: what they compute is tested where there is no GPU.
//!
//! A build script compiles the same sources as for a card, and a table of them by name. Products are made by the
//! definition. That warps of 32 agree and that a driver takes what it is given is left to a GPU (`scripts/gpu-check`).
#![expect(unsafe_code, reason = "the kernels are C, and memory of a card is an address")]

use super::{Engine, Fault, Matrix, Raw, THREADS};
use crate::kit::tensor::device::Precision;
use std::ffi::{CString, c_char, c_void};

/// The number of the emulated GPU.
pub const ID: u32 = u32::MAX;

unsafe extern "C" {
    /// Runs a kernel for each element in turn; 1 where no kernel has the name, 2 where it takes other arguments.
    fn emulate(name: *const c_char, elements: u64, kinds: *const c_char, pointers: *const *mut c_void)
    -> i32;
    /// Memory of the emulated card.
    fn emulated_allocate(bytes: u64) -> u64;
    fn emulated_free(address: u64);
}

/// A card that is none.
#[derive(Debug)]
pub struct Emulator;

impl Engine for Emulator {
    fn warp(&self) -> usize {
        1
    }

    fn memory(&self) -> u64 {
        u64::MAX
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, Fault> {
        // SAFETY: any number of bytes may be asked for.
        let address = unsafe { emulated_allocate(bytes as u64) };
        Ok((address != 0).then_some(address))
    }

    fn free(&self, address: u64) {
        // SAFETY: a card frees what it has allocated, once.
        unsafe { emulated_free(address) }
    }

    fn clear(&self, address: u64, bytes: usize) -> Result<(), Fault> {
        // SAFETY: a memory of at least so many bytes, which nobody else uses meanwhile.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, bytes) };
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Fault> {
        // SAFETY: two memories of at least so many bytes.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn send(&self, to: u64, words: &[u32]) -> Result<(), Fault> {
        // SAFETY: a memory of at least so many words.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), to as *mut u32, words.len()) };
        Ok(())
    }

    fn fetch(&self, words: &mut [u32], from: u64) -> Result<(), Fault> {
        // SAFETY: a memory of at least so many words.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u32, words.as_mut_ptr(), words.len()) };
        Ok(())
    }

    fn launch(
        &self,
        kernel: &'static str,
        blocks: u32,
        kinds: &str,
        pointers: &mut [*mut c_void],
    ) -> Result<(), Fault> {
        let name = CString::new(kernel).expect("names of kernels have no zero bytes");
        let letters = CString::new(kinds).expect("kinds are letters");
        let elements = u64::from(blocks) * THREADS as u64;
        // SAFETY: the kinds are compared with the kernel's own, and there is a pointer to each argument.
        match unsafe { emulate(name.as_ptr(), elements, letters.as_ptr(), pointers.as_ptr()) } {
            0 => Ok(()),
            1 => panic!("no kernel is called `{kernel}`"),
            _ => panic!("the kernel `{kernel}` takes other arguments than `{kinds}`"),
        }
    }

    fn multiply(&self, product: &Raw) -> Result<(), Fault> {
        let Raw { rows, columns, inner, keep, factor, batch, precision, out, left, right } = product;
        let lost = match precision {
            Precision::F32 => 0,
            Precision::Tf32 => 13,
            Precision::Bf16 => 16,
        };
        let at = |matrix: &Matrix, number: usize, row: usize, column: usize| -> *mut f32 {
            let (row, column) = if matrix.turned { (column, row) } else { (row, column) };
            let place = number * matrix.step + row * matrix.stride + column;
            (matrix.address() as *mut f32).wrapping_add(place)
        };
        for number in 0..*batch {
            for row in 0..*rows {
                for column in 0..*columns {
                    // SAFETY: the matrices were checked to end inside their memories.
                    let sum: f64 = (0..*inner)
                        .map(|i| unsafe {
                            let factors = [*at(left, number, row, i), *at(right, number, i, column)];
                            factors.map(|value| f64::from(rounded(value, lost))).iter().product::<f64>()
                        })
                        .sum();
                    let place = at(out, number, row, column);
                    let product = factor * sum as f32;
                    // SAFETY: as above; what is there counts only where it is kept.
                    unsafe { *place = if *keep == 0.0 { product } else { keep * *place + product } };
                }
            }
        }
        Ok(())
    }
}

/// A number without its last bits, to the nearest, as tensor cores take it.
fn rounded(value: f32, lost: u32) -> f32 {
    if lost == 0 || !value.is_finite() {
        return value;
    }
    let bits = value.to_bits();
    let half = (1 << (lost - 1)) - 1 + (bits >> lost & 1);
    f32::from_bits(bits.wrapping_add(half) >> lost << lost)
}
