//! A program that adds a kind of its own to the built-in kinds.
use pipeline::data::columns::{Column, Columns};
use pipeline::data::{cells, genes, pairs, scores, scores::Score};
use pipeline::stage::{Io, Kind, Slot, Slots, Stage};
use std::collections::{BTreeSet, HashMap};

fn main() -> std::process::ExitCode {
    pipeline::main(&[pipeline::KINDS, &[TOGETHER]].concat())
}

const SLOTS: Slots = Slots::Named(&[
    Slot { name: "data", about: "the cells", required: true, takes: cells::ARTIFACT },
    Slot { name: "split", about: "the pairs to score", required: true, takes: pairs::ARTIFACT },
]);
const TOGETHER: Kind =
    Kind::of::<Together>("together", "scores pairs by the cells that have both", SLOTS, pipeline::code!());

/// The params, as written below `with:` in a pipeline file.
#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
struct Together {
    above: f32, // A gene counts as expressed in a cell above this value.
}

impl Stage for Together {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let columns =
            Columns::read(&data.join(cells::FILE), &vec![true; names.len()], || Ok(io.check_stop()?))?;
        let having = |column: &Column| -> BTreeSet<u32> {
            let pairs = column.cells.iter().zip(&column.values);
            pairs.filter(|(_, value)| **value > self.above).map(|(cell, _)| *cell).collect()
        };
        let cells: HashMap<&String, _> = names.iter().zip(columns.genes.iter().map(having)).collect();
        let pairs = pairs::read(&io.input("split")?.join(pairs::FILE))?;
        let both = |pair: &pairs::Pair| cells[&pair.tf].intersection(&cells[&pair.target]).count() as f64;
        let score = |pair: pairs::Pair| Score { score: both(&pair), tf: pair.tf, target: pair.target };
        scores::write(&io.out(scores::FILE), &pairs.into_iter().map(score).collect::<Vec<_>>())
    }
}
