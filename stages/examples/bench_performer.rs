//! How long the Performer takes: a training step and inference, at the sizes of scBERT.
//!
//! cargo run --release -p stages --example bench_performer -- [--threads 2] [--repeats 5] [--device cpu|cuda:0]
//!     [--precision f32|tf32|bf16] [--case train:4:1025]...
//!
//! Prints for each case the least and the median seconds and the peak memory so far, of the process or of the card; give one
//! case for its own peak. A case is train or infer, cells, genes.

use anyhow::{Context, Result, bail};
use stages::kit::model::parameters;
use stages::kit::model::performer::{Config, Performer, Tables};
use stages::kit::random::Random;
use stages::kit::tensor::device::{Device, Precision};
use stages::kit::tensor::ops::adam::Adam;
use stages::kit::tensor::ops::cross_entropy::cross_entropy;
use stages::kit::tensor::tape::backward;
use stages::kit::tensor::{Taped, Untaped, values};
use stages::stage;
use std::time::Instant;

fn main() -> Result<()> {
    let (mut threads, mut repeats, mut cases) = (2, 5, Vec::new());
    let (mut given, mut precision) = (stage::Device::Cpu, Precision::F32);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--threads" => threads = value.parse()?,
            "--repeats" => repeats = value.parse()?,
            "--device" if value == "cpu" => given = stage::Device::Cpu,
            "--device" => {
                let id = value.strip_prefix("cuda:").context("--device is cpu or cuda:N")?;
                given = stage::Device::Cuda(id.parse()?);
            }
            "--precision" => precision = serde_json::from_value(value.into())?,
            "--case" => cases.push(value),
            _ => bail!("unknown option {option}"),
        }
    }
    if cases.is_empty() {
        cases = ["train:4:1025", "infer:1:1025", "infer:1:16907"].map(str::to_owned).to_vec();
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let device = Device::open(given, precision)?;
    for case in cases {
        let [what, cells, genes] = case.split(':').collect::<Vec<_>>()[..] else {
            bail!("expected what:cells:genes, found {case}");
        };
        let (cells, genes) = (cells.parse()?, genes.parse()?);
        let mut work = Work::new(&device, cells, genes);
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
        println!(
            "{case}: least {least:.4} s, median {median:.4} s, peak memory {:.2} GiB",
            peak_memory(&device)?
        );
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
        let mut gradients = backward(cross_entropy(self.model.logits(encodings), &self.targets));
        self.adam.step(1e-4, &mut parameters::trained(self.model.tensors()), &mut gradients);
    }

    fn infer(&mut self) {
        let logits = self.model.logits(self.model.encode(&self.tokens, self.cells, Untaped));
        std::hint::black_box(values(&logits));
    }
}

/// In GiB: of a card what was in use, of the process as the kernel counts it.
fn peak_memory(device: &Device) -> Result<f64> {
    if let Some(card) = device.card() {
        return Ok(card.peak() as f64 / f64::from(1 << 30));
    }
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / f64::from(1 << 20))
}
