//! Dropout (Srivastava et al. 2014), scaled during training so that inference needs no correction.
//!
//! y_i = x_i / (1 - rate) where i is kept, else 0; dx_i = dy_i / (1 - rate) there, else 0. The draw of element i is a
//! function of i and the key (Philox 2x32-10, Salmon et al. 2011). There is no state, so the draws are the same on any
//! number of threads, and the backward pass repeats them instead of storing them.

mod cpu;
mod cuda;

pub(super) use cpu::add_kept;
pub(super) use cuda::add_kept as add_kept_on_card;

use crate::tape::{Tape, put, record, take};
use crate::{Tensor, buffer, shape, values};

/// Drops a share `rate` of the elements. Prereq: 0 <= rate < 1; each key is used once per step and layer.
pub fn dropout<T: Tape>(x: Tensor<T>, rate: f32, key: u64) -> Tensor<T> {
    assert!((0.0..1.0).contains(&rate), "a rate of dropout of {rate}");
    if rate == 0.0 {
        return x;
    }
    let (x, tape) = x.split_tape();
    let device = x.device().clone();
    if let Some(card) = device.card() {
        return cuda::dropout(card, x, tape, rate, key);
    }
    let mut y = buffer::zeros(&device, values(&x).len());
    cpu::add_kept(&mut y, values(&x), rate, key);
    let shape = shape(&x);
    record(&device, tape, y, shape, move |flowing, gradients| {
        let mut dx = take(gradients, &x);
        cpu::add_kept(&mut dx, flowing, rate, key);
        put(gradients, &x, dx);
    })
}

/// The factor of an element that is kept.
fn factor(rate: f32) -> f32 {
    1.0 / (1.0 - rate)
}

/// Draws below this are dropped.
fn threshold(rate: f32) -> u32 {
    (f64::from(rate) * 2.0f64.powi(32)) as u32
}

#[cfg(test)]
mod tests {
    use super::dropout;
    use crate::testing::{check_gradients, weighted_sum};
    use crate::{device, tensor, values};

    fn drop_of_ones(rate: f32, key: u64) -> Vec<f32> {
        values(&dropout(tensor(&device(), vec![1.0; 100_000], 100, 1000), rate, key)).to_vec()
    }

    #[test]
    fn the_share_dropped_is_the_rate_and_the_mean_is_kept() {
        for rate in [0.1, 0.5] {
            let y = drop_of_ones(rate, 1);
            let dropped = y.iter().filter(|y| **y == 0.0).count() as f32 / 1e5;
            let mean = y.iter().sum::<f32>() / 1e5;
            // Five standard errors of 100,000 draws.
            assert!((dropped - rate).abs() < 0.008 && (mean - 1.0).abs() < 0.016, "{dropped} {mean}");
        }
    }

    #[test]
    fn a_key_draws_the_same_on_any_number_of_threads_and_another_key_otherwise() {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(one.install(|| drop_of_ones(0.5, 1)), drop_of_ones(0.5, 1));
        let same = drop_of_ones(0.5, 1).iter().zip(&drop_of_ones(0.5, 2)).filter(|(a, b)| a == b).count();
        assert!((49_000..51_000).contains(&same), "{same}");
    }

    #[test]
    fn gradients_are_those_of_differences() {
        check_gradients(&[(5, 7)], 1e-3, |t| weighted_sum(dropout(t[0].retaped(), 0.3, 9)));
    }
}
