//! `embed`: a model's vectors of genes and cells.

use anyhow::{Result, bail};
use contract::bounds::{MOST, WIDEST, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Wires, sometimes};
use data::embeddings::{self, ByCellWriter, Embeddings, Writer};
use data::random::Random;
use data::tokens::{self, About, TokenReader};
use learn::model::saved::{self, Saved};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensor::device::{self, Precision};
use tensor::{Device, Untaped, values};

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
    ]),
    code!(),
)
.makes(&[sometimes(embeddings::FILE), sometimes(embeddings::BY_CELL)])
.on_device(code!(gpu), tensor::card::gpus);

/// The random stream that draws the cells.
const CELLS_STREAM: u64 = 1 << 53;
/// Encodes cells. Memory does not grow with the number of cells.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Embed {
    /// What the vectors are averaged over.
    pool: Pool,
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

/// What the vectors are averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Pool {
    /// Over the cells: a vector for each gene.
    Cells,
    /// Over the genes: a vector for each cell. A model with a `cell_width` gives its own vector of the cell instead of an
    /// average.
    Genes,
    /// No averaging: a vector for each gene in each cell.
    None,
}

impl Default for Embed {
    fn default() -> Embed {
        Embed { pool: Pool::Cells, cells: None, seed: 0, precision: Precision::default(), batch: None }
    }
}

/// Where the encodings go.
enum Sink {
    /// Running sums over cells.
    Genes(Vec<f64>),
    Cells(Writer),
    Both(ByCellWriter),
}

impl Stage for Embed {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("batch", self.batch.unwrap_or(1), 1..=WIDEST)?;
        within("cells", self.cells.unwrap_or(1), 1..=MOST)
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        match self.pool {
            Pool::Cells | Pool::Genes => &[embeddings::BY_CELL],
            Pool::None => &[embeddings::FILE],
        }
    }

    fn run(&self, io: &Io) -> Result<()> {
        device::on(io.device, self.precision, "batch", |device| self.embed(device, io))
    }
}

impl Embed {
    fn embed(&self, device: &Device, io: &Io) -> Result<()> {
        let saved = Saved::read(device, io.input("model")?)?;
        let folder = io.input("tokens")?;
        let (about, vocabulary) = About::read(folder)?;
        saved.check(about, &vocabulary)?;
        let reader = TokenReader::open(folder, about)?;
        let wanted = self.choose(reader.cells());
        let count = wanted.iter().filter(|wanted| **wanted).count();
        if count == 0 {
            bail!("there are no cells to embed");
        }
        let width = saved.card.performer.width;
        let path = io.out(embeddings::FILE);
        let own = saved.model.readout().filter(|_| self.pool == Pool::Genes);
        let mut sink = match self.pool {
            Pool::Cells => Sink::Genes(vec![0.0; about.genes * width]),
            Pool::Genes => Sink::Cells(Writer::create(&path, own.map_or(width, |readout| readout.width()))?),
            Pool::None => Sink::Both(ByCellWriter::create(&io.out(embeddings::BY_CELL), &vocabulary, width)?),
        };
        let batch = saved.model.batch(self.batch);
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
                    sink.take(&ids, values(&vectors), used)?;
                    done += ids.len();
                    ids.clear();
                    tokens.clear();
                    io.progress(done as u64, count as u64);
                }
            }
        }
        match sink {
            Sink::Genes(sums) => {
                let values = sums.iter().map(|sum| (sum / count as f64) as f32).collect();
                Embeddings { names: vocabulary, dimensions: width, values }.write(&path)
            }
            Sink::Cells(writer) => writer.finish(),
            Sink::Both(writer) => writer.finish(),
        }
    }

    /// Marks the cells that are used.
    fn choose(&self, cells: usize) -> Vec<bool> {
        let mut order: Vec<usize> = (0..cells).collect();
        Random::new(self.seed, CELLS_STREAM).shuffle(&mut order);
        let mut wanted = vec![false; cells];
        order.iter().take(self.cells.unwrap_or(cells)).for_each(|cell| wanted[*cell] = true);
        wanted
    }
}

impl Sink {
    /// Consumes some cells' encodings. The last row of each cell belongs to the trailing token and is no gene.
    fn take(&mut self, ids: &[String], encodings: &[f32], of_genes: usize) -> Result<()> {
        for (id, encodings) in ids.iter().zip(encodings.chunks(encodings.len() / ids.len())) {
            let encodings = &encodings[..of_genes];
            match self {
                Sink::Genes(sums) => {
                    sums.iter_mut().zip(encodings).for_each(|(sum, value)| *sum += f64::from(*value));
                }
                Sink::Cells(writer) => writer.push(id, &mean_of_rows(encodings, writer.dimensions()))?,
                Sink::Both(writer) => writer.push(id, encodings)?,
            }
        }
        Ok(())
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
