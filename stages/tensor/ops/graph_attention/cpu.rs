//! Attention over neighbours on the processor.

use super::Attention;
use crate::graph::{Graph, Lists};
use crate::ops::dropout;
use crate::reduce::{add, add_column_sums};
use crate::simd::{dot, exp, vectorised};
use rayon::prelude::*;
use std::borrow::Cow;

/// Nodes per task where all nodes take equal work; sums over tasks are added in order.
const NODES: usize = 256;

/// The contributions of both ends of an edge to its attention score before the leaky ReLU, per node and head.
#[derive(Clone, Copy)]
pub struct Scores<'a> {
    pub from: &'a [f32],
    pub to: &'a [f32],
}

/// scores_nh = a_h · h_nh.
pub fn scores(scores: &mut [f32], h: &[f32], a: &[f32], heads: usize) {
    let columns = a.len();
    scores
        .par_chunks_mut(NODES * heads)
        .zip(h.par_chunks(NODES * columns))
        .for_each(|(scores, h)| scores_piece(scores, h, a, heads));
}

/// dh_nh += slopes_nh a_h and da_h += Σ_n slopes_nh h_nh.
pub fn scores_backward(dh: &mut [f32], da: &mut [f32], slopes: &[f32], h: &[f32], a: &[f32], heads: usize) {
    let columns = a.len();
    let sums: Vec<Vec<f32>> = dh
        .par_chunks_mut(NODES * columns)
        .zip(h.par_chunks(NODES * columns))
        .zip(slopes.par_chunks(NODES * heads))
        .map(|((dh, h), slopes)| {
            let mut sums = vec![0.0; columns];
            scores_backward_piece(dh, &mut sums, slopes, h, a, heads);
            sums
        })
        .collect();
    sums.iter().for_each(|sums| add(da, sums));
}

/// Fills in α of every edge.
pub fn softmax(alpha: &mut [f32], graph: &Graph, from: &[f32], to: &[f32], attention: Attention) {
    let lists = graph.heard();
    let pieces = lists.cut_entries(alpha, attention.heads).into_par_iter().zip(lists.pieces());
    pieces.for_each(|(alpha, piece)| {
        softmax_piece(alpha, piece.start, piece.end, lists, Scores { from, to }, attention);
    });
}

/// α after dropout.
pub fn drop(alpha: &[f32], (rate, key): (f32, u64)) -> Cow<'_, [f32]> {
    if rate == 0.0 {
        return Cow::Borrowed(alpha);
    }
    let mut kept = vec![0.0; alpha.len()];
    dropout::add_kept(&mut kept, alpha, rate, key);
    Cow::Owned(kept)
}

/// Fills in de of every edge, and its sums over each node's incoming edges.
#[expect(clippy::too_many_arguments, reason = "all of them are read in the innermost loop")]
pub fn slopes(
    slopes: &mut [f32],
    to_slopes: &mut [f32],
    alpha: &[f32],
    scores: Scores,
    h: &[f32],
    dy: &[f32],
    graph: &Graph,
    attention: Attention,
) {
    let lists = graph.heard();
    let heads = attention.heads;
    lists
        .cut_entries(slopes, heads)
        .into_par_iter()
        .zip(lists.pieces())
        .for_each(|(slopes, piece)| products_piece(slopes, piece.start, piece.end, lists, h, dy, heads));
    if attention.dropout.0 > 0.0 {
        let products = slopes.to_vec();
        slopes.fill(0.0);
        dropout::add_kept(slopes, &products, attention.dropout.0, attention.dropout.1);
    }
    lists
        .cut_entries(slopes, heads)
        .into_par_iter()
        .zip(lists.cut_nodes(to_slopes, heads))
        .zip(lists.pieces())
        .for_each(|((slopes, to_slopes), piece)| {
            slopes_piece(slopes, to_slopes, piece.start, lists, alpha, scores, attention);
        });
}

