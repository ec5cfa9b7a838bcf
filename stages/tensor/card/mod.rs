//! A GPU: its memory, its kernels and its matrix products.
//!
//! The operations know nothing else of CUDA. This module is always compiled, so that a build without CUDA still checks
//! it. Execution is up to an engine, each behind a feature: `cuda` uses the driver, `emulator` runs the same kernels on
//! the CPU for tests. Without either feature there is no engine, hence no card, and the compiler removes the code that
//! depends on one.
//!
//! A kernel computes one element per thread, or one row per warp; there is no other synchronisation. Sums over many
//! rows are made in pieces of fixed size that are then added in order, so results are the same in every run.

mod argument;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "emulator")]
mod emulator;
pub mod kernels;
pub mod lists;
mod product;

pub use argument::Argument;
pub(super) use argument::arguments;
pub use product::{Matrix, Product};

use super::device::Precision;
use contract::gpu::Gpu;
use contract::stage::Refusal;
use product::Raw;
use std::collections::HashMap;
use std::ffi::c_void;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Threads per block.
const THREADS: usize = 256;
/// Bytes per word; floats and integers are both this size.
const WORD: usize = 4;

/// Why a card cannot do the work.
#[derive(Debug)]
pub enum CardFault {
    /// Out of memory.
    Memory {
        /// The stage's peak usage, in bytes.
        held: u64,
        /// The size of the failed allocation.
        asked: u64,
        /// The card's total memory.
        all: u64,
    },
    /// Any other error, as one sentence.
    Other(String),
}

impl CardFault {
    /// The stage's error message; `lower` names the param that determines memory use.
    pub fn refusal(self, lower: &str) -> Refusal {
        const GIB: f64 = (1u64 << 30) as f64;
        let gib = |bytes: u64| bytes as f64 / GIB;
        Refusal(match self {
            CardFault::Other(text) => text,
            CardFault::Memory { held, asked, all } => format!(
                "the GPU is out of memory: the stage held {:.2} GiB at its peak and asked for {:.2} more, of {:.2}; \
                 lower `{lower}`, or give --device cpu",
                gib(held),
                gib(asked),
                gib(all)
            ),
        })
    }
}

/// Executes kernels. All operations run in the order in which they were issued.
trait Engine: std::fmt::Debug + Send + Sync {
    /// Threads per warp.
    fn warp(&self) -> usize;
    /// Its memory in bytes.
    fn memory(&self) -> u64;
    /// Allocates memory; `None` if there is not enough.
    fn allocate(&self, bytes: usize) -> Result<Option<u64>, CardFault>;
    /// Frees an allocation.
    fn free(&self, address: u64);
    /// Sets memory to zero.
    fn clear(&self, address: u64, bytes: usize) -> Result<(), CardFault>;
    /// Copies within the card's memory.
    fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), CardFault>;
    /// Copies from the CPU to the card.
    fn send(&self, to: u64, words: &[u32]) -> Result<(), CardFault>;
    /// Copies from the card to the CPU, after all work issued before.
    fn fetch(&self, words: &mut [u32], from: u64) -> Result<(), CardFault>;
    /// Launches a kernel on this many blocks, with one warp per row or one thread per element. `pointers` point to the
    /// arguments, and `kinds` has a letter for the type of each.
    fn launch(
        &self,
        kernel: &'static str,
        blocks: u32,
        of_rows: bool,
        kinds: &str,
        pointers: &mut [*mut c_void],
    ) -> Result<(), CardFault>;
    /// out = keep · out + factor · left · right, for each matrix of the batch.
    fn multiply(&self, product: &Raw) -> Result<(), CardFault>;
}

/// The available engines. An enum, because without features it must have no variants.
#[derive(Debug)]
enum Engines {
    #[cfg(feature = "cuda")]
    Driver(driver::Driver),
    #[cfg(feature = "emulator")]
    Emulator(emulator::Emulator),
}

/// The GPUs that this program can compute on (at least one), or one sentence that says why there are none. Queries the
/// driver only once.
pub fn gpus() -> &'static Result<Vec<Gpu>, String> {
    static FOUND: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
    FOUND.get_or_init(find)
}

