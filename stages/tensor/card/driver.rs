//! A GPU through NVIDIA's driver and cuBLAS. Both are loaded on first use, so the program starts without them.
#![expect(unsafe_code, reason = "the driver takes addresses and pointers")]

use super::{CardFault, Engine, Matrix, Raw, THREADS};
use crate::device::Precision;
use contract::gpu::{self, Gpu};
use cudarc::cublas::{result as cublas, sys as cublas_sys};
use cudarc::driver::sys::{self, CUdevice_attribute, CUresult};
use cudarc::driver::{DriverError, result};
use std::collections::HashMap;
use std::ffi::{CString, c_int, c_longlong, c_void};
use std::sync::{Mutex, PoisonError};

/// The compiled kernels: machine code for the supported architectures, and PTX for later ones. Made by the build
/// script.
static KERNELS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin")));
/// Aligned because the driver reads the image's headers in place.
#[repr(align(16))]
struct Aligned<T: ?Sized>(T);

/// The oldest compute capability that the kernels are compiled for.
const OLDEST: (i32, i32) = (8, 0);

/// Lists the GPUs that the kernels can run on, or says why there are none.
pub fn find() -> Result<Vec<Gpu>, CardFault> {
    if cfg!(feature = "ci-check") {
        return Err(other(super::WITHOUT_CUDA));
    }
    // SAFETY: loading a library runs its initialisation code; these two are NVIDIA's own.
    let [driver, blas] = unsafe { [sys::is_culib_present(), cublas_sys::is_culib_present()] };
    if !driver {
        return Err(other("no NVIDIA driver is installed (libcuda.so.1 is not found)"));
    }
    if !blas {
        return Err(other("cuBLAS is not found; put the folder of libcublas.so into LD_LIBRARY_PATH"));
    }
    result::init().map_err(|error| refused("starting", error))?;
    let count = result::device::get_count().map_err(|error| refused("counting GPUs", error))?;
    let visible = gpu::visible();
    let (mut found, mut old) = (Vec::new(), Vec::new());
    for ordinal in 0..count {
        let id =
            visible.as_ref().and_then(|ids| ids.get(ordinal as usize)).copied().unwrap_or(ordinal as u32);
        let asked = |error| refused(&format!("asking GPU {id}"), error);
        let device = result::device::get(ordinal).map_err(asked)?;
        let name = result::device::get_name(device).map_err(asked)?;
        // SAFETY: the driver has just returned this device.
        let of = |which| unsafe { result::device::get_attribute(device, which) }.map_err(asked);
        let capability = (
            of(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            of(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        if capability < OLDEST {
            old.push(format!("{id} ({name}) has {}.{}", capability.0, capability.1));
            continue;
        }
        // SAFETY: as above.
        let memory = unsafe { result::device::total_mem(device) }.map_err(asked)? as u64;
        let uuid = result::device::get_uuid(device).map_err(asked)?;
        let identity = uuid.bytes.iter().map(|byte| format!("{:02x}", *byte as u8)).collect();
        found.push(Gpu { id, name, memory, capability, identity });
    }
    match (found.is_empty(), old.is_empty()) {
        (false, _) => Ok(found),
        (true, true) => Err(other("the NVIDIA driver knows no GPU")),
        (true, false) => Err(other(&format!(
            "no GPU of compute capability {}.{} or newer is there: {}",
            OLDEST.0,
            OLDEST.1,
            old.join(", ")
        ))),
    }
}

/// The driver's ordinal of the GPU with this id.
fn ordinal(id: u32) -> c_int {
    let place = gpu::visible().and_then(|ids| ids.iter().position(|of| *of == id));
    place.map_or(id as c_int, |place| place as c_int)
}

/// An opened GPU.
pub struct Driver {
    name: String,
    context: sys::CUcontext,
    device: sys::CUdevice,
    stream: sys::CUstream,
    blas: cublas_sys::cublasHandle_t,
    module: sys::CUmodule,
    functions: Mutex<HashMap<&'static str, Function>>,
    memory: u64,
}

#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: driver handles may be used from any thread that has made the context current, which every method does. cuBLAS
// handles may be used by one thread at a time, and a stage runs its operations one after the other.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}
// SAFETY: as above.
unsafe impl Send for Function {}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Driver").field(&self.name).finish()
    }
}

impl Driver {
    /// The GPU with this id.
    pub fn open(id: u32) -> Result<Driver, CardFault> {
        let found = find()?;
        let Some(gpu) = found.iter().find(|gpu| gpu.id == id) else {
            let ids: Vec<u32> = found.iter().map(|gpu| gpu.id).collect();
            return Err(other(&format!("GPU {id} cannot be used: the driver offers {ids:?}")));
        };
        let (name, opening) = (gpu.name.clone(), format!("opening GPU {id} ({})", gpu.name));
        let device = result::device::get(ordinal(id)).map_err(|error| refused(&opening, error))?;
        // SAFETY: the device comes from the driver; everything created here is released on drop.
        unsafe {
            let context = result::primary_ctx::retain(device).map_err(|error| refused(&opening, error))?;
            result::ctx::set_current(context).map_err(|error| refused(&opening, error))?;
            let stream = result::stream::create(result::stream::StreamKind::NonBlocking)
                .map_err(|error| refused(&opening, error))?;
            let module = result::module::load_data(KERNELS.0.as_ptr().cast())
                .map_err(|error| refused(&format!("loading the kernels, {opening}"), error))?;
            let blas = cublas::create_handle().map_err(|error| cublas_refused("starting", error))?;
            cublas::set_stream(blas, stream.cast()).map_err(|error| cublas_refused("a stream", error))?;
            let functions = Mutex::default();
            Ok(Driver { name, context, device, stream, blas, module, functions, memory: gpu.memory })
        }
    }

    /// Makes the context current on the calling thread.
    fn enter(&self) -> Result<(), CardFault> {
        // SAFETY: the context lives as long as this does.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| refused("using the GPU", error))
    }

    fn function(&self, kernel: &'static str) -> Result<sys::CUfunction, CardFault> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Function(found)) = functions.get(kernel) {
            return Ok(*found);
        }
        let name = CString::new(kernel).expect("names of kernels have no zero bytes");
        // SAFETY: the module lives as long as this does.
        let found = unsafe { result::module::get_function(self.module, name) }
            .map_err(|error| refused(&format!("finding the kernel `{kernel}`"), error))?;
        functions.insert(kernel, Function(found));
        Ok(found)
    }
}

