//! FAVOR+ attention on the processor.
//!
//! One task computes one head of one cell, in blocks of genes: features stay in the L2 cache, and apart from inputs and
//! outputs memory does not grow with the number of genes.

mod loops;

use super::{Layout, Stabiliser};
use crate::matrix::{View, ViewMut};
use crate::panels::{Panels, Start};
use crate::simd::{exp, place_of};
use crate::{Device, buffer};
use loops::{
    add_rows, add_to_rows, divide_rows, exponentials, finish_sums, keys_through_exp, largest_of,
    queries_through_exp, query_divide, query_features,
};
use rayon::prelude::*;
use std::ops::Range;

/// Genes per block: two tiles of a product, whose 266 features stay in the L1 cache.
const BLOCK: usize = 28;

/// scBERT's ε.
const EPSILON: f32 = 1e-4;

/// The shapes, as the kernels need them.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub genes: usize,
    pub layout: Layout,
    /// The width of a head.
    pub d: usize,
    /// The number of random features.
    pub m: usize,
}

impl Sizes {
    /// One head of one cell.
    fn task<'a>(&self, data: &'a [f32], task: usize) -> View<'a> {
        let Layout { cells, heads, .. } = self.layout;
        let (cell, head) = (task / heads, task % heads);
        View::new(data, cells * self.genes, heads * self.d)
            .part(cell * self.genes..(cell + 1) * self.genes, head * self.d..(head + 1) * self.d)
    }

    /// The heads of all cells, in task order.
    fn tasks<'a>(&self, data: &'a mut [f32]) -> Vec<ViewMut<'a>> {
        let Layout { cells, heads, .. } = self.layout;
        ViewMut::new(data, cells * self.genes, heads * self.d).tiles(self.genes, self.d)
    }

    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let genes = self.genes;
        (0..genes).step_by(BLOCK).map(move |first| first..genes.min(first + BLOCK))
    }

    /// c². The projection already contains c.
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }

    /// The combined size of S, s and Σ v of a task, which are stored side by side.
    fn sums(&self) -> usize {
        self.m * self.d + self.m + self.d
    }
}

/// The sums over keys, and the largest projection that they were computed with.
pub struct Sums {
    device: Device,
    values: Vec<f32>,
    /// M of each task.
    most: Vec<f32>,
    /// The task, gene and feature that each M comes from: one for the whole batch, or one per task.
    sources: Vec<(usize, usize, usize)>,
}

impl Drop for Sums {
    fn drop(&mut self) {
        buffer::recycle(&self.device, std::mem::take(&mut self.values));
    }
}

/// Where queries, keys or values come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Already computed.
    Made(&'a [f32]),
    /// x Wᵀ, computed block by block when needed.
    Layer { x: View<'a>, turned: &'a Panels },
}

impl Source<'_> {
    /// Some genes of a task, computed into `near` if necessary.
    fn block<'b>(&'b self, sizes: &Sizes, task: usize, genes: Range<usize>, near: &'b mut [f32]) -> View<'b> {
        let d = sizes.d;
        match self {
            Source::Made(data) => sizes.task(data, task).part(genes, 0..d),
            Source::Layer { x, turned } => {
                let (cell, head) = (task / sizes.layout.heads, task % sizes.layout.heads);
                let rows = cell * sizes.genes + genes.start..cell * sizes.genes + genes.end;
                let near = &mut near[..rows.len() * d];
                let mut made = ViewMut::new(near, rows.len(), d);
                turned.multiply_columns(
                    head * d,
                    &mut made,
                    x.part(rows.clone(), 0..x.columns()),
                    Start::Zero,
                );
                View::new(near, rows.len(), d)
            }
        }
    }
}

/// What the backward pass needs from the forward pass.
pub struct Forward<'a> {
    pub projection: &'a Projection,
    pub sums: &'a Sums,
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub out: &'a [f32],
}

/// c P in row-major order, and transposed as a right factor.
pub struct Projection {
    rows: Vec<f32>,
    turned: Panels,
}

