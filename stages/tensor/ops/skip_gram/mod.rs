//! One step of skip-gram with negative sampling (Mikolov et al. 2013), by plain gradient descent.
//!
//! For a word's vector v, and context vectors u_c with labels y_c (1 for the true context, 0 for those drawn at
//! random): g_c = rate · (y_c - σ(v·u_c)), v += Σ_c g_c u_c, u_c += g_c v. Every step depends on the one before, so
//! there is no tape, and threads could only make the result non-deterministic.

mod cpu;

pub use cpu::step;

#[cfg(test)]
mod tests {
    use super::step;
    use crate::testing::normal;

    /// -log σ(v·u) of the true context and -log σ(-v·u) of the others.
    fn loss(v: &[f32], contexts: &[f32], true_context: usize) -> f64 {
        let each = contexts.chunks(v.len()).enumerate().map(|(context, u)| {
            let product: f64 = v.iter().zip(u).map(|(v, u)| f64::from(*v) * f64::from(*u)).sum();
            let aimed_at = if context == true_context { product } else { -product };
            (1.0 + (-aimed_at).exp()).ln()
        });
        each.sum()
    }

    #[test]
    fn a_step_goes_down_the_gradient() {
        let (width, rate) = (20, 1e-3f32);
        let (before, contexts) = (normal(width, 0), normal(4 * width, 1));
        let (mut v, mut moved) = (before.clone(), contexts.clone());
        step(&mut v, &mut moved, &[2, 0, 3], rate);
        // Context 1 is not part of the step.
        assert_eq!(moved[width..2 * width], contexts[width..2 * width]);
        let of_step = |v: &[f32], contexts: &[f32]| {
            let chosen: Vec<f32> =
                [2, 0, 3].iter().flat_map(|at| contexts[at * width..][..width].to_vec()).collect();
            loss(v, &chosen, 0)
        };
        for element in 0..width {
            let shifted = |by: f32| {
                let mut v = before.clone();
                v[element] += by;
                of_step(&v, &contexts)
            };
            let slope = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            let found = f64::from((before[element] - v[element]) / rate);
            // Rounding errors of 1e-7, divided by the rate.
            assert!((found - slope).abs() < 2e-3, "{element}: {found} and {slope}");
        }
        assert!(of_step(&v, &moved) < of_step(&before, &contexts));
    }
}