impl Engine for Driver {
    fn warp(&self) -> usize {
        32
    }

    fn memory(&self) -> u64 {
        self.memory
    }

    fn allocate(&self, bytes: usize) -> Result<Option<u64>, CardFault> {
        self.enter()?;
        // SAFETY: the context is current.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(address) => Ok(Some(address)),
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Ok(None),
            Err(error) => Err(refused("asking for memory", error)),
        }
    }

    fn free(&self, address: u64) {
        // SAFETY: `Card` frees each allocation once, and the driver waits for work that uses it. Errors are ignored:
        // they were caused by earlier work, whose own calls report them.
        let _ = self.enter().map(|()| unsafe { result::free_sync(address) });
    }

    fn clear(&self, address: u64, bytes: usize) -> Result<(), CardFault> {
        self.enter()?;
        // SAFETY: the allocation has at least this many bytes.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream) }
            .map_err(|error| refused("clearing memory", error))
    }

    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), CardFault> {
        self.enter()?;
        // SAFETY: both allocations have at least this many bytes.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) }
            .map_err(|error| refused("copying memory", error))
    }

    fn send(&self, to: u64, words: &[u32]) -> Result<(), CardFault> {
        self.enter()?;
        // SAFETY: the allocation has at least this many words. The source is pageable memory, which the driver has
        // copied by the time it returns.
        unsafe { result::memcpy_htod_async(to, words, self.stream) }
            .map_err(|error| refused("sending to the GPU", error))
    }

    fn fetch(&self, words: &mut [u32], from: u64) -> Result<(), CardFault> {
        self.enter()?;
        // SAFETY: the allocation has at least this many words. They are valid once the stream has been synchronised.
        unsafe {
            result::memcpy_dtoh_async(words, from, self.stream)
                .and_then(|()| result::stream::synchronize(self.stream))
        }
        .map_err(|error| refused("fetching from the GPU", error))
    }

    fn launch(
        &self,
        kernel: &'static str,
        blocks: u32,
        _of_rows: bool,
        _kinds: &str,
        pointers: &mut [*mut c_void],
    ) -> Result<(), CardFault> {
        self.enter()?;
        let function = self.function(kernel)?;
        let (grid, block) = ((blocks, 1, 1), (THREADS as u32, 1, 1));
        // SAFETY: the tests on the emulator check the arguments against the kernel's signature.
        unsafe { result::launch_kernel(function, grid, block, 0, self.stream, pointers) }
            .map_err(|error| refused(&format!("launching the kernel `{kernel}`"), error))
    }

    fn multiply(&self, product: &Raw) -> Result<(), CardFault> {
        use cublas_sys::cublasComputeType_t as Compute;
        use cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DFALT;
        use cublas_sys::cudaDataType_t::CUDA_R_32F;
        self.enter()?;
        let Raw { rows, columns, inner, keep, factor, batch, precision, out, left, right } = product;
        let compute = match precision {
            Precision::F32 => Compute::CUBLAS_COMPUTE_32F,
            Precision::Tf32 => Compute::CUBLAS_COMPUTE_32F_FAST_TF32,
            Precision::Bf16 => Compute::CUBLAS_COMPUTE_32F_FAST_16BF,
        };
        let size = |count: usize| {
            c_int::try_from(count)
                .map_err(|_| other("a matrix has more than 2^31 rows or columns; lower the batch"))
        };
        // cuBLAS is column-major: it sees each of our matrices transposed, so the factors are swapped.
        // SAFETY: the matrices were checked to end inside their allocations, and the handle is bound to this stream.
        unsafe {
            cublas::gemm_strided_batched_ex(
                self.blas,
                operation(right),
                operation(left),
                size(*columns)?,
                size(*rows)?,
                size(*inner)?,
                std::ptr::from_ref(factor).cast(),
                right.address() as *const c_void,
                CUDA_R_32F,
                size(right.stride)?,
                right.step as c_longlong,
                left.address() as *const c_void,
                CUDA_R_32F,
                size(left.stride)?,
                left.step as c_longlong,
                std::ptr::from_ref(keep).cast(),
                out.address() as *mut c_void,
                CUDA_R_32F,
                size(out.stride)?,
                out.step as c_longlong,
                size(*batch)?,
                compute,
                CUBLAS_GEMM_DFALT,
            )
        }
        .map_err(|error| cublas_refused("a product", error))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: `open` created all of these and nothing else uses them. Errors are ignored because drop cannot report
        // them.
        unsafe {
            let _ = result::ctx::set_current(self.context);
            let _ = result::stream::synchronize(self.stream);
            let _ = cublas::destroy_handle(self.blas);
            let _ = result::module::unload(self.module);
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

fn operation(matrix: &Matrix) -> cublas_sys::cublasOperation_t {
    match matrix.turned {
        true => cublas_sys::cublasOperation_t::CUBLAS_OP_T,
        false => cublas_sys::cublasOperation_t::CUBLAS_OP_N,
    }
}

fn other(text: &str) -> CardFault {
    CardFault::Other(text.to_owned())
}

fn refused(doing: &str, error: DriverError) -> CardFault {
    other(&format!("{doing}: the GPU's driver says {}", said(error)))
}

fn cublas_refused(what: &str, error: cublas::CublasError) -> CardFault {
    other(&format!("cuBLAS refused {what}: {error:?}"))
}

/// The driver's description of an error.
fn said(error: DriverError) -> String {
    let text = error.error_string().ok().map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|| format!("{:?}", error.0))
}
