//! `embed`: a model's vectors of genes and cells.

mod yardsticks;

use anyhow::{Result, bail};
use contract::bounds::{MOST, WIDEST, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, sometimes};
use data::embeddings::{self, ByCellWriter, Embeddings, Writer};
use data::metrics::summary::Row;
use data::metrics::table;
use data::network::{self, Network};
use data::random::choose;
use data::tokens::{self, About, TokenReader};
use data::types;
use learn::model::saved::{self, Saved};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tensor::device::{self, Precision};
use tensor::{Device, Untaped, shape, values};
use yardsticks::Tokens;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Embed>(
    "embed",
    "vectors of a model: of each gene, of each cell, or of each gene in each cell",
    Slots::Named(&[
        Slot { name: "model", about: "a trained model", required: true, takes: saved::ARTIFACT },
        Slot {
            name: "tokens",
            about: "tokens of cells, made for the model's vocabulary",
            required: true,
            takes: tokens::ARTIFACT,
        },
        Slot {
            name: "types",
            about: "cells with their types (an artifact, or a csv, tsv or Parquet), to judge vectors of cells by",
            required: false,
            takes: Takes::OneOf(&[&[types::FILE]]),
        },
        Slot {
            name: "network",
            about: "known partners, to judge vectors of genes by",
            required: false,
            takes: Takes::OneOf(&[&[network::FILE]]),
        },
    ]),
    code!(),
)
.makes(&[sometimes(embeddings::FILE), sometimes(embeddings::BY_CELL), sometimes(table::FILE)])
.judges(&yardsticks::METRICS)
.on_device(code!(gpu), tensor::card::gpus);

/// The random stream that draws the cells.
const CELLS_STREAM: u64 = 1 << 53;

/// Encodes cells. Memory does not grow with the number of cells.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Embed {
    /// What each vector is of. The default is `genes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<Of>,
    /// The former word for `of`: what the vectors are averaged over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<Pool>,
    /// Uses at most this many cells, drawn at random.
    cells: Option<usize>,
    /// The random seed that draws the cells.
    seed: u64,
    /// How matrix products are rounded.
    precision: Precision,
    /// Cells per batch. Does not affect the result, so it is not part of the key.
    #[serde(skip_serializing)]
    batch: Option<usize>,
}

/// What a vector is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Of {
    /// Of each gene: the average over cells.
    Genes,
    /// Of each cell. A model with a `cell_width` gives its own vector of the cell, others the average over genes.
    Cells,
    /// Of each gene in each cell.
    Both,
}

/// What vectors are averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Pool {
    /// `of: genes`.
    Cells,
    /// `of: cells`.
    Genes,
    /// `of: both`.
    None,
}

/// Where the encodings go.
enum Sink {
    /// Running sums over cells.
    Genes(Vec<f64>),
    Cells(Writer),
    Both(ByCellWriter),
}

impl Stage for Embed {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        within("batch", self.batch.unwrap_or(1), 1..=WIDEST)?;
        within("cells", self.cells.unwrap_or(1), 1..=MOST)?;
        if self.of.is_some() && self.pool.is_some() {
            return Err(Mistake::param("pool", "`pool` is the former word for `of`: leave one of them out"));
        }
        for (slot, judged, of) in [("types", Of::Cells, "cells"), ("network", Of::Genes, "genes")] {
            if wires.has(slot) && self.of() != judged {
                let message = format!("the input `{slot}` judges vectors of {of}: it goes with `of: {of}`");
                return Err(Mistake::slot(slot, message));
            }
        }
        types::check("types", wires)
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        match self.of() {
            Of::Genes | Of::Cells => &[embeddings::BY_CELL],
            Of::Both => &[embeddings::FILE, table::FILE],
        }
    }

    fn run(&self, io: &Io) -> Result<()> {
        device::on(io.device, self.precision, "batch", |device| self.embed(device, io))
    }
}

/// What vectors are held against, and the cells that this is done with.
struct Judge {
    /// Types by cell, to judge vectors of cells by.
    types: Option<HashMap<String, String>>,
    /// Known partners, to judge vectors of genes by.
    network: Option<Network>,
    tokens: Tokens,
    /// The vectors of these cells and their types, if types are judged by.
    vectors: Vec<f32>,
    of_cells: Vec<String>,
}

impl Embed {
    fn of(&self) -> Of {
        match (self.of, self.pool) {
            (Some(of), _) => of,
            (None, Some(Pool::Genes)) => Of::Cells,
            (None, Some(Pool::None)) => Of::Both,
            (None, Some(Pool::Cells) | None) => Of::Genes,
        }
    }

