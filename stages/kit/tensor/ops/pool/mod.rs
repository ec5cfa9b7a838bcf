//! Vectors of a group pooled by attention: y_g = Σ_c a_c h_c, a = softmax of the scores of the group's members.
//!
//! The vectors are given and need no gradient: they come from an encoder that is frozen.
//! Backward: ds_c = a_c (dy · h_c - Σ_k a_k dy · h_k).

mod cpu;

use crate::kit::tensor::tape::{Tape, put, record, take};
use crate::kit::tensor::{Tensor, buffer, shape, values};
use std::sync::Arc;

pub use cpu::attention;

/// One vector for each group; zeros for one without members.
///
/// `starts` has where each group begins, and the end of the last one. Prereq: one score, in one column, for each
/// row of `vectors`.
pub fn pool<T: Tape>(scores: Tensor<T>, vectors: &Tensor, starts: &Arc<Vec<usize>>) -> Tensor<T> {
    let (rows, columns) = shape(vectors);
    assert!(shape(&scores) == (rows, 1) && starts.last() == Some(&rows), "a score for each vector");
    let groups = starts.len() - 1;
    let (scores, tape) = scores.split_tape();
    let device = scores.device().clone();
    let (vectors, starts) = (vectors.clone(), starts.clone());
    let shares = attention(values(&scores), &starts);
    let mut y = buffer::zeros(&device, groups * columns);
    cpu::forward(&mut y, &shares, values(&vectors), &starts);
    record(&device, tape, y, (groups, columns), move |flowing, gradients| {
        let slopes = cpu::backward(&shares, values(&vectors), flowing, &starts);
        let mut ds = take(gradients, &scores);
        ds.iter_mut().zip(slopes).for_each(|(ds, slope)| *ds += slope);
        put(gradients, &scores, ds);
    })
}

#[cfg(test)]
mod tests {
    use super::{attention, pool};
    use crate::kit::tensor::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::kit::tensor::{device, tensor, values};
    use std::sync::Arc;

    #[test]
    fn a_group_is_the_mean_that_its_scores_weigh() {
        let device = device();
        let starts = Arc::new(vec![0, 2, 2, 3]);
        let scores = tensor(&device, vec![0.0, 3f32.ln(), 5.0], 3, 1);
        let vectors = tensor(&device, vec![4.0, 0.0, 0.0, 8.0, 1.0, 2.0], 3, 2);
        assert!(difference(&attention(values(&scores), &starts), &[0.25, 0.75, 1.0]) < 1e-6);
        let pooled = pool(scores, &vectors, &starts);
        assert!(difference(values(&pooled), &[1.0, 6.0, 0.0, 0.0, 1.0, 2.0]) < 1e-5);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let vectors = tensor(&device(), normal(7 * 20, 9), 7, 20);
        let starts = Arc::new(vec![0, 4, 4, 7]);
        check_gradients(&[(7, 1)], 2e-3, |t| weighted_sum(pool(t[0].retaped(), &vectors, &starts)));
    }
}
