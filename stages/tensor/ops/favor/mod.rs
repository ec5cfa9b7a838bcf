//! FAVOR+ attention with the softmax kernel (Choromanski et al. 2021), linear in the number of genes.
//!
//! Per cell and head, with d the width of a head, P the random features (one per row) and c = d^(-1/4):
//! φ(u)_j = exp(c u·P_j - c²|u|²/2 - M) + ε, out_i = φ(q_i)·Σ_n φ(k_n) v_nᵀ / φ(q_i)·Σ_n φ(k_n).
//! The factor m^(-1/2) of the paper cancels. M prevents exp from overflowing: for a query it is the largest c q·P_j of
//! its row, for keys the largest c k·P_j over the range set by [`Stabiliser`]. M does not cancel, because ε is added
//! afterwards.
//!
//! Backward, with S = Σ φ(k) vᵀ, s = Σ φ(k), D = φ(q)·s: dn = dout / D, dD = -dout·out / D,
//! dφ(q) = S dn + s dD, dS = Σ φ(q) dnᵀ, ds = Σ φ(q) dD, dφ(k) = dS v + ds, dv = dSᵀ φ(k); and from
//! t = dφ ∘ (φ - ε): du = c Pᵀ t - c² u Σt, while -Σt flows to M and from there to the element that M was taken from.
//! The backward pass recomputes the features: they are by far the largest intermediate, and recomputing costs less than
//! the memory to keep them.

mod cpu;
mod cuda;

use super::linear::linear;
use crate::matrix::View;
use crate::panels::Panels;
use crate::tape::{Tape, add_to, record_with_result};
use crate::{Tensor, buffer, shape, tensor, values};
use serde::{Deserialize, Serialize};

/// The range over which the largest projection of the keys is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stabiliser {
    /// Per cell and head: a cell's result is the same in any batch.
    #[default]
    Row,
    /// The whole batch, as in scBERT: a cell's result depends on the other cells of its batch, by up to .02 in tests.
    Batch,
}

/// How cells and heads are laid out in queries, keys and values.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The number of cells, each with as many rows as it has genes.
    pub cells: usize,
    /// The number of heads, side by side in the columns.
    pub heads: usize,
    /// The range of the keys' stabiliser.
    pub stabiliser: Stabiliser,
}

/// Attention from every gene of a cell to every gene of the same cell.
///
/// Prereq: `q`, `k` and `v` have one shape, cells times genes by heads times d; `features` is m x d.
pub fn favor<T: Tape>(
    q: Tensor<T>,
    k: Tensor<T>,
    v: Tensor<T>,
    features: &Tensor,
    layout: Layout,
) -> Tensor<T> {
    let (rows, columns) = shape(&q);
    assert!(shape(&k) == (rows, columns) && shape(&v) == (rows, columns), "the shapes of an attention");
    let (m, d) = shape(features);
    assert!(
        rows.is_multiple_of(layout.cells) && columns == layout.heads * d,
        "the cells and heads of an attention"
    );
    let (q, tape_q) = q.split_tape();
    let (k, tape_k) = k.split_tape();
    let (v, tape_v) = v.split_tape();
    let device = q.device().clone();
    if let Some(card) = device.card() {
        let tape = tape_q.merge(tape_k).merge(tape_v);
        return cuda::favor(card, [q, k, v], tape, features.clone(), layout);
    }
    let sizes = cpu::Sizes { genes: rows / layout.cells, layout, d, m };
    let projection = cpu::Projection::new(&device, values(features), sizes);
    let mut out = buffer::scratch(&device, rows * columns);
    let [of_q, of_k, of_v] = [&q, &k, &v].map(|tensor| cpu::Source::Made(values(tensor)));
    let sums = cpu::sum_keys(&device, sizes, &projection, of_k, of_v);
    cpu::query(&device, sizes, &projection, &sums, of_q, &mut out);
    // The backward pass needs the result's values; a second handle on them costs nothing.
    record_with_result(
        &device,
        tape_q.merge(tape_k).merge(tape_v),
        out,
        (rows, columns),
        move |flowing, out, gradients| {
            let forward = cpu::Forward {
                projection: &projection,
                sums: &sums,
                q: values(&q),
                k: values(&k),
                v: values(&v),
                out,
            };
            add_to(gradients, [&q, &k, &v], |outputs| {
                cpu::backward(q.device(), sizes, forward, flowing, outputs);
            });
        },
    )
}

