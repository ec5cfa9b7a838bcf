//! `export`: writes results in the formats of other programs.

mod edges;
mod matrix;
mod model;

use anyhow::Result;
use contract::bounds::{MOST, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, sometimes};
use data::cells;
use data::embeddings;
use data::scores;
use data::types;
use learn::model::saved::{self, CONFIG};
use learn::model::{classifier, weights};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind itself.
pub const KIND: Kind = Kind::of::<Export>(
    "export",
    "results in the formats of other programs: BEELINE, pySCENIC, Cytoscape, AnnData, NumPy, csv, Hugging Face",
    Slots::Named(&[
        Slot {
            name: "scores",
            about: "scored pairs, for `beeline`, `pyscenic` and `graphml`",
            required: false, takes: scores::ARTIFACT
        },
        Slot { name: "data", about: "cells and genes, for `h5ad` and `csv`", required: false, takes: cells::ARTIFACT },
        Slot { name: "gene_embeddings", about: "vectors of genes, for `h5ad` and `npy`", required: false, takes: embeddings::ARTIFACT },
        Slot { name: "cell_embeddings", about: "vectors of cells, for `h5ad` and `npy`", required: false, takes: embeddings::ARTIFACT },
        Slot { name: "predictions", about: "predicted types of the cells, for `h5ad`", required: false, takes: PREDICTED },
        Slot { name: "model", about: "a trained model, for `huggingface`", required: false, takes: saved::ARTIFACT },
    ]),
    code!(),
)
.makes(&[
    sometimes("rankedEdges.csv"),
    sometimes("adjacencies.csv"),
    sometimes("network.graphml"),
    sometimes("data.h5ad"),
    sometimes("genes.npy"),
    sometimes("genes.txt"),
    sometimes("cells.npy"),
    sometimes("cells.txt"),
    sometimes("expression.csv"),
    sometimes(CONFIG),
    sometimes(weights::FILE),
    sometimes("vocab.txt"),
    sometimes("README.md"),
    sometimes(classifier::FILE),
]);

/// The artifact of a `finetune` that predicts types.
const PREDICTED: Takes = Takes::OneOf(&[&[types::PREDICTIONS]]);

/// Writes results in the format of another program.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Export {
    /// The format.
    format: Format,
    /// For scored pairs: only this many of the highest scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top: Option<usize>,
}

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// `rankedEdges.csv` as BEELINE reads it, separated by tabs.
    Beeline,
    /// `adjacencies.csv` as pySCENIC reads it.
    Pyscenic,
    /// `network.graphml`, for Cytoscape.
    Graphml,
    /// `data.h5ad` with embeddings in `obsm` and `varm`, and predicted types in `obs`.
    H5ad,
    /// Embeddings as `genes.npy` and `cells.npy`, with the names in separate files.
    Npy,
    /// `expression.csv`: genes × cells.
    Csv,
    /// `config.json`, `model.safetensors`, `vocab.txt` and a model card, as on Hugging Face's hub.
    Huggingface,
}

impl Stage for Export {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        within("top", self.top.unwrap_or(1), 1..=MOST)?;
        let needs: &[&str] = match self.format {
            Format::Beeline | Format::Pyscenic | Format::Graphml => &["scores"],
            Format::H5ad | Format::Csv => &["data"],
            Format::Npy => &["gene_embeddings", "cell_embeddings"],
            Format::Huggingface => &["model"],
        };
        if needs.iter().any(|slot| wires.has(slot)) {
            return Ok(());
        }
        Err(Mistake::slot(
            needs[0],
            format!("nothing to export in this format: it needs the input `{}`", needs.join("` or `")),
        ))
    }

    fn run(&self, io: &Io) -> Result<()> {
        match self.format {
            Format::Beeline => edges::beeline(io, self.top),
            Format::Pyscenic => edges::pyscenic(io, self.top),
            Format::Graphml => edges::graphml(io, self.top),
            Format::H5ad => matrix::h5ad(io),
            Format::Npy => matrix::npy(io),
            Format::Csv => matrix::csv(io),
            Format::Huggingface => model::huggingface(io),
        }
    }
}
