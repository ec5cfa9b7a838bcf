//! Times the Performer: a training step and inference, at the sizes of scBERT.
//!
//! cargo run --release -p stages --example bench_performer -- [--threads 2] [--repeats 5] [--device cpu|cuda:0]
//!     [--precision f32|tf32|bf16] [--case train:4:1025]...
//!
//! Prints for each case the least and the median seconds, and the peak memory so far of the process or of the card; run
//! a single case to get its own peak. A case is train or infer, cells, genes.

mod timing;

use anyhow::{Result, bail};
use data::random::Random;
use learn::model::parameters;
use learn::model::performer::{Config, Performer, Tables};
use tensor::ops::adam::Adam;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::tape::backward;
use tensor::{Device, Taped, Untaped, values};
use timing::Options;

fn main() -> Result<()> {
    let options = Options::read(5, "--case", &["train:4:1025", "infer:1:1025", "infer:1:16907"])?;
    options.each(|case| {
        let [what, cells, genes] = case.split(':').collect::<Vec<_>>()[..] else {
            bail!("expected what:cells:genes, found {case}");
        };
        let mut work = Work::new(&options.device, cells.parse()?, genes.parse()?);
        let step = match what {
            "train" => Work::train,
            "infer" => Work::infer,
            _ => bail!("expected train or infer, found {what}"),
        };
        options.time(case, || step(&mut work))
    })
}

struct Work {
    model: Performer,
    adam: Adam,
    tokens: Vec<u32>,
    targets: Vec<u32>,
    cells: usize,
}

impl Work {
    fn new(device: &Device, cells: usize, genes: usize) -> Work {
        let config = Config { train_positions: true, ..Config::default() };
        let tables = Tables { tokens: 7, positions: genes };
        let mut random = Random::new(0, 0);
        let tokens: Vec<u32> = (0..cells * genes).map(|_| random.below(6) as u32).collect();
        let targets = tokens.iter().map(|t| if random.unit() < 0.15 { *t } else { u32::MAX }).collect();
        Work {
            model: Performer::new(device, config, tables, 0),
            adam: Adam::default(),
            tokens,
            targets,
            cells,
        }
    }

    fn train(&mut self) {
        let encodings = self.model.encode(&self.tokens, self.cells, Taped::default());
        let mut gradients =
            backward(cross_entropy(self.model.logits(encodings, &self.tokens, self.cells), &self.targets));
        self.adam.step(1e-4, &mut parameters::trained(self.model.tensors()), &mut gradients);
    }

    fn infer(&mut self) {
        let logits =
            self.model.logits(self.model.encode(&self.tokens, self.cells, Untaped), &self.tokens, self.cells);
        std::hint::black_box(values(&logits));
    }
}
