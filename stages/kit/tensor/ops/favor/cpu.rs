//! FAVOR+ attention on the processor.
//!
//! One task computes one head of one cell, gene block by gene block, so that features stay in the second-level
//! cache and memory does not grow with the number of genes beyond what goes in and out.

use super::{Layout, Stabiliser};
use crate::kit::tensor::matrix::{View, ViewMut};
use crate::kit::tensor::panels::{Panels, Start};
use crate::kit::tensor::simd::{dot, exp, largest, map, place_of, sum_of, vectorised};
use crate::kit::tensor::{Device, buffer};
use rayon::prelude::*;

/// The genes of one block: two tiles of a product, whose 266 features stay in the first-level cache.
const BLOCK: usize = 28;

/// scBERT's ε.
const EPSILON: f32 = 1e-4;

/// What the kernels must know of the shapes.
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

    /// The heads of all cells, in the order of tasks.
    fn tasks<'a>(&self, data: &'a mut [f32]) -> Vec<ViewMut<'a>> {
        let Layout { cells, heads, .. } = self.layout;
        ViewMut::new(data, cells * self.genes, heads * self.d).tiles(self.genes, self.d)
    }

    fn blocks(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let genes = self.genes;
        (0..genes).step_by(BLOCK).map(move |first| first..genes.min(first + BLOCK))
    }

    /// c²: c itself is in the projection.
    fn scale(&self) -> f32 {
        1.0 / (self.d as f32).sqrt()
    }

    /// S, s and Σ v of a task, side by side.
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
    /// The task, gene and feature each M was taken from; one for a batch, else one a task.
    sources: Vec<(usize, usize, usize)>,
}

impl Drop for Sums {
    fn drop(&mut self) {
        buffer::recycle(&self.device, std::mem::take(&mut self.values));
    }
}

/// What the way back needs of the way there.
pub struct Forward<'a> {
    pub projection: &'a Projection,
    pub sums: &'a Sums,
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub out: &'a [f32],
}

/// c P, row after row and as a right factor transposed.
pub struct Projection {
    rows: Vec<f32>,
    turned: Panels,
}