/// The same, with queries, keys and values computed as x Wᵀ, each with its own W.
///
/// Without a tape each head computes its own, in blocks of genes, so that they never leave the cache. Prereq: `weights`
/// are heads times d x columns of x.
pub fn favor_of<T: Tape>(
    x: Tensor<T>,
    weights: [&Tensor; 3],
    features: &Tensor,
    layout: Layout,
) -> Tensor<T> {
    let (x, tape) = x.split_tape();
    let ((rows, columns), (m, d), device) = (shape(&x), shape(features), x.device().clone());
    if T::OWNS_TAPE || device.card().is_some() || !Panels::can_part(d) {
        let q = linear(x.clone().put_tape(tape), weights[0], None);
        let [k, v] = [weights[1], weights[2]].map(|weight| linear(x.retaped::<T>(), weight, None));
        return favor(q, k, v, features, layout);
    }
    let inner = layout.heads * d;
    assert!(weights.iter().all(|weight| shape(weight) == (inner, columns)), "the layers of an attention");
    assert!(rows.is_multiple_of(layout.cells), "the cells of an attention");
    let sizes = cpu::Sizes { genes: rows / layout.cells, layout, d, m };
    let projection = cpu::Projection::new(&device, values(features), sizes);
    let mut out = buffer::scratch(&device, rows * inner);
    let view = View::new(values(&x), rows, columns);
    let [q, k, v] = weights.map(|weight| cpu::Source::Layer { x: view, turned: weight.turned() });
    let sums = cpu::sum_keys(&device, sizes, &projection, k, v);
    cpu::query(&device, sizes, &projection, &sums, q, &mut out);
    tensor(&device, out, rows, inner).put_tape(tape)
}

#[cfg(test)]
mod tests {
    use super::{Layout, Stabiliser, favor, favor_of, linear};
    use crate::ops::gather::gather;
    use crate::tape::{backward, gradient};
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{Taped, Tensor, device, tensor, values};

    const CELLS: usize = 2;
    const HEADS: usize = 3;

    fn layout(stabiliser: Stabiliser) -> Layout {
        Layout { cells: CELLS, heads: HEADS, stabiliser }
    }

