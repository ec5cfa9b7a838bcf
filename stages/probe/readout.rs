//! The linear gene network inside a readout.

use super::asked::Asked;
use learn::model::readout::Readout;

/// The effect of each pair's TF on its target in a cell whose genes are at their means.
pub fn scores(readout: &Readout, asked: &Asked) -> Vec<f64> {
    let mut scores = vec![0.0; asked.pairs];
    for (tf, targets) in &asked.by_tf {
        let effects = readout.effects(*tf as usize);
        targets.iter().for_each(|(pair, target)| scores[*pair] = effects[*target as usize]);
    }
    scores
}
