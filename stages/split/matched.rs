//! Negatives with the same degrees as the edges.
//!
//! In each part the edges are rewired: two of them swap targets, again and again, until none is an edge of the network.
//! Every TF and every target is then in as many negatives as it has edges in that part, so a model that only counts
//! labels is at chance.

use anyhow::Result;
use contract::stage::Io;
use data::network::Network;
use data::pairs::{Pair, Part};
use data::random::Random;
use std::collections::HashSet;

/// Random streams below the seed, apart from those of the split itself.
const STREAM: u64 = 1 << 33;
/// Swaps tried per edge; on the published networks, more swaps free no further edge.
const TRIES: usize = 200;

/// The edges, and the same number of matched negatives.
pub fn matched(pairs: &[Pair], network: &Network, seed: u64, io: &Io) -> Result<Vec<Pair>> {
    let mut taken: HashSet<(&str, &str)> = network.edges().map(|(tf, target, _)| (tf, target)).collect();
    let mut all = Vec::new();
    let mut stuck = 0;
    for part in Part::ALL {
        let edges: Vec<&Pair> = pairs.iter().filter(|pair| pair.part == part && pair.label).collect();
        let drawn: Vec<(&str, &str)> =
            edges.iter().map(|pair| (pair.tf.as_str(), pair.target.as_str())).collect();
        let negatives = rewired(drawn, &taken, &mut Random::new(seed, STREAM + part as u64), io)?;
        stuck += edges.len() - negatives.len();
        taken.extend(negatives.iter().copied());
        all.extend(edges.into_iter().cloned());
        all.extend(negatives.into_iter().map(|(tf, target)| Pair {
            tf: tf.to_owned(),
            target: target.to_owned(),
            label: false,
            part,
        }));
    }
    if stuck > 0 {
        io.warn(format!("{stuck} edges have no matched negative: their TFs regulate almost everything"));
    }
    Ok(all)
}

/// Swaps targets until no pair is an edge or used by another part; pairs for which this fails are left out.
fn rewired<'a>(
    mut pairs: Vec<(&'a str, &'a str)>,
    taken: &HashSet<(&str, &str)>,
    random: &mut Random,
    io: &Io,
) -> Result<Vec<(&'a str, &'a str)>> {
    let mut there: HashSet<(&str, &str)> = pairs.iter().copied().collect();
    let is_free = |pair: &(&str, &str)| pair.0 != pair.1 && !taken.contains(pair);
    for _ in 0..TRIES {
        io.check_stop()?;
        for first in 0..pairs.len() {
            let second = random.below(pairs.len());
            let (a, b) = (pairs[first], pairs[second]);
            let swapped = [(a.0, b.1), (b.0, a.1)];
            let gain = swapped.iter().filter(|pair| is_free(pair)).count() as i32
                - [a, b].iter().filter(|pair| is_free(pair)).count() as i32;
            // Neutral swaps are made too: they free pairs that are stuck, and randomise the others.
            if a.0 != b.0 && a.1 != b.1 && gain >= 0 && swapped.iter().all(|pair| !there.contains(pair)) {
                there.remove(&a);
                there.remove(&b);
                there.extend(swapped);
                (pairs[first], pairs[second]) = (swapped[0], swapped[1]);
            }
        }
    }
    pairs.retain(is_free);
    Ok(pairs)
}
