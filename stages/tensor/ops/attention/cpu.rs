//! Exact attention on the CPU: one task computes one head of one cell, in blocks of queries.

use crate::matrix::{View, ViewMut};
use crate::panels::{Panels, Start};
use crate::simd::{dot, exp, larger, vectorised};
use crate::{Device, buffer};
use rayon::prelude::*;
use std::ops::Range;

/// Queries per block: one panel of a product. Its scores with 512 genes and their gradients take 128 KB.
const BLOCK: usize = 32;

/// The shapes, as the kernels need them.
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

    /// The heads of all cells, in task order.
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

/// What the backward pass needs from the forward pass.
pub struct Forward<'a> {
    pub inputs: [&'a [f32]; 3],
    pub out: &'a [f32],
    pub logs: &'a [f32],
}

/// Fills `out`; returns log Σ_j exp(S_ij) of each query, task by task.
///
/// A row of scores belongs to a key, so that sums over keys add whole registers and the scores are the right factor of
/// their product.
pub fn forward(device: &Device, sizes: Sizes, [q, k, v]: [&[f32]; 3], out: &mut [f32]) -> Vec<f32> {
    let Sizes { genes, cells, heads, d } = sizes;
    let mut logs = buffer::scratch(device, cells * heads * genes);
    let outputs = sizes.tasks(out).into_par_iter().zip(logs.par_chunks_mut(genes));
    outputs.enumerate().for_each(|(task, (mut out, logs))| {
        let [q, k, v] = [q, k, v].map(|data| sizes.task(data, task));
        let mut turned = buffer::scratch(device, d * BLOCK);
        for block in sizes.blocks() {
            let turned = &mut turned[..d * block.len()];
            let queries = Panels::new(device, q.part(block.clone(), 0..d).transposed());
            let mut scores = Panels::scratch(device, genes, block.len());
            queries.multiply_into(&mut scores, k, Start::Zero);
            let mut parts = [0.0; BLOCK];
            for mut scores in scores.views() {
                exponentials(&mut scores, sizes.scale(), &mut logs[block.clone()], &mut parts);
            }
            let mut of_block = ViewMut::new(turned, d, block.len());
            scores.multiply_part(0..genes, &mut of_block, v.transposed(), Start::Zero);
            turn_and_scale(&mut out.part(block, 0..d), turned, &parts);
            [queries, scores].into_iter().for_each(|panels| panels.recycle(device));
        }
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
        let keys = Panels::new(device, k);
        let [to_keys, to_values] = [k, v].map(|right| Panels::new(device, right.transposed()));
        // dkᵀ and dvᵀ, whose rows fill registers.
        let [mut turned_dk, mut turned_dv] = [0; 2].map(|_| buffer::zeros(device, d * genes));
        for block in sizes.blocks() {
            let rows = block.len();
            let [q, out, flowing] = [q, out, flowing].map(|data| data.part(block.clone(), 0..d));
            let [mut p, mut ds] = [0; 2].map(|_| Panels::scratch(device, rows, genes));
            to_keys.multiply_into(&mut p, q, Start::Zero);
            to_values.multiply_into(&mut ds, flowing, Start::Zero);
            let mut shared = [0.0; BLOCK];
            products_of_rows(&mut shared[..rows], out, flowing);
            for (mut p, mut ds) in p.views().zip(ds.views()) {
                through_softmax(&mut p, &mut ds, &logs[block.clone()], &shared, sizes.scale());
            }
            let [mut dk, mut dv] = [&mut turned_dk, &mut turned_dv].map(|data| ViewMut::new(data, d, genes));
            p.multiply_part(0..rows, &mut dv, flowing.transposed(), Start::Out);
            ds.multiply_part(0..rows, &mut dk, q.transposed(), Start::Out);
            let (mut dq, mut first) = (dq.part(block, 0..d), 0);
            for ds in ds.parts() {
                keys.multiply_part(first..first + ds.columns(), &mut dq, ds, Start::Out);
                first += ds.columns();
            }
            [p, ds].into_iter().for_each(|panels| panels.recycle(device));
        }
        add_turned(&mut dk, &turned_dk);
        add_turned(&mut dv, &turned_dv);
        [turned_dk, turned_dv].into_iter().for_each(|buffer| buffer::recycle(device, buffer));
        [keys, to_keys, to_values].into_iter().for_each(|panels| panels.recycle(device));
    });
}

vectorised! {
    /// Replaces scores by exp(score - most), `most` being the largest of a column. Fills in the logarithms of the
    /// columns' sums, and 1 / Σ exp(score - most).
    fn exponentials(scores: &mut ViewMut, scale: f32, logs: &mut [f32], parts: &mut [f32; BLOCK]) {
        let mut most = [f32::NEG_INFINITY; BLOCK];
        for row in 0..scores.rows() {
            for (most, score) in most.iter_mut().zip(scores.row(row)) {
                *most = larger(*score, *most);
            }
        }
        most.iter_mut().for_each(|most| *most *= scale);
        let mut totals = [0.0; BLOCK];
        for row in 0..scores.rows() {
            for (score, (most, total)) in scores.row(row).iter_mut().zip(most.iter().zip(&mut totals)) {
                *score = exp(score.mul_add(scale, -most));
                *total += *score;
            }
        }
        for ((log, part), (most, total)) in logs.iter_mut().zip(parts).zip(most.iter().zip(totals)) {
            *log = most + libm::logf(total);
            *part = 1.0 / total;
        }
    }
}

/// Writes the transpose of `turned` to `rows`, each row multiplied by its part.
fn turn_and_scale(rows: &mut ViewMut, turned: &[f32], parts: &[f32]) {
    let count = rows.rows();
    for (row, part) in (0..count).zip(parts) {
        for (value, turned) in rows.row(row).iter_mut().zip(turned.chunks_exact(count)) {
            *value = turned[row] * part;
        }
    }
}

/// Adds the transpose of a matrix to rows.
fn add_turned(rows: &mut ViewMut, turned: &[f32]) {
    let count = rows.rows();
    for row in 0..count {
        for (value, turned) in rows.row(row).iter_mut().zip(turned.chunks_exact(count)) {
            *value += turned[row];
        }
    }
}

vectorised! {
    fn products_of_rows(products: &mut [f32], a: View, b: View) {
        for (row, product) in products.iter_mut().enumerate() {
            *product = dot(a.row(row), b.row(row));
        }
    }
}

vectorised! {
    /// Scores become P, and dP becomes dS / √d, in place.
    fn through_softmax(p: &mut ViewMut, ds: &mut ViewMut, logs: &[f32], shared: &[f32], scale: f32) {
        for (row, (log, shared)) in logs.iter().zip(shared).enumerate() {
            for (p, ds) in p.row(row).iter_mut().zip(ds.row(row)) {
                *p = exp(p.mul_add(scale, -log));
                *ds = scale * *p * (*ds - shared);
            }
        }
    }
}
