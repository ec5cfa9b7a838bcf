//! `simulate`: simulates cells from a known network.

mod boolean;
mod curated;
mod measure;
mod scale_free;

use anyhow::Result;
use contract::bounds::{MOST, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slots, Stage, Wires, always, sometimes};
use curated::Model;
use data::cells::{self, CellWriter};
use data::genes;
use data::network::{self, Network};
use data::pseudotime::{self, Moment};
use data::types;
use scale_free::ScaleFree;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Simulate>(
    "simulate",
    "cells of a known network: a scale-free one, or one of BEELINE's curated models",
    Slots::Named(&[]),
    code!(),
)
.makes(&[
    always(cells::FILE),
    always(genes::FILE),
    always(network::FILE),
    sometimes(pseudotime::FILE),
    sometimes(types::FILE),
]);

/// Simulates noisy expression of cells from a known network.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Simulate {
    /// The network: `scale_free` with its own params, or `GSD`, `HSC`, `VSC`, `mCAD`.
    network: Which,
    /// The number of cells.
    cells: usize,
    /// The strength of the noise within a cell; 1 is that of the models' authors.
    noise: f64,
    /// Of each gene's values, this share (the lowest ones) is set to zero, each with this probability, as in BEELINE.
    dropout: f64,
    /// Outputs molecule counts, as from sequencing, instead of the expression itself.
    counts: bool,
    /// The random seed of the network and the cells.
    seed: u64,
}

/// The network to simulate.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
enum Which {
    /// Random, with hubs, as in SERGIO.
    #[serde(rename = "scale_free")]
    ScaleFree(ScaleFree),
    /// Gonadal sex determination, 19 genes (Ríos et al. 2015).
    #[serde(rename = "GSD")]
    Gsd,
    /// Haematopoietic stem cells, 11 genes (Krumsiek et al. 2011).
    #[serde(rename = "HSC")]
    Hsc,
    /// Ventral spinal cord, 8 genes (Lovrics et al. 2014).
    #[serde(rename = "VSC")]
    Vsc,
    /// Mammalian cortical area development, 5 genes (Giacomantonio and Goodhill 2010).
    #[serde(rename = "mCAD")]
    Mcad,
}

impl Default for Simulate {
    fn default() -> Simulate {
        let network = Which::ScaleFree(ScaleFree::default());
        Simulate { network, cells: 400, noise: 1.0, dropout: 0.2, counts: true, seed: 0 }
    }
}

/// The result of a simulation.
struct Simulated {
    genes: Vec<String>,
    network: Network,
    /// For each cell, the expression of every gene.
    cells: Vec<Vec<f64>>,
    labels: Labels,
}

/// Metadata of the cells.
enum Labels {
    /// The cell types.
    Types(Vec<String>),
    /// The time since the simulation's start.
    Times(Vec<f64>),
}

impl Stage for Simulate {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("cells", self.cells, 1..=10_000_000)?;
        within("dropout", self.dropout, 0.0..=1.0)?;
        within("noise", self.noise, 0.0..=100.0)?;
        let Which::ScaleFree(network) = &self.network else { return Ok(()) };
        network.check()?;
        let values = self.cells as u128 * network.genes() as u128;
        if values > MOST as u128 {
            let message = format!("`cells` times the number of genes is {values}, more than {MOST}");
            return Err(Mistake::param("cells", message));
        }
        Ok(())
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        match self.network {
            Which::ScaleFree(_) => &[pseudotime::FILE],
            Which::Gsd | Which::Hsc | Which::Vsc | Which::Mcad => &[types::FILE],
        }
    }

    fn run(&self, io: &Io) -> Result<()> {
        let simulated = self.simulate(io)?;
        genes::write(&io.out(genes::FILE), &simulated.genes)?;
        simulated.network.write(&io.out(network::FILE))?;
        let width = self.cells.to_string().len();
        let ids: Vec<String> = (1..=self.cells).map(|cell| format!("cell{cell:0width$}")).collect();
        match simulated.labels {
            Labels::Types(types) => {
                let types: Vec<(String, String)> = ids.iter().cloned().zip(types).collect();
                types::write(&io.out(types::FILE), &types)?;
            }
            Labels::Times(times) => {
                let moment = |(cell, pseudotime): (&String, f64)| Moment {
                    cell: cell.clone(),
                    lineage: "time".to_owned(),
                    pseudotime,
                };
                let moments: Vec<Moment> = ids.iter().zip(times).map(moment).collect();
                pseudotime::write(&io.out(pseudotime::FILE), &moments)?;
            }
        }
        let indices: Vec<u32> = (0..simulated.genes.len() as u32).collect();
        let mut writer = CellWriter::create(&io.out(cells::FILE))?;
        for (id, values) in ids.iter().zip(&simulated.cells) {
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            writer.push(id, &indices, &values)?;
        }
        writer.finish()
    }
}

impl Simulate {
    fn simulate(&self, io: &Io) -> Result<Simulated> {
        let curated = |model: Model| model.simulate(self.cells, self.noise, self.seed, io);
        let mut simulated = match &self.network {
            Which::ScaleFree(scale_free) => scale_free.simulate(self.cells, self.noise, self.seed, io)?,
            Which::Gsd => curated(Model::gsd())?,
            Which::Hsc => curated(Model::hsc())?,
            Which::Vsc => curated(Model::vsc())?,
            Which::Mcad => curated(Model::mcad())?,
        };
        if self.counts {
            measure::count(&mut simulated.cells, self.seed);
        }
        measure::drop(&mut simulated.cells, self.dropout, self.seed);
        Ok(simulated)
    }
}
