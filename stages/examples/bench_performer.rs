//! How long the Performer takes: a training step and inference, at the sizes of scBERT.
//!
//! cargo run --release -p stages --example bench_performer -- [--threads 2] [--repeats 5] [--case train:4:1025]...
//!
//! Prints for each case the least and the median seconds and the peak memory of the process so far; give one
//! case for its own peak. A case is train or infer, cells, genes.

use anyhow::{Context, Result, bail};
use stages::kit::model::parameters;
use stages::kit::model::performer::{Config, Performer, Tables};
use stages::kit::random::Random;
use stages::kit::tensor::ops::adam::Adam;
use stages::kit::tensor::ops::cross_entropy::cross_entropy;
use stages::kit::tensor::tape::backward;
use stages::kit::tensor::{Taped, Untaped, device, values};
use std::time::Instant;

fn main() -> Result<()> {
    let (mut threads, mut repeats, mut cases) = (2, 5, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--threads" => threads = value.parse()?,
            "--repeats" => repeats = value.parse()?,
            "--case" => cases.push(value),
            _ => bail!("unknown option {option}"),
        }
    }
    if cases.is_empty() {
        cases = ["train:4:1025", "infer:1:1025", "infer:1:16907"].map(str::to_owned).to_vec();
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    for case in cases {
        let [what, cells, genes] = case.split(':').collect::<Vec<_>>()[..] else {
            bail!("expected what:cells:genes, found {case}");
        };
        let (cells, genes) = (cells.parse()?, genes.parse()?);
        let mut work = Work::new(cells, genes);
        let step = match what {
            "train" => Work::train,
            "infer" => Work::infer,
            _ => bail!("expected train or infer, found {what}"),
        };
        step(&mut work);
        let mut seconds: Vec<f64> = (0..repeats)
            .map(|_| {
                let start = Instant::now();
                step(&mut work);
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let (least, median) = (seconds[0], seconds[seconds.len() / 2]);
        println!("{case}: least {least:.3} s, median {median:.3} s, peak memory {:.2} GiB", peak_memory()?);
    }
    Ok(())
}

struct Work {
    model: Performer,
    adam: Adam,
    tokens: Vec<u32>,
    targets: Vec<u32>,
    cells: usize,
}

impl Work {
    fn new(cells: usize, genes: usize) -> Work {
        let config = Config { train_positions: true, ..Config::default() };
        let tables = Tables { tokens: 7, positions: genes };
        let mut random = Random::new(0, 0);
        let tokens: Vec<u32> = (0..cells * genes).map(|_| random.below(6) as u32).collect();
        let targets = tokens.iter().map(|t| if random.unit() < 0.15 { *t } else { u32::MAX }).collect();
        Work {
            model: Performer::new(&device(), config, tables, 0),
            adam: Adam::default(),
            tokens,
            targets,
            cells,
        }
    }

    fn train(&mut self) {
        let encodings = self.model.encode(&self.tokens, self.cells, Taped::default());
        let mut gradients = backward(cross_entropy(self.model.logits(encodings), &self.targets));
        self.adam.step(1e-4, &mut parameters::trained(self.model.tensors()), &mut gradients);
    }

    fn infer(&mut self) {
        let logits = self.model.logits(self.model.encode(&self.tokens, self.cells, Untaped));
        std::hint::black_box(values(&logits));
    }
}

/// In GiB, as the kernel counts it.
fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / f64::from(1 << 20))
}
