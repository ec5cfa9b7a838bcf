//! The kernels on the CPU, one thread after the other, so that their results can be tested without a GPU.
//!
//! The build script compiles the same sources as for a GPU, together with a table of kernels by name. Matrix products
//! follow the definition. Whether the driver accepts the calls, and how fast the kernels are, can only be checked on a
//! GPU (`scripts/gpu-check`).
#![expect(unsafe_code, reason = "the kernels are C, and memory of a card is an address")]

use super::{CardFault, Engine, Matrix, Raw, THREADS};
use crate::device::Precision;
use std::ffi::{CString, c_char, c_void};

/// The id of the emulated GPU.
pub const ID: u32 = u32::MAX;
/// The id of an emulated GPU whose warps have one lane: faster, and it tests everything except the exchange between
/// lanes.
pub const ID_OF_ONE_LANE: u32 = ID - 1;

unsafe extern "C" {
    /// Runs a kernel for each element in turn. Returns 1 for an unknown kernel, 2 for arguments of other types.
    fn emulate(
        name: *const c_char,
        elements: u64,
        warp: u32,
        kinds: *const c_char,
        pointers: *const *mut c_void,
    ) -> i32;
    /// The number of lanes per warp that can be emulated.
    fn emulated_lanes() -> u32;
    /// Allocates memory of the emulated card.
    fn emulated_allocate(bytes: u64) -> u64;
    fn emulated_free(address: u64);
}

/// A GPU emulated on the CPU.
#[derive(Debug)]
pub struct Emulator {
    warp: u32,
}

impl Emulator {
    /// The emulator with this id, if there is one.
    pub fn open(id: u32) -> Option<Emulator> {
        match id {
            // SAFETY: the function returns a constant.
            ID => Some(Emulator { warp: unsafe { emulated_lanes() } }),
            ID_OF_ONE_LANE => Some(Emulator { warp: 1 }),
            _ => None,
        }
    }
}

impl Engine for Emulator {
    fn warp(&self) -> usize {
        self.warp as usize
    }

    fn memory(&self) -> u64 {
        u64::MAX
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, CardFault> {
        // SAFETY: any size is allowed.
        let address = unsafe { emulated_allocate(bytes as u64) };
        Ok((address != 0).then_some(address))
    }

    fn free(&self, address: u64) {
        // SAFETY: `Card` frees each allocation once.
        unsafe { emulated_free(address) }
    }

    fn clear(&self, address: u64, bytes: usize) -> Result<(), CardFault> {
        // SAFETY: the allocation has at least this many bytes, and nothing else uses it meanwhile.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, bytes) };
        Ok(())
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), CardFault> {
        // SAFETY: both allocations have at least this many bytes.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    fn send(&self, to: u64, words: &[u32]) -> Result<(), CardFault> {
        // SAFETY: the allocation has at least this many words.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), to as *mut u32, words.len()) };
        Ok(())
    }

    fn fetch(&self, words: &mut [u32], from: u64) -> Result<(), CardFault> {
        // SAFETY: the allocation has at least this many words.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u32, words.as_mut_ptr(), words.len()) };
        Ok(())
    }

    fn launch(
        &self,
        kernel: &'static str,
        blocks: u32,
        of_rows: bool,
        kinds: &str,
        pointers: &mut [*mut c_void],
    ) -> Result<(), CardFault> {
        let name = CString::new(kernel).expect("names of kernels have no zero bytes");
        let letters = CString::new(kinds).expect("kinds are letters");
        let elements = u64::from(blocks) * THREADS as u64;
        // Element threads never exchange values with other lanes.
        let warp = if of_rows { self.warp } else { 1 };
        // SAFETY: the emulator checks the types against the kernel's signature, and there is one pointer per argument.
        match unsafe { emulate(name.as_ptr(), elements, warp, letters.as_ptr(), pointers.as_ptr()) } {
            0 => Ok(()),
            1 => panic!("no kernel is called `{kernel}`"),
            _ => panic!("the kernel `{kernel}` takes other arguments than `{kinds}`"),
        }
    }

    fn multiply(&self, product: &Raw) -> Result<(), CardFault> {
        let Raw { rows, columns, inner, keep, factor, batch, precision, out, left, right } = product;
        let lost = match precision {
            Precision::F32 => 0,
            Precision::Tf32 => 13,
            Precision::Bf16 => 16,
        };
        // The distances between rows and between columns.
        let strides = |matrix: &Matrix| if matrix.turned { (1, matrix.stride) } else { (matrix.stride, 1) };
        let (of_left, of_right) = (strides(left), strides(right));
        for number in 0..*batch {
            let start = |matrix: &Matrix| (matrix.address() as *mut f32).wrapping_add(number * matrix.step);
            let (to, left, right) = (start(out), start(left), start(right));
            for (row, column) in (0..*rows).flat_map(|row| (0..*columns).map(move |column| (row, column))) {
                let mut sum = 0.0;
                for i in 0..*inner {
                    let left = left.wrapping_add(row * of_left.0 + i * of_left.1);
                    let right = right.wrapping_add(i * of_right.0 + column * of_right.1);
                    // SAFETY: the matrices were checked to end inside their memories.
                    let factors = unsafe { [*left, *right] };
                    sum += f64::from(rounded(factors[0], lost)) * f64::from(rounded(factors[1], lost));
                }
                let (place, product) = (to.wrapping_add(row * out.stride + column), factor * sum as f32);
                // SAFETY: as above. The old value is read only if it is kept.
                unsafe { *place = if *keep == 0.0 { product } else { keep * *place + product } };
            }
        }
        Ok(())
    }
}

/// Rounds to nearest by dropping the last bits, as tensor cores do with their inputs.
fn rounded(value: f32, lost: u32) -> f32 {
    if lost == 0 || !value.is_finite() {
        return value;
    }
    let bits = value.to_bits();
    let half = (1 << (lost - 1)) - 1 + (bits >> lost & 1);
    f32::from_bits(bits.wrapping_add(half) >> lost << lost)
}
