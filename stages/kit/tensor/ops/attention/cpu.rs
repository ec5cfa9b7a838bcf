//! Exact attention on the processor: one task computes one head of one cell, block of queries by block.

use crate::kit::tensor::gemm::multiply;
use crate::kit::tensor::matrix::{View, ViewMut};
use crate::kit::tensor::simd::{dot, exp, largest, sum_of, vectorised};
use crate::kit::tensor::{Device, buffer};
use rayon::prelude::*;
use std::ops::Range;

/// The queries of one block: with 512 genes its scores and their gradients take 512 KB.
const BLOCK: usize = 128;

/// What the kernels must know of the shapes.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub genes: usize,
    pub cells: usize,
    pub heads: usize,
    /// The width of a head.
    pub d: usize,
}

impl Sizes {
    /// One head of one cell.
    fn task<'a>(&self, data: &'a [f32], task: usize) -> View<'a> {
        let (cell, head) = (task / self.heads, task % self.heads);
        View::new(data, self.cells * self.genes, self.heads * self.d)
            .part(cell * self.genes..(cell + 1) * self.genes, head * self.d..(head + 1) * self.d)
    }

    /// The heads of all cells, in the order of tasks.
    fn tasks<'a>(&self, data: &'a mut [f32]) -> Vec<ViewMut<'a>> {
        ViewMut::new(data, self.cells * self.genes, self.heads * self.d).tiles(self.genes, self.d)
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let genes = self.genes;
        (0..genes).step_by(BLOCK).map(move |first| first..genes.min(first + BLOCK))
    }

    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }
}

/// What the way back needs of the way there.
pub struct Forward<'a> {
    pub inputs: [&'a [f32]; 3],
    pub out: &'a [f32],
    pub logs: &'a [f32],
}

/// Fills `out`; returns log Σ_j exp(S_ij) of each query, task by task.
pub fn forward(device: &Device, sizes: Sizes, [q, k, v]: [&[f32]; 3], out: &mut [f32]) -> Vec<f32> {
    let Sizes { genes, cells, heads, d } = sizes;
    let mut logs = buffer::zeros(device, cells * heads * genes);
    let outputs = sizes.tasks(out).into_par_iter().zip(logs.par_chunks_mut(genes));
    outputs.enumerate().for_each(|(task, (mut out, logs))| {
        let [q, k, v] = [q, k, v].map(|data| sizes.task(data, task));
        let mut turned = buffer::zeros(device, d * genes);
        k.transposed_into(&mut turned);
        let keys = View::new(&turned, d, genes);
        let mut scratch = buffer::zeros(device, BLOCK * genes);
        for block in sizes.blocks() {
            let rows = block.len();
            let p = &mut scratch[..rows * genes];
            multiply(
                &mut ViewMut::new(p, rows, genes),
                0.0,
                sizes.scale(),
                q.part(block.clone(), 0..d),
                keys,
            );
            let mut parts = [0.0; BLOCK];
            exponentials(p, &mut logs[block.clone()], &mut parts[..rows]);
            let mut out = out.part(block);
            multiply(&mut out, 0.0, 1.0, View::new(p, rows, genes), v);
            for (row, part) in parts[..rows].iter().enumerate() {
                out.row(row).iter_mut().for_each(|out| *out *= part);
            }
        }
        buffer::recycle(device, scratch);
        buffer::recycle(device, turned);
    });
    logs
}

/// Adds to the gradients of q, k and v.
pub fn backward(
    device: &Device,
    sizes: Sizes,
    forward: Forward,
    flowing: &[f32],
    [dq, dk, dv]: [&mut [f32]; 3],
) {
    let Sizes { genes, d, .. } = sizes;
    let outputs = sizes.tasks(dq).into_par_iter().zip(sizes.tasks(dk)).zip(sizes.tasks(dv));
    outputs.enumerate().for_each(|(task, ((mut dq, mut dk), mut dv))| {
        let [q, k, v] = forward.inputs.map(|data| sizes.task(data, task));
        let [out, flowing] = [forward.out, flowing].map(|data| sizes.task(data, task));
        let logs = &forward.logs[task * genes..][..genes];
        let [mut keys, mut values] = [0; 2].map(|_| buffer::zeros(device, d * genes));
        k.transposed_into(&mut keys);
        v.transposed_into(&mut values);
        let [mut scores, mut gradients] = [0; 2].map(|_| buffer::zeros(device, BLOCK * genes));
        for block in sizes.blocks() {
            let rows = block.len();
            let [q, out, flowing] = [q, out, flowing].map(|data| data.part(block.clone(), 0..d));
            let (p, ds) = (&mut scores[..rows * genes], &mut gradients[..rows * genes]);
            multiply(&mut ViewMut::new(p, rows, genes), 0.0, sizes.scale(), q, View::new(&keys, d, genes));
            multiply(&mut ViewMut::new(ds, rows, genes), 0.0, 1.0, flowing, View::new(&values, d, genes));
            through_softmax(p, ds, &logs[block.clone()], out, flowing, sizes.scale());
            let (p, ds) = (View::new(p, rows, genes), View::new(ds, rows, genes));
            multiply(&mut dv, 1.0, 1.0, p.transposed(), flowing);
            multiply(&mut dk, 1.0, 1.0, ds.transposed(), q);
            multiply(&mut dq.part(block), 1.0, 1.0, ds, k);
        }
        [keys, values, scores, gradients].into_iter().for_each(|buffer| buffer::recycle(device, buffer));
    });
}

vectorised! {
    /// Scores become exp(score - most); fills the logarithms of the rows' sums and 1 / Σ exp(score - most).
    fn exponentials(p: &mut [f32], logs: &mut [f32], parts: &mut [f32]) {
        let columns = p.len() / logs.len();
        for ((row, log), part) in p.chunks_exact_mut(columns).zip(logs).zip(parts) {
            let most = largest(row);
            row.iter_mut().for_each(|score| *score = exp(*score - most));
            let total = sum_of(row, row, |e, _| e);
            *log = most + libm::logf(total);
            *part = 1.0 / total;
        }
    }
}

vectorised! {
    /// Scores become P, and dP becomes dS / √d.
    fn through_softmax(p: &mut [f32], ds: &mut [f32], logs: &[f32], out: View, flowing: View, scale: f32) {
        let columns = p.len() / logs.len();
        let rows = p.chunks_exact_mut(columns).zip(ds.chunks_exact_mut(columns)).zip(logs);
        for (row, ((p, ds), log)) in rows.enumerate() {
            let shared = dot(out.row(row), flowing.row(row));
            for (p, ds) in p.iter_mut().zip(ds) {
                *p = exp(*p - log);
                *ds = scale * *p * (*ds - shared);
            }
        }
    }
}
