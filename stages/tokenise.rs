//! `tokenise`: turns expression into scBERT's tokens.

use anyhow::{Result, bail};
use contract::bounds::{LARGEST, MOST, above_zero, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, always};
use data::cells::{self, CellReader};
use data::formats;
use data::genes;
use data::tokens::{self, About, TokenWriter, Zeros};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Tokenise>(
    "tokenise",
    "expression as the tokens of scBERT: per ten thousand, log2(1 + x), rounded down",
    Slots::Named(&[
        Slot { name: "data", about: "cells with counts", required: true, takes: cells::ARTIFACT },
        Slot {
            name: "vocabulary",
            about: "names of genes, one a line, or a model that has them; without it, the data's own",
            required: false,
            takes: Takes::OneOf(&[&[tokens::VOCABULARY]]),
        },
    ]),
    code!(),
)
.makes(&[always(tokens::FILE), always(tokens::ABOUT), always(tokens::VOCABULARY)]);

/// scBERT's recipe. As in the original, totals and `min_genes` count only the genes of the vocabulary.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Tokenise {
    /// The highest token, to which larger values are clipped. The mask token is the next one.
    bins: u8,
    /// Removes cells with fewer non-zero genes.
    min_genes: usize,
    /// The total that a cell's values are scaled to before the logarithm.
    target_sum: f64,
    /// Whether genes whose token is zero are kept.
    zeros: Zeros,
}

impl Default for Tokenise {
    fn default() -> Tokenise {
        Tokenise { bins: 5, min_genes: 200, target_sum: 1e4, zeros: Zeros::Keep }
    }
}

impl Stage for Tokenise {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("bins", self.bins, 1..=60)?;
        within("min_genes", self.min_genes, 0..=MOST)?;
        above_zero("target_sum", self.target_sum, LARGEST)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let vocabulary = match io.optional_input("vocabulary") {
            Some(folder) if folder.is_dir() => genes::read(&folder.join(tokens::VOCABULARY))?,
            Some(file) => formats::read_list(file)?,
            None => names.clone(),
        };
        let positions = positions(io, &names, &vocabulary)?;
        let mut writer = TokenWriter::create(&io.out(tokens::FILE))?;
        let (mut kept, mut seen) = (0, 0);
        let mut row = vec![0.0; vocabulary.len()];
        for batch in CellReader::open(&data.join(cells::FILE), names.len())? {
            io.check_stop()?;
            for (id, genes, values) in batch?.cells() {
                seen += 1;
                row.fill(0.0);
                for (gene, value) in genes.iter().zip(values) {
                    if *value < 0.0 {
                        bail!("cell `{id}` holds {value}: tokens are made of counts, not of scaled values");
                    }
                    if let Some(position) = positions[*gene as usize] {
                        row[position] = f64::from(*value);
                    }
                }
                if row.iter().filter(|value| **value > 0.0).count() >= self.min_genes {
                    kept += 1;
                    self.push(id, &row, &mut writer)?;
                }
            }
        }
        writer.finish()?;
        if kept == 0 {
            bail!("none of {seen} cells has {} genes of the vocabulary: see `min_genes`", self.min_genes);
        }
        io.note(format!("kept {kept} of {seen} cells"));
        About::new(self.bins, vocabulary.len(), self.zeros).write(&io.out, &vocabulary)
    }
}

impl Tokenise {
    fn push(&self, id: &str, row: &[f64], writer: &mut TokenWriter) -> Result<()> {
        let total: f64 = row.iter().sum();
        let (mut genes, mut tokens) = (Vec::with_capacity(row.len() + 1), Vec::with_capacity(row.len() + 1));
        for (gene, value) in row.iter().enumerate() {
            let token = self.token(*value, total);
            if self.zeros == Zeros::Keep || token > 0 {
                genes.push(gene as u32);
                tokens.push(token);
            }
        }
        // The original appends a token 0 that is no gene; its position embedding is zero.
        genes.push(row.len() as u32);
        tokens.push(0);
        writer.push(id, &genes, &tokens)
    }

    /// floor(log2(1 + value / total · target)), clipped: the number of k with value · target ≥ (2^k - 1) · total.
    /// Counts and totals are integers, so this comparison is exact where a logarithm might round.
    fn token(&self, value: f64, total: f64) -> u8 {
        let scaled = value * self.target_sum;
        (1..=self.bins).take_while(|k| scaled > 0.0 && scaled >= ((1u64 << k) - 1) as f64 * total).count()
            as u8
    }
}

/// The position of each gene of the data in the vocabulary.
fn positions(io: &Io, names: &[String], vocabulary: &[String]) -> Result<Vec<Option<usize>>> {
    let mut seen = HashSet::new();
    if let Some(twice) = vocabulary.iter().find(|name| !seen.insert(name.as_str())) {
        bail!("the gene `{twice}` is in the vocabulary twice");
    }
    let index: HashMap<&str, usize> =
        vocabulary.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
    let positions: Vec<Option<usize>> = names.iter().map(|name| index.get(name.as_str()).copied()).collect();
    let found = positions.iter().flatten().count();
    if found == 0 {
        bail!(
            "none of {} genes is in the vocabulary of {}; are they of the same species?",
            names.len(),
            vocabulary.len()
        );
    }
    if found < names.len() {
        io.warn(format!(
            "{} of {} genes are not in the vocabulary and are left out",
            names.len() - found,
            names.len()
        ));
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_change_at_powers_of_two() {
        let tokenise = Tokenise::default();
        // Per ten thousand: 0, just below 1, 1, just below 3, 3, 7, 15, 31, 63.
        for (value, expected) in [
            (0, 0),
            (999, 0),
            (1000, 1),
            (2999, 1),
            (3000, 2),
            (7000, 3),
            (15_000, 4),
            (31_000, 5),
            (63_000, 5),
        ] {
            assert_eq!(tokenise.token(f64::from(value), 1e7), expected, "{value}");
        }
    }
}