impl Projection {
    /// Computes both layouts from P.
    pub fn new(device: &Device, features: &[f32], Sizes { d, m, .. }: Sizes) -> Projection {
        let scale = (d as f64).powf(-0.25) as f32;
        let mut rows = buffer::copy(device, features);
        rows.iter_mut().for_each(|p| *p *= scale);
        let turned = Panels::new(device, View::new(&rows, m, d).transposed());
        Projection { rows, turned }
    }

    /// e = c u·P of a block.
    fn project(&self, e: &mut [f32], u: View) {
        let m = e.len() / u.rows();
        self.turned.multiply(&mut ViewMut::new(e, u.rows(), m), u, Start::Zero);
    }
}

/// S = Σ φ(k) vᵀ and s = Σ φ(k).
pub fn sum_keys(device: &Device, sizes: Sizes, projection: &Projection, k: Source, v: Source) -> Sums {
    let tasks = sizes.layout.cells * sizes.layout.heads;
    let mut values = buffer::zeros(device, tasks * sizes.sums());
    let found: Vec<(f32, usize, usize)> = values
        .par_chunks_mut(sizes.sums())
        .enumerate()
        .map(|(task, sums)| sum_task(device, sizes, projection, task, [k, v], sums))
        .collect();
    let own = found.iter().enumerate().map(|(task, (_, gene, feature))| (task, *gene, *feature));
    let (most, sources) = match sizes.layout.stabiliser {
        Stabiliser::Row => (found.iter().map(|(most, ..)| *most).collect(), own.collect()),
        Stabiliser::Batch => {
            let largest = found.iter().zip(own).max_by(|(a, _), (b, _)| a.0.total_cmp(&b.0));
            let (most, source) = largest.map(|((most, ..), source)| (*most, source)).unzip();
            (vec![most.unwrap_or(0.0); tasks], source.into_iter().collect())
        }
    };
    values.par_chunks_mut(sizes.sums()).enumerate().for_each(|(task, sums)| {
        let (s_matrix, rest) = sums.split_at_mut(sizes.m * sizes.d);
        let (s, total_v) = rest.split_at_mut(sizes.m);
        finish_sums(s_matrix, s, total_v, exp(found[task].0 - most[task]), sizes.genes as f32);
    });
    Sums { device: device.clone(), values, most, sources }
}

/// Sums exp(c k·P_j - c²|k|²/2 - M) without ε, M being the largest projection of the task, and says where M occurred.
///
/// M is known only after the last block, so the sums are rescaled whenever a larger projection appears.
fn sum_task(
    device: &Device,
    sizes: Sizes,
    projection: &Projection,
    task: usize,
    [k, v]: [Source; 2],
    sums: &mut [f32],
) -> (f32, usize, usize) {
    let Sizes { d, m, .. } = sizes;
    let mut scratch = buffer::scratch(device, BLOCK * m);
    let [mut near_k, mut near_v] = [0; 2].map(|_| buffer::scratch(device, BLOCK * d));
    let mut found = (f32::NEG_INFINITY, 0, 0);
    for block in sizes.blocks() {
        let rows = block.len();
        let keys = k.block(&sizes, task, block.clone(), &mut near_k);
        let values = v.block(&sizes, task, block.clone(), &mut near_v);
        let e = &mut scratch[..rows * m];
        projection.project(e, keys);
        let most = largest_of(e);
        if most > found.0 {
            let place = place_of(most, e);
            scale(sums, &sizes, exp(found.0 - most));
            found = (most, block.start + place / m, place % m);
        }
        let (s_matrix, rest) = sums.split_at_mut(m * d);
        let (s, total_v) = rest.split_at_mut(m);
        exponentials(e, keys, found.0, sizes.scale());
        add_rows(s, View::new(e, rows, m));
        add_rows(total_v, values);
        let (e, values) = (View::new(e, rows, m), Panels::new(device, values));
        values.multiply(&mut ViewMut::new(s_matrix, m, d), e.transposed(), Start::Out);
        values.recycle(device);
    }
    [scratch, near_k, near_v].into_iter().for_each(|buffer| buffer::recycle(device, buffer));
    found
}

/// Scales everything except Σ v.
fn scale(sums: &mut [f32], sizes: &Sizes, factor: f32) {
    sums[..sizes.m * sizes.d + sizes.m].iter_mut().for_each(|sum| *sum *= factor);
}

