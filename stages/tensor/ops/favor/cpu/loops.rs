//! The loops of FAVOR+ other than matrix products, one block of genes at a time.

use super::EPSILON;
use crate::matrix::{View, ViewMut};
use crate::simd::{dot, exp, largest, map, place_of, sum_of, vectorised};

vectorised! {
    pub fn largest_of(values: &[f32]) -> f32 {
        largest(values)
    }
}

vectorised! {
    /// sums += each row.
    pub fn add_rows(sums: &mut [f32], rows: View) {
        for row in 0..rows.rows() {
            for (sum, value) in sums.iter_mut().zip(rows.row(row)) {
                *sum += value;
            }
        }
    }
}

vectorised! {
    /// Rescales from the largest projection of a task to the overall one, and adds ε to each feature of each key.
    pub fn finish_sums(s_matrix: &mut [f32], s: &mut [f32], total_v: &[f32], factor: f32, genes: f32) {
        for (row, s) in s_matrix.chunks_exact_mut(total_v.len()).zip(s) {
            for (sum, total_v) in row.iter_mut().zip(total_v) {
                *sum = *sum * factor + EPSILON * total_v;
            }
            *s = *s * factor + EPSILON * genes;
        }
    }
}

vectorised! {
    /// Replaces projections by exp(projection - c²|u|²/2 - M).
    pub fn exponentials(e: &mut [f32], u: View, most: f32, scale: f32) {
        let columns = e.len() / u.rows();
        for (row, e) in e.chunks_exact_mut(columns).enumerate() {
            let shift = 0.5 * scale * dot(u.row(row), u.row(row)) + most;
            map(e, |e| exp(e - shift));
        }
    }
}

vectorised! {
    /// Replaces projections by φ(q), and fills `totals` with φ(q)·s.
    pub fn query_features(phi: &mut [f32], totals: &mut [f32], q: View, s: &[f32], scale: f32) {
        // Separate loops, so that rows need not wait for one another's sums.
        for (row, (phi, shift)) in phi.chunks_exact(s.len()).zip(&mut *totals).enumerate() {
            *shift = 0.5 * scale * dot(q.row(row), q.row(row)) + largest(phi);
        }
        for (phi, shift) in phi.chunks_exact_mut(s.len()).zip(&*totals) {
            map(phi, |e| exp(e - shift) + EPSILON);
        }
        for (phi, total) in phi.chunks_exact(s.len()).zip(totals) {
            *total = dot(phi, s);
        }
    }
}

vectorised! {
    /// Divides each row by its total.
    pub fn divide_rows(rows: &mut ViewMut, totals: &[f32]) {
        for (row, total) in (0..rows.rows()).zip(totals) {
            let part = 1.0 / total;
            rows.row(row).iter_mut().for_each(|value| *value *= part);
        }
    }
}

vectorised! {
    /// Replaces projections by exponentials. Fills in dn and, per row, dD and the feature that M was taken from. Adds Σ
    /// e dD to ds.
    pub fn query_divide(
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

/// Computes t = (t + factor · s) ∘ e for a row; returns Σ t.
#[inline(always)]
fn through_exp(t: &mut [f32], e: &[f32], s: &[f32], factor: f32) -> f32 {
    for ((t, e), s) in t.iter_mut().zip(e).zip(s) {
        *t = (*t + factor * s) * e;
    }
    sum_of(t, t, |t, _| t)
}

/// du -= c² u Σt, for a row.
#[inline(always)]
fn through_length(du: &mut [f32], u: &[f32], factor: f32) {
    for (du, u) in du.iter_mut().zip(u) {
        *du -= factor * u;
    }
}

vectorised! {
    /// Turns dφ of queries, without the contribution of D, into t, and adds the gradient of the length term to dq.
    pub fn queries_through_exp(
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
    /// Turns dφ of keys, without ds, into t, and adds the gradient of the length term to dk. Returns Σ t.
    pub fn keys_through_exp(t: &mut [f32], dk: &mut ViewMut, e: View, k: View, ds: &[f32], scale: f32) -> f32 {
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
    /// Adds `values` to each row.
    pub fn add_to_rows(rows: &mut ViewMut, values: &[f32]) {
        for row in 0..rows.rows() {
            for (sum, value) in rows.row(row).iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
}
