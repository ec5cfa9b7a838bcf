//! `shuffle`: a control that permutes expression so that it says nothing about the network, and leaves everything else
//! unchanged.

use anyhow::{Result, bail};
use contract::code;
use contract::disk;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, sometimes};
use data::cells::{self, CellWriter};
use data::columns::Columns;
use data::embeddings::{self, Embeddings};
use data::genes;
use data::network;
use data::pseudotime;
use data::random::Random;
use data::types;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Shuffle>(
    "shuffle",
    "permutes values among the cells, or profiles or vectors among the genes: a control that tells nothing",
    Slots::Named(&[
        Slot {
            name: "data",
            about: "cells and genes, whose values or profiles are permuted",
            required: false,
            takes: cells::ARTIFACT,
        },
        Slot {
            name: "embeddings",
            about: "vectors of genes, for `what: vectors`",
            required: false,
            takes: embeddings::ARTIFACT,
        },
    ]),
    code!(),
)
.makes(&[
    sometimes(cells::FILE),
    sometimes(genes::FILE),
    sometimes(network::FILE),
    sometimes(pseudotime::FILE),
    sometimes(types::FILE),
    sometimes(embeddings::FILE),
]);

/// Permutes expression, so that it says nothing about which gene regulates which. Whatever a method still finds comes
/// from elsewhere: labels, names, the number of a TF's targets.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Shuffle {
    /// What is permuted.
    what: What,
    /// The random seed.
    seed: u64,
}

/// What is permuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum What {
    /// Each gene's values, among the cells. Its mean and variance stay, and may be informative; its relations with
    /// other genes, cell types and time are destroyed.
    Values,
    /// Whole profiles, among the genes: relations between profiles stay, but belong to other genes.
    Profiles,
    /// Vectors, among the names: what vectors there are stays, but belongs to other genes.
    Vectors,
}

/// What a shuffle of expression writes.
const EXPRESSION: [&str; 5] = [cells::FILE, genes::FILE, network::FILE, pseudotime::FILE, types::FILE];

impl Default for Shuffle {
    fn default() -> Shuffle {
        Shuffle { what: What::Values, seed: 0 }
    }
}

impl Stage for Shuffle {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        let (wanted, other) = match self.what {
            What::Vectors => ("embeddings", "data"),
            What::Values | What::Profiles => ("data", "embeddings"),
        };
        if !wires.has(wanted) {
            return Err(Mistake::slot(
                wanted,
                format!("there is nothing to permute: it needs the input `{wanted}`"),
            ));
        }
        if wires.has(other) {
            return Err(Mistake::slot(
                other,
                format!("`what` says that only the input `{wanted}` is permuted"),
            ));
        }
        Ok(())
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        if self.what == What::Vectors { &EXPRESSION } else { &[embeddings::FILE] }
    }

    fn run(&self, io: &Io) -> Result<()> {
        if self.what == What::Vectors {
            return self.vectors(io);
        }
        let data = io.input("data")?;
        let genes = genes::read(&data.join(genes::FILE))?.len();
        let mut columns =
            Columns::read(&data.join(cells::FILE), &vec![true; genes], || Ok(io.check_stop()?))?;
        let cells = columns.ids.len();
        if cells < 2 {
            bail!("there is nothing to permute among {cells} cells; give at least 2");
        }
        match self.what {
            What::Values => columns.genes.par_iter_mut().enumerate().for_each(|(gene, column)| {
                let mut places: Vec<u32> = (0..cells as u32).collect();
                Random::new(self.seed, gene as u64).shuffle(&mut places);
                column.cells.iter_mut().for_each(|cell| *cell = places[*cell as usize]);
            }),
            What::Profiles | What::Vectors => Random::new(self.seed, 0).shuffle(&mut columns.genes),
        }
        write(&columns, io)?;
        for name in &EXPRESSION[1..] {
            if let Some(bytes) = disk::read_if_there(&data.join(name))? {
                disk::write(&io.out(name), &bytes)?;
            }
        }
        Ok(())
    }
}

impl Shuffle {
    fn vectors(&self, io: &Io) -> Result<()> {
        let found = Embeddings::read(&io.input("embeddings")?.join(embeddings::FILE))?;
        let mut order: Vec<usize> = (0..found.names.len()).collect();
        if order.len() < 2 {
            bail!("there is nothing to permute among {} vectors; give at least 2", order.len());
        }
        Random::new(self.seed, 0).shuffle(&mut order);
        let vector = |place: &usize| &found.values[place * found.dimensions..][..found.dimensions];
        let values = order.iter().flat_map(vector).copied().collect();
        Embeddings { values, ..found }.write(&io.out(embeddings::FILE))
    }
}

/// Turns the columns back into cells.
fn write(columns: &Columns, io: &Io) -> Result<()> {
    let mut rows: Vec<(Vec<u32>, Vec<f32>)> = vec![Default::default(); columns.ids.len()];
    // Gene by gene, so that each cell's indices are ascending.
    for (gene, column) in columns.genes.iter().enumerate() {
        for (cell, value) in column.cells.iter().zip(&column.values) {
            let (genes, values) = &mut rows[*cell as usize];
            genes.push(gene as u32);
            values.push(*value);
        }
    }
    let mut writer = CellWriter::create(&io.out(cells::FILE))?;
    for (id, (genes, values)) in columns.ids.iter().zip(&rows) {
        writer.push(id, genes, values)?;
    }
    writer.finish()
}