fn find() -> Result<Vec<Gpu>, String> {
    #[cfg(feature = "cuda")]
    return driver::find().map_err(|fault| fault.refusal("").0);
    #[cfg(not(feature = "cuda"))]
    Err(WITHOUT_CUDA.to_owned())
}

/// The message of a build without kernels.
const WITHOUT_CUDA: &str =
    "this program was built without CUDA (`cargo build --release --features cuda` builds it with)";

/// A GPU opened by a stage; clones share it.
#[derive(Debug, Clone)]
pub struct Card(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engines,
    precision: Precision,
    store: Mutex<Store>,
}

/// Freed allocations, by exact size, for reuse.
#[derive(Debug, Default)]
struct Store {
    free: HashMap<usize, Vec<u64>>,
    /// Bytes in use, and their peak.
    used: u64,
    peak: u64,
}

impl Card {
    /// The GPU with this id.
    pub fn open(id: u32, precision: Precision) -> Result<Card, CardFault> {
        #[cfg(feature = "emulator")]
        if let Some(emulator) = emulator::Emulator::open(id) {
            return Ok(Card::of(Engines::Emulator(emulator), precision));
        }
        #[cfg(feature = "cuda")]
        return Ok(Card::of(Engines::Driver(driver::Driver::open(id)?), precision));
        #[cfg(not(feature = "cuda"))]
        {
            let _ = precision;
            Err(CardFault::Other(format!("GPU {id} is of no use: {WITHOUT_CUDA}")))
        }
    }

    /// The card named by `PIPELINE_TEST_DEVICE`, for tests.
    pub fn for_tests() -> Option<Card> {
        let name = std::env::var("PIPELINE_TEST_DEVICE").ok()?;
        let id = match name.as_str() {
            "emulator" => u32::MAX - 1,
            name => name
                .strip_prefix("cuda:")
                .and_then(|id| id.parse().ok())
                .unwrap_or_else(|| panic!("PIPELINE_TEST_DEVICE is `{name}`; give `emulator` or `cuda:N`")),
        };
        match Card::open(id, Precision::F32) {
            Ok(card) => Some(card),
            Err(fault) => panic!("{}", fault.refusal("the sizes of the test").0),
        }
    }

    #[cfg(any(feature = "cuda", feature = "emulator"))]
    fn of(engine: Engines, precision: Precision) -> Card {
        Card(Arc::new(Inner { engine, precision, store: Mutex::default() }))
    }

