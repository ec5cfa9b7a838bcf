//! `similarity`: predicts that a TF regulates the genes whose vectors are like its own.

use crate::kit::candidates::{self, Candidates, SLOTS};
use anyhow::{Result, bail};
use contract::code;
use contract::stage::{Io, Kind, Slot, Slots, Stage};
use data::embeddings::{self, Embeddings, centre, cosine};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Similarity>(
    "similarity",
    "scores each pair by the likeness of the vectors of TF and target: their cosine, moved to 0 to 1",
    Slots::Named(&[
        Slot { name: "embeddings", about: "vectors of genes", required: true, takes: embeddings::ARTIFACT },
        SLOTS[0],
        SLOTS[1],
        SLOTS[2],
    ]),
    code!(),
)
.makes(&candidates::OUTPUTS);

/// Scores pairs by the cosine of their vectors, without any training. Pairs with a gene that has no vector score 0.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Similarity {
    /// Subtracts the mean of all vectors first: what all genes share says nothing of any.
    centre: bool,
}

impl Default for Similarity {
    fn default() -> Similarity {
        Similarity { centre: true }
    }
}

impl Stage for Similarity {
    fn run(&self, io: &Io) -> Result<()> {
        let candidates = Candidates::find(io)?;
        let mut vectors = Embeddings::read(&io.input("embeddings")?.join(embeddings::FILE))?;
        let width = vectors.dimensions.max(1);
        if self.centre {
            centre(&mut vectors.values, width);
        }
        let places: HashMap<&str, usize> = vectors.names.iter().map(String::as_str).zip(0..).collect();
        let of = |gene: usize| {
            let place = places.get(candidates.names[gene].as_str())?;
            Some(&vectors.values[place * width..][..width])
        };
        let wanted = candidates.genes();
        let wanted = || (0..wanted.len()).filter(|gene| wanted[*gene]);
        let lacking = wanted().filter(|gene| of(*gene).is_none()).count();
        if lacking == wanted().count() {
            bail!("none of the {lacking} genes of the pairs has a vector");
        }
        if lacking > 0 {
            io.warn(format!("{lacking} of {} genes have no vector: their pairs score 0", wanted().count()));
        }
        let mut scores = Vec::with_capacity(candidates.pairs.len());
        for (tf, target) in &candidates.pairs {
            if scores.len().is_multiple_of(1 << 16) {
                io.check_stop()?;
            }
            let cosine = of(*tf as usize).zip(of(*target as usize)).map(|(a, b)| cosine(a, b));
            scores.push(cosine.map_or(0.0, |cosine| (1.0 + cosine) / 2.0));
        }
        candidates.write(scores, io)
    }
}