/// out = φ(q)·S / φ(q)·s.
pub fn query(
    device: &Device,
    sizes: Sizes,
    projection: &Projection,
    sums: &Sums,
    q: Source,
    out: &mut [f32],
) {
    let Sizes { d, m, .. } = sizes;
    sizes.tasks(out).into_par_iter().enumerate().for_each(|(task, mut out)| {
        let (s_matrix, s) = sums.values[task * sizes.sums()..][..m * d + m].split_at(m * d);
        let s_matrix = Panels::new(device, View::new(s_matrix, m, d));
        let mut scratch = buffer::scratch(device, BLOCK * m);
        let mut near = buffer::scratch(device, BLOCK * d);
        for block in sizes.blocks() {
            let rows = block.len();
            let queries = q.block(&sizes, task, block.clone(), &mut near);
            let phi = &mut scratch[..rows * m];
            projection.project(phi, queries);
            let mut totals = [0.0; BLOCK];
            query_features(phi, &mut totals[..rows], queries, s, sizes.scale());
            let mut out = out.part(block, 0..d);
            s_matrix.multiply(&mut out, View::new(phi, rows, m), Start::Zero);
            divide_rows(&mut out, &totals);
        }
        [scratch, near].into_iter().for_each(|buffer| buffer::recycle(device, buffer));
        s_matrix.recycle(device);
    });
}

/// Adds to the gradients of q, k and v.
pub fn backward(
    device: &Device,
    sizes: Sizes,
    forward: Forward,
    flowing: &[f32],
    [dq, dk, dv]: [&mut [f32]; 3],
) {
    let back = Panels::new(device, View::new(&forward.projection.rows, sizes.m, sizes.d));
    let outputs = sizes.tasks(dq).into_par_iter().zip(sizes.tasks(dk)).zip(sizes.tasks(dv));
    let flown: Vec<f32> = outputs
        .enumerate()
        .map(|(task, ((dq, dk), dv))| {
            let mut buffers = Buffers::new(device, sizes);
            let task = Task { device, sizes, forward: &forward, back: &back, number: task };
            task.queries(sizes.task(flowing, task.number), &mut buffers, dq);
            let flown = task.keys(&mut buffers, dk, dv);
            buffers.recycle(device);
            flown
        })
        .collect();
    back.recycle(device);
    // The gradient of M flows to the key that M was taken from.
    let Layout { heads, .. } = sizes.layout;
    for (task, gene, feature) in &forward.sums.sources {
        let flown = match sizes.layout.stabiliser {
            Stabiliser::Row => flown[*task],
            Stabiliser::Batch => flown.iter().sum(),
        };
        let row = task / heads * sizes.genes + gene;
        let dk = &mut dk[row * heads * sizes.d + task % heads * sizes.d..][..sizes.d];
        let p = &forward.projection.rows[feature * sizes.d..][..sizes.d];
        dk.iter_mut().zip(p).for_each(|(dk, p)| *dk -= flown * p);
    }
}

/// The scratch buffers of one task in the backward pass.
struct Buffers {
    /// exp(..) of a block, without ε.
    e: Vec<f32>,
    /// dφ of a block, then t.
    t: Vec<f32>,
    /// dn of a block.
    dn: Vec<f32>,
    /// dS and ds.
    ds_matrix: Vec<f32>,
    ds: Vec<f32>,
}

impl Buffers {
    fn new(device: &Device, Sizes { d, m, .. }: Sizes) -> Buffers {
        let scratch = |length| buffer::scratch(device, length);
        Buffers {
            e: scratch(BLOCK * m),
            t: scratch(BLOCK * m),
            dn: scratch(BLOCK * d),
            ds_matrix: buffer::zeros(device, m * d),
            ds: buffer::zeros(device, m),
        }
    }

    fn recycle(self, device: &Device) {
        let Buffers { e, t, dn, ds_matrix, ds } = self;
        [e, t, dn, ds_matrix, ds].into_iter().for_each(|buffer| buffer::recycle(device, buffer));
    }
}

/// One head of one cell in the backward pass.
struct Task<'a> {
    device: &'a Device,
    sizes: Sizes,
    forward: &'a Forward<'a>,
    /// c P as a right factor.
    back: &'a Panels,
    number: usize,
}

