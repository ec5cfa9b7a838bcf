//! Exact attention (Vaswani et al. 2017), quadratic in the number of genes: the reference for FAVOR+.
//!
//! Per cell and head, with d the width of a head: S = q kᵀ / √d, P_i = softmax(S_i), out = P v.
//! Backward: dv = Pᵀ dout, dP = dout vᵀ, dS_ij = P_ij (dP_ij - dout_i·out_i), dq = dS k / √d, dk = dSᵀ q / √d.
//! The backward pass recomputes P in blocks of queries, from the logarithm of each row's sum (Dao et al. 2022), so
//! memory is linear in the number of genes, not quadratic.

mod cpu;

use crate::tape::{Tape, add_to, record_with_result};
use crate::{Tensor, buffer, shape, values};

/// Attention from every gene of a cell to every gene of the same cell.
///
/// Prereq: `q`, `k` and `v` have one shape, cells times genes by heads times d.
pub fn attention<T: Tape>(q: Tensor<T>, k: Tensor<T>, v: Tensor<T>, cells: usize, heads: usize) -> Tensor<T> {
    let (rows, columns) = shape(&q);
    assert!(shape(&k) == (rows, columns) && shape(&v) == (rows, columns), "the shapes of an attention");
    assert!(
        rows.is_multiple_of(cells) && columns.is_multiple_of(heads),
        "the cells and heads of an attention"
    );
    let (q, tape_q) = q.split_tape();
    let (k, tape_k) = k.split_tape();
    let (v, tape_v) = v.split_tape();
    let device = q.device().clone();
    let sizes = cpu::Sizes { genes: rows / cells, cells, heads, d: columns / heads };
    let mut out = buffer::scratch(&device, rows * columns);
    let logs = cpu::forward(&device, sizes, [&q, &k, &v].map(values), &mut out);
    record_with_result(
        &device,
        tape_q.merge(tape_k).merge(tape_v),
        out,
        (rows, columns),
        move |flowing, out, gradients| {
            let forward = cpu::Forward { inputs: [&q, &k, &v].map(values), out, logs: &logs };
            add_to(gradients, [&q, &k, &v], |outputs| {
                cpu::backward(q.device(), sizes, forward, flowing, outputs);
            });
            buffer::recycle(q.device(), logs);
        },
    )
}

#[cfg(test)]
mod tests {
    use super::attention;
    use crate::ops::gather::gather;
    use crate::tape::{backward, gradient};
    use crate::testing::{check_gradients, difference, normal, weighted_sum};
    use crate::{Taped, Tensor, device, tensor, values};

    #[test]
    fn values_are_those_of_the_formula() {
        // 150 genes make more than one block of queries, with the last one incomplete.
        let (cells, heads, genes, d) = (2, 3, 150, 4);
        let (rows, columns) = (cells * genes, heads * d);
        let inputs = [0, 1, 2].map(|stream| normal(rows * columns, stream));
        let device = device();
        let [q, k, v] = inputs.each_ref().map(|values| tensor(&device, values.clone(), rows, columns));
        let found = attention(q, k, v, cells, heads);
        let at = |of: usize, row: usize, column: usize| f64::from(inputs[of][row * columns + column]);
        let mut expected = Vec::new();
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let (first, head) = (row / genes * genes, column / d * d);
            let score = |key: usize| -> f64 {
                (head..head + d).map(|i| at(0, row, i) * at(1, key, i)).sum::<f64>() / (d as f64).sqrt()
            };
            let weights: Vec<f64> = (first..first + genes).map(|key| score(key).exp()).collect();
            let sum: f64 = weights.iter().zip(first..).map(|(weight, key)| weight * at(2, key, column)).sum();
            expected.push((sum / weights.iter().sum::<f64>()) as f32);
        }
        // Means of values of size 1.
        assert!(difference(values(&found), &expected) < 2e-6);
    }

    #[test]
    fn gradients_are_those_of_differences() {
        check_gradients(&[(2 * 5, 3 * 4); 3], 5e-3, |t| {
            let [q, k, v] = [0, 1, 2].map(|i| t[i].retaped());
            weighted_sum(attention(q, k, v, 2, 3))
        });
    }

    #[test]
    fn gradients_of_more_than_one_block_are_those_of_one() {
        // Duplicating every gene of a cell does not change attention, so the copies' gradients add up to those of the
        // single cell.
        let device = device();
        let (genes, d) = (100, 4);
        let first: Vec<u32> = (0..genes as u32).collect();
        let gradients_of = |copies: usize| -> [Vec<f32>; 3] {
            let tensors: [Tensor; 3] = [0, 1, 2]
                .map(|stream| tensor(&device, normal(genes * d, stream).repeat(copies), copies * genes, d));
            let [q, k, v] = tensors.each_ref().map(Tensor::retaped::<Taped>);
            let mut gradients = backward(weighted_sum(gather(attention(q, k, v, 1, 1), &first)));
            tensors.map(|t| {
                let each = gradient(&mut gradients, &t);
                (0..genes * d).map(|i| each.iter().skip(i).step_by(genes * d).sum()).collect()
            })
        };
        for (once, twice) in gradients_of(1).iter().zip(&gradients_of(2)) {
            assert!(difference(once, twice) < 1e-5);
        }
    }

    #[test]
    fn large_scores_stay_finite() {
        let device = device();
        let [q, k] = [100.0, 100.0].map(|value| tensor(&device, vec![value; 8], 2, 4));
        let v = tensor(&device, normal(8, 0), 2, 4);
        assert!(values(&attention(q, k, v, 1, 1)).iter().all(|value| value.is_finite()));
    }
}