impl Projection {
    /// From P.
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
pub fn sum_keys(device: &Device, sizes: Sizes, projection: &Projection, k: &[f32], v: &[f32]) -> Sums {
    let tasks = sizes.layout.cells * sizes.layout.heads;
    let mut values = buffer::zeros(device, tasks * sizes.sums());
    let found: Vec<(f32, usize, usize)> = values
        .par_chunks_mut(sizes.sums())
        .enumerate()
        .map(|(task, sums)| {
            sum_task(device, sizes, projection, sizes.task(k, task), sizes.task(v, task), sums)
        })
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

/// Sums exp(c k·P_j - c²|k|²/2 - M) without ε, M being the largest projection of the task, and says where it was.
///
/// M is not known before the last block, so sums are scaled down when a larger one comes.
fn sum_task(
    device: &Device,
    sizes: Sizes,
    projection: &Projection,
    k: View,
    v: View,
    sums: &mut [f32],
) -> (f32, usize, usize) {
    let Sizes { d, m, .. } = sizes;
    let mut scratch = buffer::scratch(device, BLOCK * m);
    let mut found = (f32::NEG_INFINITY, 0, 0);
    for block in sizes.blocks() {
        let rows = block.len();
        let (keys, values) = (k.part(block.clone(), 0..d), v.part(block.clone(), 0..d));
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
    buffer::recycle(device, scratch);
    found
}

/// Scales all but Σ v.
fn scale(sums: &mut [f32], sizes: &Sizes, factor: f32) {
    sums[..sizes.m * sizes.d + sizes.m].iter_mut().for_each(|sum| *sum *= factor);
}

/// out = φ(q)·S / φ(q)·s.
pub fn query(
    device: &Device,
    sizes: Sizes,
    projection: &Projection,
    sums: &Sums,
    q: &[f32],
    out: &mut [f32],
) {
    let Sizes { d, m, .. } = sizes;
    sizes.tasks(out).into_par_iter().enumerate().for_each(|(task, mut out)| {
        let q = sizes.task(q, task);
        let (s_matrix, s) = sums.values[task * sizes.sums()..][..m * d + m].split_at(m * d);
        let s_matrix = Panels::new(device, View::new(s_matrix, m, d));
        let mut scratch = buffer::scratch(device, BLOCK * m);
        for block in sizes.blocks() {
            let rows = block.len();
            let queries = q.part(block.clone(), 0..d);
            let phi = &mut scratch[..rows * m];
            projection.project(phi, queries);
            let mut totals = [0.0; BLOCK];
            query_features(phi, &mut totals[..rows], queries, s, sizes.scale());
            let mut out = out.part(block, 0..d);
            s_matrix.multiply(&mut out, View::new(phi, rows, m), Start::Zero);
            divide_rows(&mut out, &totals);
        }
        buffer::recycle(device, scratch);
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
    // What flowed to M goes to the key that it was taken from.
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

/// The scratch of one task on the way back.
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

/// One head of one cell on the way back.
struct Task<'a> {
    device: &'a Device,
    sizes: Sizes,
    forward: &'a Forward<'a>,
    /// c P as a right factor.
    back: &'a Panels,
    number: usize,
}

impl Task<'_> {
    /// dq, dS and ds.
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

    /// dk and dv, and what flows to minus M.
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

vectorised! {
    fn largest_of(values: &[f32]) -> f32 {
        largest(values)
    }
}

vectorised! {
    /// sums += each row.
    fn add_rows(sums: &mut [f32], rows: View) {
        for row in 0..rows.rows() {
            for (sum, value) in sums.iter_mut().zip(rows.row(row)) {
                *sum += value;
            }
        }
    }
}

vectorised! {
    /// Scales from the largest projection of a task to that of all, and adds ε to each feature of each key.
    fn finish_sums(s_matrix: &mut [f32], s: &mut [f32], total_v: &[f32], factor: f32, genes: f32) {
        for (row, s) in s_matrix.chunks_exact_mut(total_v.len()).zip(s) {
            for (sum, total_v) in row.iter_mut().zip(total_v) {
                *sum = *sum * factor + EPSILON * total_v;
            }
            *s = *s * factor + EPSILON * genes;
        }
    }
}

vectorised! {
    /// Projections become exp(projection - c²|u|²/2 - M).
    fn exponentials(e: &mut [f32], u: View, most: f32, scale: f32) {
        let columns = e.len() / u.rows();
        for (row, e) in e.chunks_exact_mut(columns).enumerate() {
            let shift = 0.5 * scale * dot(u.row(row), u.row(row)) + most;
            map(e, |e| exp(e - shift));
        }
    }
}

vectorised! {
    /// Projections become φ(q), totals φ(q)·s.
    fn query_features(phi: &mut [f32], totals: &mut [f32], q: View, s: &[f32], scale: f32) {
        for (row, (phi, total)) in phi.chunks_exact_mut(s.len()).zip(totals).enumerate() {
            let shift = 0.5 * scale * dot(q.row(row), q.row(row)) + largest(phi);
            map(phi, |e| exp(e - shift) + EPSILON);
            *total = dot(phi, s);
        }
    }
}

vectorised! {
    /// Each row is divided by its total.
    fn divide_rows(rows: &mut ViewMut, totals: &[f32]) {
        for (row, total) in (0..rows.rows()).zip(totals) {
            let part = 1.0 / total;
            rows.row(row).iter_mut().for_each(|value| *value *= part);
        }
    }
}

vectorised! {
    /// Projections become exponentials; fills dn, and per row dD with the feature that M was taken from; adds
    /// Σ e dD to ds.
    fn query_divide(
        e: &mut [f32],
        dn: &mut [f32],
        per_row: &mut [(f32, usize)],
        inputs: [View; 3],
        s: &[f32],
        ds: &mut [f32],
        scale: f32,
    ) {
        let [q, out, flowing] = inputs;
        let constant = EPSILON * sum_of(s, s, |s, _| s);
        let rows = e.chunks_exact_mut(s.len()).zip(dn.chunks_exact_mut(q.columns()));
        for (row, ((e, dn), per_row)) in rows.zip(per_row).enumerate() {
            let most = largest(e);
            let source = place_of(most, e);
            let shift = 0.5 * scale * dot(q.row(row), q.row(row)) + most;
            map(e, |e| exp(e - shift));
            let part = 1.0 / (dot(e, s) + constant);
            for (dn, flowing) in dn.iter_mut().zip(flowing.row(row)) {
                *dn = flowing * part;
            }
            let dd = -dot(flowing.row(row), out.row(row)) * part;
            for (ds, e) in ds.iter_mut().zip(&*e) {
                *ds += dd * e;
            }
            *per_row = (dd, source);
        }
    }
}

/// t = (t + factor · s) ∘ e of a row; returns Σ t.
#[inline(always)]
fn through_exp(t: &mut [f32], e: &[f32], s: &[f32], factor: f32) -> f32 {
    for ((t, e), s) in t.iter_mut().zip(e).zip(s) {
        *t = (*t + factor * s) * e;
    }
    sum_of(t, t, |t, _| t)
}

/// du -= c² u Σt of a row.
#[inline(always)]
fn through_length(du: &mut [f32], u: &[f32], factor: f32) {
    for (du, u) in du.iter_mut().zip(u) {
        *du -= factor * u;
    }
}

vectorised! {
    /// dφ of queries, without what comes from D, becomes t; what t does to lengths is added to dq.
    fn queries_through_exp(
        t: &mut [f32],
        dq: &mut ViewMut,
        e: View,
        q: View,
        s: &[f32],
        per_row: &[(f32, usize)],
        scale: f32,
    ) {
        for (row, (t, (dd, source))) in t.chunks_exact_mut(s.len()).zip(per_row).enumerate() {
            let total = through_exp(t, e.row(row), s, *dd);
            t[*source] -= total;
            through_length(dq.row(row), q.row(row), scale * total);
        }
    }
}

vectorised! {
    /// dφ of keys, without ds, becomes t; what t does to lengths is added to dk. Returns Σ t.
    fn keys_through_exp(t: &mut [f32], dk: &mut ViewMut, e: View, k: View, ds: &[f32], scale: f32) -> f32 {
        let mut flown = 0.0;
        for (row, t) in t.chunks_exact_mut(ds.len()).enumerate() {
            let total = through_exp(t, e.row(row), ds, 1.0);
            through_length(dk.row(row), k.row(row), scale * total);
            flown += total;
        }
        flown
    }
}

vectorised! {
    /// Each row += values.
    fn add_to_rows(rows: &mut ViewMut, values: &[f32]) {
        for row in 0..rows.rows() {
            for (sum, value) in rows.row(row).iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
}