impl Task<'_> {
    /// Computes dq, dS and ds.
    fn queries(&self, flowing: View, buffers: &mut Buffers, mut dq: ViewMut) {
        let Task { device, sizes, forward, back, number } = *self;
        let Sizes { d, m, .. } = sizes;
        let (q, out) = (sizes.task(forward.q, number), sizes.task(forward.out, number));
        let (s_matrix, s) = forward.sums.values[number * sizes.sums()..][..m * d + m].split_at(m * d);
        let s_matrix = Panels::new(device, View::new(s_matrix, m, d).transposed());
        let (mut total_dn, mut total_dd) = (vec![0.0; d], 0.0);
        for block in sizes.blocks() {
            let rows = block.len();
            let queries = q.part(block.clone(), 0..d);
            let (e, t, dn) =
                (&mut buffers.e[..rows * m], &mut buffers.t[..rows * m], &mut buffers.dn[..rows * d]);
            forward.projection.project(e, queries);
            let mut per_row = [(0.0f32, 0usize); BLOCK];
            query_divide(
                e,
                dn,
                &mut per_row[..rows],
                [queries, out.part(block.clone(), 0..d), flowing.part(block.clone(), 0..d)],
                s,
                &mut buffers.ds,
                sizes.scale(),
            );
            add_rows(&mut total_dn, View::new(dn, rows, d));
            total_dd += per_row[..rows].iter().map(|(dd, _)| dd).sum::<f32>();
            let (e, dn) = (View::new(e, rows, m), View::new(dn, rows, d));
            let right = Panels::new(device, dn);
            right.multiply(&mut ViewMut::new(&mut buffers.ds_matrix, m, d), e.transposed(), Start::Out);
            right.recycle(device);
            s_matrix.multiply(&mut ViewMut::new(t, rows, m), dn, Start::Zero);
            let mut dq = dq.part(block, 0..d);
            queries_through_exp(t, &mut dq, e, queries, s, &per_row[..rows], sizes.scale());
            back.multiply(&mut dq, View::new(t, rows, m), Start::Out);
        }
        s_matrix.recycle(device);
        for (row, ds) in buffers.ds_matrix.chunks_exact_mut(d).zip(&mut buffers.ds) {
            row.iter_mut().zip(&total_dn).for_each(|(ds, dn)| *ds += EPSILON * dn);
            *ds += EPSILON * total_dd;
        }
    }

    /// Computes dk and dv, and returns the gradient of -M.
    fn keys(&self, buffers: &mut Buffers, mut dk: ViewMut, mut dv: ViewMut) -> f32 {
        let Task { device, sizes, forward, back, number } = *self;
        let Sizes { d, m, .. } = sizes;
        let (k, v) = (sizes.task(forward.k, number), sizes.task(forward.v, number));
        let ds_matrix = View::new(&buffers.ds_matrix, m, d);
        let right = Panels::new(device, ds_matrix);
        let turned = Panels::new(device, ds_matrix.transposed());
        let mut constant = vec![0.0; d];
        add_rows(&mut constant, ds_matrix);
        constant.iter_mut().for_each(|sum| *sum *= EPSILON);
        let mut flown = 0.0;
        for block in sizes.blocks() {
            let rows = block.len();
            let (keys, values) = (k.part(block.clone(), 0..d), v.part(block.clone(), 0..d));
            let (e, t) = (&mut buffers.e[..rows * m], &mut buffers.t[..rows * m]);
            forward.projection.project(e, keys);
            exponentials(e, keys, forward.sums.most[number], sizes.scale());
            let e = View::new(e, rows, m);
            let (mut dk, mut dv) = (dk.part(block.clone(), 0..d), dv.part(block, 0..d));
            right.multiply(&mut dv, e, Start::Out);
            add_to_rows(&mut dv, &constant);
            turned.multiply(&mut ViewMut::new(t, rows, m), values, Start::Zero);
            flown += keys_through_exp(t, &mut dk, e, keys, &buffers.ds, sizes.scale());
            back.multiply(&mut dk, View::new(t, rows, m), Start::Out);
        }
        right.recycle(device);
        turned.recycle(device);
        flown
    }
}
