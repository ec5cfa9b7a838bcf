//! `shuffle`: a control that permutes expression so that it says nothing about the network, and leaves everything else
//! unchanged.

use anyhow::{Result, bail};
use contract::code;
use contract::disk;
use contract::stage::{Io, Kind, Slot, Slots, Stage, always, sometimes};
use data::cells::{self, CellWriter};
use data::columns::Columns;
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
    "permutes values among the cells or profiles among the genes: a control whose expression tells nothing",
    Slots::Named(&[Slot { name: "data", about: "cells and genes", required: true, takes: cells::ARTIFACT }]),
    code!(),
)
.makes(&[
    always(cells::FILE),
    always(genes::FILE),
    sometimes(network::FILE),
    sometimes(pseudotime::FILE),
    sometimes(types::FILE),
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
}

impl Default for Shuffle {
    fn default() -> Shuffle {
        Shuffle { what: What::Values, seed: 0 }
    }
}

impl Stage for Shuffle {
    fn run(&self, io: &Io) -> Result<()> {
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
            What::Profiles => Random::new(self.seed, 0).shuffle(&mut columns.genes),
        }
        write(&columns, io)?;
        for name in [genes::FILE, network::FILE, pseudotime::FILE, types::FILE] {
            if let Some(bytes) = disk::read_if_there(&data.join(name))? {
                disk::write(&io.out(name), &bytes)?;
            }
        }
        Ok(())
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
