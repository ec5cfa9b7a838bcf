//! Vectors projected onto a plane, so that they can be drawn.

/// Vectors projected onto two directions.
#[derive(Debug, PartialEq)]
pub struct Plane {
    /// One for each vector.
    pub places: Vec<(f64, f64)>,
    /// The share of the variance along each direction.
    pub shares: [f64; 2],
}

/// The two directions of largest variance and the position of each vector along them: principal
/// components, by orthogonal iteration.
pub fn principal_places(vectors: &[Vec<f32>]) -> Option<Plane> {
    const ROUNDS: usize = 40;
    let width = vectors.first()?.len();
    if width < 2 || vectors.len() < 3 || vectors.iter().any(|vector| vector.len() != width) {
        return None;
    }
    let count = vectors.len() as f64;
    let mut mean = vec![0.0; width];
    vectors.iter().for_each(|vector| {
        mean.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value) / count)
    });
    let centred: Vec<f64> = vectors
        .iter()
        .flat_map(|vector| vector.iter().zip(&mean).map(|(value, mean)| f64::from(*value) - mean))
        .collect();
    let total: f64 = centred.iter().map(|value| value * value).sum();
    if !total.is_finite() || total <= 0.0 {
        return None;
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let normalise = |vector: &mut Vec<f64>| {
        let length = dot(vector, vector).sqrt().max(f64::MIN_POSITIVE);
        vector.iter_mut().for_each(|value| *value /= length);
    };
    // Any start works that is not orthogonal to the components; a fixed one always gives the same picture.
    let mut axes =
        [0, 1].map(|which| (0..width).map(|i| ((i * (which + 2) + 1) as f64).sin()).collect::<Vec<f64>>());
    for _ in 0..ROUNDS {
        for which in 0..2 {
            let mut next = vec![0.0; width];
            for row in centred.chunks_exact(width) {
                let along = dot(row, &axes[which]);
                next.iter_mut().zip(row).for_each(|(sum, value)| *sum += along * value);
            }
            if which == 1 {
                let along = dot(&next, &axes[0]);
                next.iter_mut().zip(&axes[0]).for_each(|(value, first)| *value -= along * first);
            }
            normalise(&mut next);
            axes[which] = next;
        }
    }
    let places: Vec<(f64, f64)> =
        centred.chunks_exact(width).map(|row| (dot(row, &axes[0]), dot(row, &axes[1]))).collect();
    let share =
        |of: fn(&(f64, f64)) -> f64| places.iter().map(|place| of(place) * of(place)).sum::<f64>() / total;
    let shares = [share(|place| place.0), share(|place| place.1)];
    Some(Plane { places, shares })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_directions_are_found() {
        // Standard deviation 3 along (1, 1, 0), 1 along (1, -1, 0), and 0 along the third axis.
        let vectors: Vec<Vec<f32>> = (0..200)
            .map(|i| {
                let (a, b) = ((i as f32 * 0.7).sin() * 3.0, (i as f32 * 1.3).cos());
                vec![a + b + 5.0, a - b, 7.0]
            })
            .collect();
        let Plane { places, shares } = principal_places(&vectors).unwrap();
        assert!(shares[0] > 0.85 && shares[0] + shares[1] > 0.999, "{shares:?}");
        let spread = |of: fn(&(f64, f64)) -> f64| {
            places.iter().map(of).fold(0.0f64, |most, value| most.max(value.abs()))
        };
        assert!((spread(|place| place.0) - 3.0 * 2f64.sqrt()).abs() < 0.3);
        assert_eq!(principal_places(&vec![vec![1.0, 2.0]; 5]), None);
    }
}
