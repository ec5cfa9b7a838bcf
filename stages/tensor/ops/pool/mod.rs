//! Attention pooling of a group's vectors: y_g = Σ_c a_c h_c, a = softmax of the scores of the group's members.
//!
//! Backward: ds_c = a_c (dy · h_c - Σ_k a_k dy · h_k). If the encoder that made h is trained too, dh_c = a_c dy.

mod cpu;
mod cuda;

use crate::tape::{Tape, put, record, take};
use crate::{Gradients, Tensor, buffer, shape, values};
use std::sync::Arc;

pub use cpu::attention;

/// One vector per group; zeros for an empty group.
///
/// `starts` has where each group begins, followed by the end of the last one. Prereq: `scores` has one column, and a
/// row for each row of `vectors`.
pub fn pool<T: Tape>(scores: Tensor<T>, vectors: Tensor<T>, starts: &Arc<Vec<usize>>) -> Tensor<T> {
    let (scores, tape) = scores.split_tape();
    let (vectors, other) = vectors.split_tape();
    check(&scores, &vectors, starts);
    if let Some(card) = scores.device().clone().card() {
        return cuda::pool(card, scores, vectors, starts, tape.merge(other), false);
    }
    let pooled = Pooled::new(scores, vectors, starts);
    let (y, size) = pooled.forward();
    record(&pooled.scores.device().clone(), tape.merge(other), y, size, move |flowing, gradients| {
        let mut dh = take(gradients, &pooled.vectors);
        cpu::backward_to_vectors(&mut dh, &pooled.shares, flowing, &pooled.starts);
        put(gradients, &pooled.vectors, dh);
        pooled.backward_to_scores(flowing, gradients);
    })
}

/// The same for vectors that need no gradient.
pub fn pool_of_constant<T: Tape>(scores: Tensor<T>, vectors: &Tensor, starts: &Arc<Vec<usize>>) -> Tensor<T> {
    let (scores, tape) = scores.split_tape();
    check(&scores, vectors, starts);
    if let Some(card) = scores.device().clone().card() {
        return cuda::pool(card, scores, vectors.clone(), starts, tape, true);
    }
    let pooled = Pooled::new(scores, vectors.clone(), starts);
    let (y, size) = pooled.forward();
    record(&pooled.scores.device().clone(), tape, y, size, move |flowing, gradients| {
        pooled.backward_to_scores(flowing, gradients);
    })
}

fn check(scores: &Tensor, vectors: &Tensor, starts: &[usize]) {
    let rows = shape(vectors).0;
    assert!(shape(scores) == (rows, 1) && starts.last() == Some(&rows), "a score for each vector");
}

struct Pooled {
    scores: Tensor,
    vectors: Tensor,
    shares: Vec<f32>,
    starts: Arc<Vec<usize>>,
}

impl Pooled {
    fn new(scores: Tensor, vectors: Tensor, starts: &Arc<Vec<usize>>) -> Pooled {
        let shares = attention(values(&scores), starts);
        Pooled { scores, vectors, shares, starts: starts.clone() }
    }

    fn forward(&self) -> (Vec<f32>, (usize, usize)) {
        let size = (self.starts.len() - 1, shape(&self.vectors).1);
        let mut y = buffer::zeros(self.scores.device(), size.0 * size.1);
        cpu::forward(&mut y, &self.shares, values(&self.vectors), &self.starts);
        (y, size)
    }

    fn backward_to_scores(&self, flowing: &[f32], gradients: &mut Gradients) {
        let slopes = cpu::backward(&self.shares, values(&self.vectors), flowing, &self.starts);
        let mut ds = take(gradients, &self.scores);
        ds.iter_mut().zip(slopes).for_each(|(ds, slope)| *ds += slope);
        put(gradients, &self.scores, ds);
    }
}

#[cfg(test)]
mod tests {
    use super::{attention, pool, pool_of_constant};
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{device, tensor, values};
    use std::sync::Arc;

    #[test]
    fn a_group_is_the_mean_that_its_scores_weigh() {
        let device = device();
        let starts = Arc::new(vec![0, 2, 2, 3]);
        let scores = tensor(&device, vec![0.0, 3f32.ln(), 5.0], 3, 1);
        let vectors = tensor(&device, vec![4.0, 0.0, 0.0, 8.0, 1.0, 2.0], 3, 2);
        assert!(difference(&attention(values(&scores), &starts), &[0.25, 0.75, 1.0]) < 1e-6);
        let pooled = pool_of_constant(scores, &vectors, &starts);
        assert!(difference(values(&pooled), &[1.0, 6.0, 0.0, 0.0, 1.0, 2.0]) < 1e-5);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let vectors = tensor(&device(), normal(7 * 20, 9), 7, 20);
        let starts = Arc::new(vec![0, 4, 4, 7]);
        check_gradients(&[(7, 1)], 2e-3, |t| {
            weighted_sum(pool_of_constant(t[0].retaped(), &vectors, &starts))
        });
        let sizes = [(7, 1), (7, 20)];
        check_gradients(&sizes, 2e-3, |t| weighted_sum(pool(t[0].retaped(), t[1].retaped(), &starts)));
    }
}