    /// Whether both are the same opened card.
    pub fn is(&self, other: &Card) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn engine(&self) -> &dyn Engine {
        self.0.engine()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.0.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peak of the bytes in use.
    pub fn peak(&self) -> u64 {
        self.store().peak
    }

    /// Blocks until all issued work is done.
    pub fn wait(&self) {
        self.zeros(1).download();
    }

    /// Memory with unspecified contents.
    pub fn scratch(&self, length: usize) -> Memory {
        let bytes = length.max(1) * WORD;
        let mut store = self.store();
        let address = match store.free.get_mut(&bytes).and_then(Vec::pop) {
            Some(address) => address,
            None => self.allocate(&mut store, bytes),
        };
        store.used += bytes as u64;
        store.peak = store.peak.max(store.used);
        Memory { card: self.clone(), address, length }
    }

    fn allocate(&self, store: &mut Store, bytes: usize) -> u64 {
        if let Some(address) = must(self.engine().allocate(bytes)) {
            return address;
        }
        // Freeing cached allocations of other sizes may release enough memory.
        for address in store.free.drain().flat_map(|(_, addresses)| addresses) {
            self.engine().free(address);
        }
        let (held, asked, all) = (store.peak, bytes as u64, self.engine().memory());
        must(
            self.engine()
                .allocate(bytes)
                .and_then(|found| found.ok_or(CardFault::Memory { held, asked, all })),
        )
    }

    /// Zeroed memory.
    pub fn zeros(&self, length: usize) -> Memory {
        let memory = self.scratch(length);
        must(self.engine().clear(memory.address, length * WORD));
        memory
    }

    /// Uploads floats.
    pub fn upload(&self, values: &[f32]) -> Memory {
        let words: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
        self.upload_words(&words)
    }

    /// Uploads integers.
    pub fn upload_words(&self, words: &[u32]) -> Memory {
        let memory = self.scratch(words.len());
        must(self.engine().send(memory.address, words));
        memory
    }

    /// Runs a kernel with one thread for each of `count` elements.
    pub fn launch_each<const N: usize>(&self, kernel: &'static str, count: usize, arguments: [Argument; N]) {
        self.launch(kernel, count, false, arguments);
    }

    /// Runs a kernel with one warp for each of `count` rows.
    pub fn launch_rows<const N: usize>(&self, kernel: &'static str, count: usize, arguments: [Argument; N]) {
        self.launch(kernel, count, true, arguments);
    }

    fn launch<const N: usize>(
        &self,
        kernel: &'static str,
        count: usize,
        of_rows: bool,
        arguments: [Argument; N],
    ) {
        if count == 0 {
            return;
        }
        let threads = if of_rows { count * self.engine().warp() } else { count };
        let kinds: String = arguments.iter().map(Argument::kind).collect();
        let mut words = arguments.map(|argument| argument.bits());
        let mut pointers = words.each_mut().map(|word| std::ptr::from_mut(word).cast::<c_void>());
        let blocks = u32::try_from(threads.div_ceil(THREADS)).expect("fewer blocks than a grid may have");
        must(self.engine().launch(kernel, blocks, of_rows, &kinds, &mut pointers));
    }

    /// Multiplies matrices.
    pub fn multiply(&self, product: Product) {
        let Product { out, left, right, keep, factor, batch } = product;
        let (rows, inner) = left.size();
        let (inner_too, columns) = right.size();
        assert!(inner == inner_too && out.size() == (rows, columns), "sizes of a product");
        if rows * columns * batch == 0 {
            return;
        }
        [&out, &left, &right].iter().for_each(|matrix| matrix.check(batch));
        let precision = self.0.precision;
        must(self.engine().multiply(&Raw {
            rows,
            columns,
            inner,
            keep,
            factor,
            batch,
            precision,
            out,
            left,
            right,
        }));
    }
}

/// Unwinds with the fault, which `device::on` catches and turns into the stage's error.
fn must<T>(result: Result<T, CardFault>) -> T {
    result.unwrap_or_else(|fault| resume_unwind(Box::new(fault)))
}

/// An allocation on a card, returned to the card's pool when dropped.
#[derive(Debug)]
pub struct Memory {
    card: Card,
    address: u64,
    length: usize,
}

impl Memory {
    /// The card that owns it.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The number of words.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Its values, copied to the CPU.
    pub fn download(&self) -> Vec<f32> {
        let mut words = vec![0; self.length];
        must(self.card.engine().fetch(&mut words, self.address));
        words.into_iter().map(f32::from_bits).collect()
    }

    /// A copy on the card.
    pub fn copy(&self) -> Memory {
        let copy = self.card.scratch(self.length);
        must(self.card.engine().copy(copy.address, self.address, self.length * WORD));
        copy
    }

    /// A pointer to the word at this offset, as a kernel argument.
    pub fn at(&self, place: usize) -> Argument {
        assert!(place <= self.length, "a place in memory");
        Argument::Address(self.address + (place * WORD) as u64)
    }

    /// Its words as a row-major matrix.
    pub fn matrix(&self, rows: usize, columns: usize) -> Matrix<'_> {
        Matrix { memory: self, start: 0, rows, columns, stride: columns, step: 0, turned: false }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let bytes = self.length.max(1) * WORD;
        let mut store = self.card.store();
        store.used -= bytes as u64;
        // Safe to reuse at once: work that reads it was issued before any work that will overwrite it.
        store.free.entry(bytes).or_default().push(self.address);
    }
}

impl Inner {
    fn engine(&self) -> &dyn Engine {
        match self.engine {
            #[cfg(feature = "cuda")]
            Engines::Driver(ref engine) => engine,
            #[cfg(feature = "emulator")]
            Engines::Emulator(ref engine) => engine,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let store = std::mem::take(self.store.get_mut().unwrap_or_else(PoisonError::into_inner));
        let engine = self.engine();
        store.free.into_values().flatten().for_each(|address| engine.free(address));
    }
}
