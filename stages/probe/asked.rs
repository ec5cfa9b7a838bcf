//! Pairs and cells as a model sees them.

use crate::kit::candidates::Candidates;
use anyhow::{Result, bail};
use contract::stage::Io;
use data::tokens::Corpus;
use std::collections::{BTreeMap, HashMap};

/// Pairs of positions of the model's vocabulary.
pub struct Asked {
    /// The number of pairs, those included whose genes the model does not know.
    pub pairs: usize,
    /// By TF: the index of each of its pairs, and the target.
    pub by_tf: BTreeMap<u32, Vec<(usize, u32)>>,
    /// By target: the index of each of its pairs, and the TF.
    pub by_target: BTreeMap<u32, Vec<(usize, u32)>>,
}

impl Asked {
    /// The pairs whose genes are both in the vocabulary; a warning tells how many genes are not.
    pub fn new(candidates: &Candidates, vocabulary: &[String], io: &Io) -> Result<Asked> {
        let places: HashMap<&str, u32> = vocabulary.iter().map(String::as_str).zip(0..).collect();
        let place = |gene: usize| places.get(candidates.names[gene].as_str()).copied();
        let wanted = candidates.genes();
        let wanted = || (0..wanted.len()).filter(|gene| wanted[*gene]);
        let (lacking, all) = (wanted().filter(|gene| place(*gene).is_none()).count(), wanted().count());
        let mut asked =
            Asked { pairs: candidates.pairs.len(), by_tf: BTreeMap::new(), by_target: BTreeMap::new() };
        for (pair, (tf, target)) in candidates.pairs.iter().enumerate() {
            if let (Some(tf), Some(target)) = (place(*tf as usize), place(*target as usize)) {
                asked.by_tf.entry(tf).or_default().push((pair, target));
                asked.by_target.entry(target).or_default().push((pair, tf));
            }
        }
        if asked.by_tf.is_empty() {
            bail!(
                "the model knows both genes of none of the {} pairs; are they of the same species?",
                asked.pairs
            );
        }
        if lacking > 0 {
            io.warn(format!("the model does not know {lacking} of {all} genes: their pairs score 0"));
        }
        Ok(asked)
    }
}

/// The tokens of some cells, at every position.
pub struct Cells {
    tokens: Vec<u32>,
    count: usize,
}

impl Cells {
    /// Takes these cells out of a corpus.
    pub fn read(corpus: &Corpus, cells: &[usize]) -> Cells {
        let mut tokens = Vec::new();
        cells.iter().for_each(|cell| corpus.append(*cell, &mut tokens));
        Cells { tokens, count: cells.len() }
    }

    /// The number of cells.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The tokens of one cell.
    pub fn tokens(&self, cell: usize) -> &[u32] {
        let positions = self.tokens.len() / self.count;
        &self.tokens[cell * positions..][..positions]
    }
}
