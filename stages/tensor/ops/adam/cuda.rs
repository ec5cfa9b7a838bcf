//! A step of Adam on a GPU: all parameters in one launch.

use super::Factors;
use crate::card::kernels::word;
use crate::card::{Card, Memory, arguments};

/// Elements per warp.
const PIECE: usize = 1 << 10;

/// Moves every parameter along its gradient and sets the gradient to zero.
///
/// Each parameter has four buffers of equal length: values, gradient, m and v.
pub fn step(card: &Card, factors: &Factors, parameters: &[[&Memory; 4]]) {
    let (mut tensors, mut pieces) = (Vec::new(), Vec::new());
    for (number, memories) in (0..).zip(parameters) {
        let length = memories[0].length();
        assert!(memories.iter().all(|memory| memory.length() == length), "a parameter's moments fit it");
        let addresses = memories.map(|memory| u64::from(memory.at(0)));
        for bits in addresses.into_iter().chain([length as u64]) {
            tensors.extend([bits as u32, (bits >> 32) as u32]);
        }
        pieces.extend((0..length).step_by(PIECE).flat_map(|first| [number, first as u32]));
    }
    let (count, tensors, pieces) =
        (pieces.len() / 2, card.upload_words(&tensors), card.upload_words(&pieces));
    let Factors { betas, epsilon, rate, spread, decay, keep } = *factors;
    let of_all = arguments![
        &tensors,
        &pieces,
        count,
        word(PIECE),
        betas.0,
        betas.1,
        epsilon,
        rate,
        spread,
        decay,
        keep,
    ];
    card.launch_rows("adam", count, of_all);
}