    /// The formula as written, in 64 bits, one gene at a time.
    fn expected([q, k, v]: [&[f32]; 3], features: &[f32], d: usize, stabiliser: Stabiliser) -> Vec<f32> {
        let columns = HEADS * d;
        let (rows, m) = (q.len() / columns, features.len() / d);
        let genes = rows / CELLS;
        let scale = (d as f64).powf(-0.25);
        let head = |u: &[f32], row: usize, head: usize| -> Vec<f64> {
            u[row * columns + head * d..][..d].iter().map(|u| f64::from(*u) * scale).collect()
        };
        let dot = |a: &[f64], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum() };
        let projected = |u: &[f64]| -> Vec<f64> { features.chunks(d).map(|p| dot(u, p)).collect() };
        let most = |values: &[f64]| values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let phi = |u: &[f64], most: f64| -> Vec<f64> {
            let half = u.iter().map(|u| u * u).sum::<f64>() / 2.0;
            projected(u).iter().map(|a| (a - half - most).exp() + 1e-4).collect()
        };
        let most_of_keys = |cells: std::ops::Range<usize>, heads: std::ops::Range<usize>| -> f64 {
            let rows = cells.start * genes..cells.end * genes;
            let each = rows.flat_map(|row| heads.clone().map(move |h| (row, h)));
            each.map(|(row, h)| most(&projected(&head(k, row, h)))).fold(f64::NEG_INFINITY, f64::max)
        };
        let mut out = vec![0.0; q.len()];
        for (cell, h) in (0..CELLS).flat_map(|cell| (0..HEADS).map(move |h| (cell, h))) {
            let most_of_keys = match stabiliser {
                Stabiliser::Row => most_of_keys(cell..cell + 1, h..h + 1),
                Stabiliser::Batch => most_of_keys(0..CELLS, 0..HEADS),
            };
            let genes = cell * genes..(cell + 1) * genes;
            let keys: Vec<Vec<f64>> = genes.clone().map(|row| phi(&head(k, row, h), most_of_keys)).collect();
            for row in genes.clone() {
                let query = head(q, row, h);
                let query = phi(&query, most(&projected(&query)));
                let weights: Vec<f64> =
                    keys.iter().map(|key| key.iter().zip(&query).map(|(a, b)| a * b).sum()).collect();
                let total: f64 = weights.iter().sum();
                for j in 0..d {
                    let value = |n: usize| f64::from(v[(genes.start + n) * columns + h * d + j]);
                    let sum: f64 = weights.iter().enumerate().map(|(n, weight)| weight * value(n)).sum();
                    out[row * columns + h * d + j] = (sum / total) as f32;
                }
            }
        }
        assert_eq!(m * d, features.len());
        out
    }

    #[test]
    fn what_heads_make_for_themselves_is_what_layers_make() {
        let (genes, width, d, m) = (70, 24, 32, 40);
        let device = device();
        let x = tensor(&device, normal(CELLS * genes * width, 0), CELLS * genes, width);
        let layer = |stream| tensor(&device, normal(HEADS * d * width, stream), HEADS * d, width);
        let (weights, features) = ([layer(1), layer(2), layer(3)], tensor(&device, normal(m * d, 4), m, d));
        for stabiliser in [Stabiliser::Row, Stabiliser::Batch] {
            let [q, k, v] = weights.each_ref().map(|weight| linear(x.clone(), weight, None));
            let apart = favor(q, k, v, &features, layout(stabiliser));
            let within = favor_of(x.clone(), weights.each_ref(), &features, layout(stabiliser));
            // Without AVX-512 the two ways use different products.
            assert!(difference(values(&within), values(&apart)) < 1e-4);
        }
    }

    #[test]
    fn values_are_those_of_the_formula() {
        let device = device();
        // 150 genes make more than one block, with the last one incomplete.
        let (genes, d, m) = (150, 8, 16);
        let (rows, columns) = (CELLS * genes, HEADS * d);
        let [q, k, v] = [0, 1, 2].map(|stream| normal(rows * columns, stream));
        let features = normal(m * d, 3);
        for stabiliser in [Stabiliser::Row, Stabiliser::Batch] {
            let expected = expected([&q, &k, &v], &features, d, stabiliser);
            let [q, k, v] = [&q, &k, &v].map(|u| tensor(&device, u.clone(), rows, columns));
            let found = favor(q, k, v, &tensor(&device, features.clone(), m, d), layout(stabiliser));
            // Means of values of size 1, weighted by sums of 16 products.
            let error = difference(values(&found), &expected);
            assert!(error < 2e-6, "{stabiliser:?}: {error}");
        }
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let (genes, d, m) = (5, 4, 6);
        let features = tensor(&device(), normal(m * d, 3), m, d);
        for stabiliser in [Stabiliser::Row, Stabiliser::Batch] {
            check_gradients(&[(CELLS * genes, HEADS * d); 3], 5e-3, |t| {
                let [q, k, v] = [0, 1, 2].map(|i| t[i].retaped());
                weighted_sum(favor(q, k, v, &features, layout(stabiliser)))
            });
        }
    }

    #[test]
    fn gradients_of_more_than_one_block_are_those_of_one() {
        // Duplicating every gene of a cell does not change attention: the sums over keys double in numerator and
        // denominator. Both copies are inputs of the same loss, so their gradients add up to those of the single cell.
        let device = device();
        let (genes, d, m) = (100, 4, 6);
        let features = tensor(&device, normal(m * d, 3), m, d);
        let layout = Layout { cells: 1, heads: 1, stabiliser: Stabiliser::Row };
        let first: Vec<u32> = (0..genes as u32).collect();
        let gradients_of = |copies: usize| -> [Vec<f32>; 3] {
            let tensors: [Tensor; 3] = [0, 1, 2]
                .map(|stream| tensor(&device, normal(genes * d, stream).repeat(copies), copies * genes, d));
            let [q, k, v] = tensors.each_ref().map(Tensor::retaped::<Taped>);
            let loss = weighted_sum(gather(favor(q, k, v, &features, layout), &first));
            let mut gradients = backward(loss);
            tensors.map(|t| {
                let each = gradient(&mut gradients, &t);
                (0..genes * d).map(|i| each.iter().skip(i).step_by(genes * d).sum()).collect()
            })
        };
        for (once, twice) in gradients_of(1).iter().zip(&gradients_of(2)) {
            // Sums of a hundred terms of size 1.
            assert!(difference(once, twice) < 1e-5);
        }
    }
}