    fn embed(&self, device: &Device, io: &Io) -> Result<()> {
        let saved = Saved::read(device, io.input("model")?)?;
        let folder = io.input("tokens")?;
        let (about, vocabulary) = About::read(folder)?;
        saved.check(about, &vocabulary)?;
        let mut judge = Judge::read(about, io)?;
        let reader = TokenReader::open(folder, about)?;
        let wanted = self.choose(reader.cells());
        let count = wanted.iter().filter(|wanted| **wanted).count();
        if count == 0 {
            bail!("there are no cells to embed");
        }
        let width = saved.card.performer.width;
        let path = io.out(embeddings::FILE);
        let own = saved.model.readout().filter(|_| self.of() == Of::Cells);
        let mut sink = match self.of() {
            Of::Genes => Sink::Genes(vec![0.0; about.genes * width]),
            Of::Cells => Sink::Cells(Writer::create(&path, own.map_or(width, |readout| readout.width()))?),
            Of::Both => Sink::Both(ByCellWriter::create(&io.out(embeddings::BY_CELL), &vocabulary, width)?),
        };
        let batch = saved.model.batch(self.batch);
        let every = count.div_ceil(yardsticks::MOST_CELLS);
        let (mut ids, mut tokens) = (Vec::new(), Vec::new());
        let (mut seen, mut done) = (0, 0);
        for cells in reader {
            for (id, genes, of_cell) in cells?.cells() {
                seen += 1;
                if !wanted[seen - 1] {
                    continue;
                }
                let start = tokens.len();
                tokens.resize(start + about.genes + 1, 0);
                for (gene, token) in genes.iter().zip(of_cell) {
                    tokens[start + *gene as usize] = u32::from(*token);
                }
                ids.push(id.to_owned());
                if ids.len() == batch || done + ids.len() == count {
                    io.check_stop()?;
                    // A cell's own vector is a single row, of which the average is the row itself.
                    let (vectors, used) = match own {
                        Some(readout) => (readout.cells(&tokens, ids.len(), Untaped), readout.width()),
                        None => (saved.model.encode(&tokens, ids.len(), Untaped), about.genes * width),
                    };
                    let of_cells = ids.iter().zip(tokens.chunks(about.genes + 1));
                    let encodings =
                        values(&vectors).chunks(shape(&vectors).0 * shape(&vectors).1 / ids.len());
                    for ((number, (id, tokens)), encodings) in (done..).zip(of_cells).zip(encodings) {
                        // The last row belongs to the trailing token and is no gene.
                        let vector = sink.take(id, &encodings[..used])?;
                        if number % every == 0 {
                            judge.take(id, tokens, &vector);
                        }
                    }
                    done += ids.len();
                    ids.clear();
                    tokens.clear();
                    io.progress(done as u64, count as u64);
                }
            }
        }
        let mut vectors = Vec::new();
        match sink {
            Sink::Genes(sums) => {
                vectors = sums.iter().map(|sum| (sum / count as f64) as f32).collect();
                let (names, values) = (vocabulary.clone(), vectors.clone());
                Embeddings { names, dimensions: width, values }.write(&path)?;
            }
            Sink::Cells(writer) => writer.finish()?,
            Sink::Both(writer) => return writer.finish(),
        }
        match judge.rows(&vectors, &vocabulary, self.seed, io)? {
            Some(rows) => table::write(&io.out(table::FILE), &rows),
            None => Ok(()),
        }
    }

    /// Marks the cells that are used.
    fn choose(&self, cells: usize) -> Vec<bool> {
        let mut wanted = vec![false; cells];
        let chosen = choose(cells, self.cells.unwrap_or(cells), self.seed, CELLS_STREAM);
        chosen.into_iter().for_each(|cell| wanted[cell] = true);
        wanted
    }
}

impl Sink {
    /// Consumes a cell's encodings; returns its vector if vectors are of cells.
    fn take(&mut self, id: &str, encodings: &[f32]) -> Result<Vec<f32>> {
        match self {
            Sink::Genes(sums) => {
                sums.iter_mut().zip(encodings).for_each(|(sum, value)| *sum += f64::from(*value));
                Ok(Vec::new())
            }
            Sink::Cells(writer) => {
                let vector = mean_of_rows(encodings, writer.dimensions());
                writer.push(id, &vector)?;
                Ok(vector)
            }
            Sink::Both(writer) => writer.push(id, encodings).map(|()| Vec::new()),
        }
    }
}

impl Judge {
    fn read(about: About, io: &Io) -> Result<Judge> {
        let types = match io.optional_input("types") {
            Some(path) => Some(types::read_any(path, None)?.into_iter().collect()),
            None => None,
        };
        let network = match io.optional_input("network") {
            Some(folder) => Some(Network::read(&folder.join(network::FILE))?),
            None => None,
        };
        let tokens = Tokens { values: Vec::new(), positions: about.genes + 1, mask: u32::from(about.mask) };
        Ok(Judge { types, network, tokens, vectors: Vec::new(), of_cells: Vec::new() })
    }

    /// Keeps a cell if vectors are judged by it.
    fn take(&mut self, id: &str, tokens: &[u32], vector: &[f32]) {
        if let Some(types) = &self.types {
            let Some(of) = types.get(id) else { return };
            self.of_cells.push(of.clone());
            self.vectors.extend_from_slice(vector);
        } else if self.network.is_none() {
            return;
        }
        self.tokens.values.extend_from_slice(tokens);
    }

    /// The metrics, if there is something to judge by. `genes` are the vectors of genes.
    fn rows(&self, genes: &[f32], vocabulary: &[String], seed: u64, io: &Io) -> Result<Option<Vec<Row>>> {
        let Judge { types, network, tokens, vectors, of_cells } = self;
        match (types, network) {
            (Some(_), _) => yardsticks::of_cells(vectors, tokens, of_cells, seed, io).map(Some),
            (None, Some(network)) => {
                yardsticks::of_genes(genes, tokens, vocabulary, network, seed, io).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

fn mean_of_rows(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for row in values.chunks(width) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let rows = (values.len() / width) as f64;
    sums.iter().map(|sum| (sum / rows) as f32).collect()
}
