//! What is allocated: no tensor in a training step after the first, and no more for embedding more cells.

#[path = "kinds/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use learn::model::parameters;
use learn::model::performer::{Config, Performer, Tables};
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use support::{Outcome, run};
use tensor::ops::adam::Adam;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::tape::backward;
use tensor::{Taped, device};

/// The system's allocator, which counts.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is one")]
// SAFETY: everything is handed to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as promised to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as promised to this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as promised to this function.
        unsafe { System.dealloc(start, layout) }
    }
}

fn count(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    LARGEST.fetch_max(bytes, Relaxed);
}

/// The counters are the process's, so tests run one after the other.
fn wait_for_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What some work allocated: the most that lived at a time beyond what lived before, the largest single allocation, and by
/// how much it left more behind.
fn measure(work: impl FnOnce()) -> (usize, usize, isize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    work();
    let more = LIVE.load(Relaxed).cast_signed() - before.cast_signed();
    (PEAK.load(Relaxed) - before, LARGEST.load(Relaxed), more)
}

#[test]
fn a_training_step_after_the_first_allocates_no_tensor() {
    let _turn = wait_for_turn();
    let (cells, genes, width) = (4, 300, 32);
    let config = Config { width, depth: 2, heads: 2, head_width: 16, ..Config::default() };
    let mut model = Performer::new(&device(), config, Tables { tokens: 7, positions: genes }, 0);
    let mut adam = Adam::default();
    let tokens: Vec<u32> = (0..cells * genes).map(|place| (place * place) as u32 % 6).collect();
    // One thread, so that as many tasks hold scratch at a time in every step.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut train = || {
        let logits = model.logits(model.encode(&tokens, cells, Taped::default()), &tokens, cells);
        let mut gradients = backward(cross_entropy(logits, &tokens));
        adam.step(1e-4, &mut parameters::trained(model.tensors()), &mut gradients);
    };
    let mut step = || pool.install(&mut train);
    let (first, ..) = measure(&mut step);
    measure(&mut step);
    for _ in 0..3 {
        let (peak, largest, more) = measure(&mut step);
        println!(
            "the first step held {first} bytes more, a later one {peak}, {largest} of them at once, and left {more}"
        );
        // A tensor of a value for each number of each gene would be this large.
        assert!(largest < cells * genes * width * size_of::<f32>() / 4, "{largest}");
        assert!(peak < first / 20, "{peak} of {first}");
        // The logits, the smallest of the large tensors, are twice this.
        assert!(more < 16_384, "{more}");
    }
}

#[test]
fn embedding_more_cells_takes_no_more_memory() {
    let _turn = wait_for_turn();
    let made = |cells: usize| -> (Outcome, Outcome) {
        let network = json!({"scale_free": {"genes": 50, "tfs": 10}});
        let data = run("simulate", json!({"network": network, "cells": cells}), &[]).done();
        let tokens = run("tokenise", json!({"min_genes": 1}), &[("data", &data.folder())]).done();
        (data, tokens)
    };
    let (few, many) = (made(400), made(6_000));
    let params = json!({
        "model": {"width": 32, "depth": 1, "heads": 1, "head_width": 8},
        "training": {"epochs": 0},
    });
    let model = run("pretrain", params, &[("tokens", &few.1.folder())]).done();
    for of in ["genes", "cells", "both"] {
        let peak = |tokens: &Outcome| {
            let inputs = [("model", model.folder()), ("tokens", tokens.folder())];
            let inputs = inputs.each_ref().map(|(slot, path)| (*slot, path.as_path()));
            measure(|| {
                run("embed", json!({"of": of, "batch": 16}), &inputs).done();
            })
            .0
        };
        let (few, many) = (peak(&few.1), peak(&many.1));
        println!("{of}: {few} bytes for 400 cells, {many} for 6,000");
        // The encodings of the further cells are 36 MB; a row group of the file has 4 MB, and a few are under way.
        assert!(many < few + 16_000_000, "{of}: {few} and {many}");
    }
}