/// sums_nh += Σ values over the entries of node n.
pub fn sum_heads(sums: &mut [f32], values: &[f32], lists: &Lists, heads: usize) {
    lists.cut_nodes(sums, heads).into_par_iter().zip(lists.pieces()).for_each(|(sums, piece)| {
        for (node, sums) in piece.clone().zip(sums.chunks_exact_mut(heads)) {
            let range = lists.range(node);
            for values in values[range.start * heads..range.end * heads].chunks_exact(heads) {
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    });
}

/// Sets nodes without neighbours to the mean over all nodes.
pub fn hear_everyone(y: &mut [f32], h: &[f32], graph: &Graph) {
    let nodes = graph.nodes();
    let mut mean = vec![0.0; y.len() / nodes.max(1)];
    add_column_sums(&mut mean, h);
    mean.iter_mut().for_each(|mean| *mean /= nodes as f32);
    for node in (0..nodes).filter(|node| graph.heard().degree(*node) == 0) {
        y[node * mean.len()..][..mean.len()].copy_from_slice(&mean);
    }
}

/// Adds the gradient of that mean.
pub fn hear_everyone_backward(dh: &mut [f32], dy: &[f32], graph: &Graph) {
    let nodes = graph.nodes();
    let mut sum = vec![0.0; dy.len() / nodes.max(1)];
    for node in (0..nodes).filter(|node| graph.heard().degree(*node) == 0) {
        let columns = sum.len();
        add(&mut sum, &dy[node * columns..][..columns]);
    }
    sum.iter_mut().for_each(|sum| *sum /= nodes as f32);
    dh.par_chunks_mut(sum.len().max(1)).with_min_len(NODES).for_each(|dh| add(dh, &sum));
}

vectorised! {
    fn scores_piece(scores: &mut [f32], h: &[f32], a: &[f32], heads: usize) {
        let width = a.len() / heads;
        for (scores, h) in scores.chunks_exact_mut(heads).zip(h.chunks_exact(a.len())) {
            for ((score, h), a) in scores.iter_mut().zip(h.chunks_exact(width)).zip(a.chunks_exact(width)) {
                *score = dot(h, a);
            }
        }
    }
}

vectorised! {
    fn scores_backward_piece(
        dh: &mut [f32], da: &mut [f32], slopes: &[f32], h: &[f32], a: &[f32], heads: usize,
    ) {
        let (columns, width) = (a.len(), a.len() / heads);
        let nodes = dh.chunks_exact_mut(columns).zip(h.chunks_exact(columns)).zip(slopes.chunks_exact(heads));
        for ((dh, h), slopes) in nodes {
            for (head, slope) in slopes.iter().enumerate() {
                let part = head * width..(head + 1) * width;
                for (dh, a) in dh[part.clone()].iter_mut().zip(&a[part.clone()]) {
                    *dh += slope * a;
                }
                for (da, h) in da[part.clone()].iter_mut().zip(&h[part]) {
                    *da += slope * h;
                }
            }
        }
    }
}

vectorised! {
    fn softmax_piece(
        alpha: &mut [f32], first: usize, after: usize, lists: &Lists, scores: Scores, attention: Attention,
    ) {
        let heads = attention.heads;
        let start = lists.range(first).start;
        let mut most = vec![0.0f32; heads];
        for node in first..after {
            let range = lists.range(node);
            let neighbours = &lists.neighbours()[range.clone()];
            let alpha = &mut alpha[(range.start - start) * heads..(range.end - start) * heads];
            let to = &scores.to[node * heads..][..heads];
            most.fill(f32::NEG_INFINITY);
            for (alpha, heard) in alpha.chunks_exact_mut(heads).zip(neighbours) {
                let from = &scores.from[*heard as usize * heads..][..heads];
                for (((alpha, from), to), most) in alpha.iter_mut().zip(from).zip(to).zip(&mut most) {
                    let e = from + to;
                    *alpha = if e > 0.0 { e } else { attention.slope * e };
                    *most = most.max(*alpha);
                }
            }
            for alpha in alpha.chunks_exact_mut(heads) {
                alpha.iter_mut().zip(&most).for_each(|(alpha, most)| *alpha -= most);
            }
            alpha.iter_mut().for_each(|alpha| *alpha = exp(*alpha));
            let totals = &mut most;
            totals.fill(0.0);
            for alpha in alpha.chunks_exact(heads) {
                totals.iter_mut().zip(alpha).for_each(|(total, alpha)| *total += alpha);
            }
            totals.iter_mut().for_each(|total| *total = 1.0 / *total);
            for alpha in alpha.chunks_exact_mut(heads) {
                alpha.iter_mut().zip(&*totals).for_each(|(alpha, factor)| *alpha *= factor);
            }
        }
    }
}

vectorised! {
    fn products_piece(
        products: &mut [f32], first: usize, after: usize, lists: &Lists, h: &[f32], dy: &[f32], heads: usize,
    ) {
        let columns = h.len() / lists.nodes();
        let width = columns / heads;
        let start = lists.range(first).start;
        for node in first..after {
            let range = lists.range(node);
            let dy = &dy[node * columns..][..columns];
            let products = &mut products[(range.start - start) * heads..(range.end - start) * heads];
            let neighbours = &lists.neighbours()[range];
            for (products, heard) in products.chunks_exact_mut(heads).zip(neighbours) {
                let h = &h[*heard as usize * columns..][..columns];
                let parts = dy.chunks_exact(width).zip(h.chunks_exact(width));
                products.iter_mut().zip(parts).for_each(|(product, (dy, h))| *product = dot(dy, h));
            }
        }
    }
}

vectorised! {
    fn slopes_piece(
        slopes: &mut [f32], to_slopes: &mut [f32], first: usize, lists: &Lists, alpha: &[f32], scores: Scores,
        attention: Attention,
    ) {
        let heads = attention.heads;
        let start = lists.range(first).start;
        let mut mean = vec![0.0f32; heads];
        for (node, to_slopes) in (first..).zip(to_slopes.chunks_exact_mut(heads)) {
            let range = lists.range(node);
            let neighbours = &lists.neighbours()[range.clone()];
            let alpha = &alpha[range.start * heads..range.end * heads];
            let slopes = &mut slopes[(range.start - start) * heads..(range.end - start) * heads];
            mean.fill(0.0);
            for (alpha, slopes) in alpha.chunks_exact(heads).zip(slopes.chunks_exact(heads)) {
                for ((mean, alpha), slope) in mean.iter_mut().zip(alpha).zip(slopes) {
                    *mean += alpha * slope;
                }
            }
            let to = &scores.to[node * heads..][..heads];
            let edges = slopes.chunks_exact_mut(heads).zip(alpha.chunks_exact(heads)).zip(neighbours);
            for ((slopes, alpha), heard) in edges {
                let from = &scores.from[*heard as usize * heads..][..heads];
                for head in 0..heads {
                    let leaky = if from[head] + to[head] > 0.0 { 1.0 } else { attention.slope };
                    slopes[head] = alpha[head] * (slopes[head] - mean[head]) * leaky;
                    to_slopes[head] += slopes[head];
                }
            }
        }
    }
}
