//! Attention pooling on the processor.

use crate::simd::{dot, exp, vectorised};
use rayon::prelude::*;

/// The attention weight of each member within its group.
pub fn attention(scores: &[f32], starts: &[usize]) -> Vec<f32> {
    let groups = starts.par_windows(2).map(|group| softmax(&scores[group[0]..group[1]]));
    groups.collect::<Vec<_>>().concat()
}

/// y_g += Σ a_c h_c.
pub fn forward(y: &mut [f32], shares: &[f32], vectors: &[f32], starts: &[usize]) {
    let columns = (y.len() / (starts.len() - 1).max(1)).max(1);
    y.par_chunks_mut(columns).zip(starts.par_windows(2)).for_each(|(y, group)| {
        let members = group[0]..group[1];
        add_members(y, &shares[members.clone()], &vectors[members.start * columns..members.end * columns]);
    });
}

/// The gradients of the scores.
pub fn backward(shares: &[f32], vectors: &[f32], dy: &[f32], starts: &[usize]) -> Vec<f32> {
    let columns = (dy.len() / (starts.len() - 1).max(1)).max(1);
    let groups = dy.par_chunks(columns).zip(starts.par_windows(2)).map(|(dy, group)| {
        let members = group[0]..group[1];
        slopes(dy, &shares[members.clone()], &vectors[members.start * columns..members.end * columns])
    });
    groups.collect::<Vec<_>>().concat()
}

/// dh_c += a_c dy.
pub fn backward_to_vectors(dh: &mut [f32], shares: &[f32], dy: &[f32], starts: &[usize]) {
    let columns = (dy.len() / (starts.len() - 1).max(1)).max(1);
    let mut rest = dh;
    let mut groups = Vec::with_capacity(starts.len() - 1);
    for group in starts.windows(2) {
        let (own, others) = rest.split_at_mut((group[1] - group[0]) * columns);
        groups.push((own, &shares[group[0]..group[1]]));
        rest = others;
    }
    groups.into_par_iter().zip(dy.par_chunks(columns)).for_each(|((dh, shares), dy)| {
        for (dh, share) in dh.chunks_exact_mut(columns).zip(shares) {
            dh.iter_mut().zip(dy).for_each(|(dh, dy)| *dh += share * dy);
        }
    });
}

vectorised! {
    fn softmax(scores: &[f32]) -> Vec<f32> {
        let most = scores.iter().fold(f32::NEG_INFINITY, |most, score| most.max(*score));
        let mut shares: Vec<f32> = scores.iter().map(|score| exp(score - most)).collect();
        let total: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total);
        shares
    }
}

vectorised! {
    fn add_members(y: &mut [f32], shares: &[f32], vectors: &[f32]) {
        for (share, vector) in shares.iter().zip(vectors.chunks_exact(y.len())) {
            y.iter_mut().zip(vector).for_each(|(y, h)| *y += share * h);
        }
    }
}

vectorised! {
    fn slopes(dy: &[f32], shares: &[f32], vectors: &[f32]) -> Vec<f32> {
        let along: Vec<f32> = vectors.chunks_exact(dy.len()).map(|h| dot(dy, h)).collect();
        let mean = dot(&along, shares);
        along.iter().zip(shares).map(|(along, share)| share * (along - mean)).collect()
    }
}
