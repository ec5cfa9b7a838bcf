//! `import-embeddings`: vectors of genes from other people's models, for the genes of the data.

mod matched;
mod source;

use anyhow::Result;
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, always};
use data::embeddings::{self, Embeddings};
use data::genes;
use data::tokens::VOCABULARY;
use learn::model::weights;
use matched::Matched;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use source::Source;

/// The kind itself.
pub const KIND: Kind = Kind::of::<ImportEmbeddings>(
    "import-embeddings",
    "vectors of genes from elsewhere: scGPT, Geneformer, scBERT, gene2vec or any table, for the genes of the data",
    Slots::Named(&[
        Slot {
            name: "weights",
            about: "a model's folder or file, or a table `name, v1, v2, …`: text or Parquet",
            required: true,
            takes: WEIGHTS,
        },
        Slot {
            name: "data",
            about: "the data whose genes the vectors are for",
            required: true,
            takes: Takes::OneOf(&[&[genes::FILE]]),
        },
        Slot {
            name: "vocabulary",
            about: "the rows of a model's table: `vocab.json`, a token dictionary (`.pkl`), or names, one a line",
            required: false,
            takes: Takes::OneOf(&[&[VOCABULARY]]),
        },
        Slot {
            name: "names",
            about: "symbols and Ensembl ids of genes: a table of two columns, or a pickled dictionary",
            required: false,
            takes: Takes::File,
        },
    ]),
    code!(),
)
.makes(&[always(embeddings::FILE)]);

/// A folder of scGPT, a model's artifact, or vectors that another stage learned.
const WEIGHTS: Takes =
    Takes::OneOf(&[&["best_model.pt", "vocab.json"], &[weights::FILE, VOCABULARY], &[embeddings::FILE]]);

/// Reads vectors of genes; genes of the data that have none are left out.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ImportEmbeddings {}

impl Stage for ImportEmbeddings {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        source::check(wires)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let names = genes::read(&io.input("data")?.join(genes::FILE))?;
        let Source { rows, dimensions, values } = Source::read(io)?;
        let pairs = io.optional_input("names").map(source::pairs).transpose()?.unwrap_or_default();
        let matched = Matched::new(&names, &rows, &pairs)?;
        matched.tell(io);
        let mut found = Embeddings { names: Vec::new(), dimensions, values: Vec::new() };
        for (name, row) in names.iter().zip(&matched.rows) {
            if let Some(row) = row {
                found.names.push(name.clone());
                found.values.extend_from_slice(&values[row * dimensions..][..dimensions]);
            }
        }
        found.write(&io.out(embeddings::FILE))
    }
}
