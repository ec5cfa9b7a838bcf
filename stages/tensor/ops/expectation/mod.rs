//! The expected column under a softmax over some of the columns, summed over the rows.
//!
//! E_i = Σ_c c p_ic with p_i = softmax of z_i over the columns c of a range; y = Σ_i E_i. Backward:
//! dz_ic = p_ic (c - E_i) dy inside the range, 0 outside.

mod cpu;

use crate::tape::{Tape, flow_on, record_scalar};
use crate::{Scalar, Tensor, shape, values};
use std::ops::Range;

/// The sum of the rows' expected columns. Prereq: `columns` are columns of the logits, and not empty.
pub fn expectation<T: Tape>(logits: Tensor<T>, columns: Range<usize>) -> Scalar<T> {
    let width = shape(&logits).1;
    assert!(!columns.is_empty() && columns.end <= width, "columns {columns:?} of {width}");
    let (logits, tape) = logits.split_tape();
    let mut slopes = vec![0.0; values(&logits).len()];
    let sum = cpu::expectation(values(&logits), width, columns, &mut slopes);
    record_scalar(tape, sum as f32, move |flowing, gradients| {
        slopes.iter_mut().for_each(|slope| *slope *= flowing);
        flow_on(gradients, &logits, &slopes);
    })
}

#[cfg(test)]
mod tests {
    use super::expectation;
    use crate::tape::{backward, gradient};
    use crate::testing::{check_gradients, normal};
    use crate::{Taped, device, tensor};

    #[test]
    fn the_expected_column_is_that_of_the_softmax_over_the_range() {
        // Equal logits: the middle of columns 1 to 3. A large one outside the range changes nothing.
        let equal = tensor(&device(), vec![9.0, 2.0, 2.0, 2.0, 99.0], 1, 5);
        assert_eq!(expectation(equal, 1..4)[[]], 2.0);
        let thirds = tensor(&device(), vec![0.0, 2.0f32.ln(), 0.0, 0.0], 1, 4);
        assert!((expectation(thirds, 1..3)[[]] - 4.0 / 3.0).abs() < 1e-6);
        let large = tensor(&device(), vec![0.0, -1e4, 1e4, 0.0], 1, 4);
        assert_eq!(expectation(large, 1..3)[[]], 2.0);
    }

    #[test]
    fn gradients_are_those_of_differences_and_0_outside_the_range() {
        check_gradients(&[(5, 7)], 2e-3, |t| expectation(t[0].retaped(), 1..6));
        let z = tensor(&device(), normal(14, 0), 2, 7);
        let found = gradient(&mut backward(expectation(z.retaped::<Taped>(), 1..6)), &z);
        assert!(found.chunks(7).all(|row| row[0] == 0.0 && row[6] == 0.0 && row[2] != 0.0), "{found:?}");
    }
}
