//! How long a graph network takes: a training step on 20,000 genes and 1,000,000 edges.
//!
//! cargo run --release -p stages --example bench_gnn -- [--threads 2] [--repeats 7] [--layer gcn]...
//!
//! 1,000 TFs with 500,000 edges, most of them those of hubs, both ways; 512 features to 128 to 64, for attention in 3
//! heads each; 65,536 pairs scored by dot products, binary cross-entropy, Adam. Prints for each layer the least and
//! the median seconds and the peak memory of the process so far. `benches/pyg_does.py` is the same in PyTorch Geometric.

use anyhow::{Context, Result, bail};
use stages::kit::model::draws::Draws;
use stages::kit::model::gnn::{Config, Gnn, LayerKind, Messages};
use stages::kit::model::layers::List;
use stages::kit::model::parameters::{self, Role};
use stages::kit::random::Random;
use stages::kit::tensor::ops::adam::Adam;
use stages::kit::tensor::ops::binary_cross_entropy::binary_cross_entropy;
use stages::kit::tensor::ops::dot::dot;
use stages::kit::tensor::ops::gather::gather;
use stages::kit::tensor::tape::backward;
use stages::kit::tensor::{Taped, Tensor, device, tensor};
use std::time::Instant;

const GENES: usize = 20_000;
const TFS: usize = 1_000;
const EDGES: usize = 500_000;
const FEATURES: usize = 512;
const PAIRS: usize = 1 << 16;

fn main() -> Result<()> {
    let (mut threads, mut repeats, mut layers) = (2, 7, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--threads" => threads = value.parse()?,
            "--repeats" => repeats = value.parse()?,
            "--layer" => layers.push(value),
            _ => bail!("unknown option {option}"),
        }
    }
    if layers.is_empty() {
        layers = ["gcn", "sage", "gat"].map(str::to_owned).to_vec();
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    for name in layers {
        let layer = match name.as_str() {
            "gcn" => LayerKind::Gcn,
            "sage" => LayerKind::Sage,
            "gat" => LayerKind::Gat,
            _ => bail!("expected gcn, sage or gat, found {name}"),
        };
        let mut work = Work::new(layer);
        work.step();
        let mut seconds: Vec<f64> = (0..repeats)
            .map(|_| {
                let start = Instant::now();
                work.step();
                start.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        let (least, median) = (seconds[0], seconds[seconds.len() / 2]);
        println!("{name}: least {least:.3} s, median {median:.3} s, peak memory {:.2} GiB", peak_memory()?);
    }
    Ok(())
}

struct Work {
    gnn: Gnn,
    messages: Messages,
    features: Tensor,
    pairs: [Vec<u32>; 2],
    labels: Vec<bool>,
    adam: Adam,
}

impl Work {
    fn new(layer: LayerKind) -> Work {
        let config = Config { layer, widths: vec![128, 64], heads: 3, ..Config::default() };
        let mut random = Random::new(0, 0);
        let values = (0..GENES * FEATURES).map(|_| random.normal() as f32).collect();
        let mut edges = std::collections::BTreeSet::new();
        while edges.len() < EDGES {
            let share = random.unit();
            edges.insert(((TFS as f64 * share * share) as u32, random.below(GENES) as u32));
        }
        let edges = edges.into_iter().flat_map(|(tf, target)| [(tf, target), (target, tf)]);
        let messages = config.messages(GENES, edges);
        let mut ends = |below: usize| (0..PAIRS).map(|_| random.below(below) as u32).collect();
        let pairs = [ends(TFS), ends(GENES)];
        let labels = (0..PAIRS).map(|_| random.unit() < 0.5).collect();
        let device = device();
        let gnn = Gnn::new(&device, config, FEATURES, &mut random);
        let features = tensor(&device, values, GENES, FEATURES);
        Work { gnn, messages, features, pairs, labels, adam: Adam::default() }
    }

    fn step(&mut self) {
        let encoded = self.gnn.encode(&self.features, &self.messages, &mut Draws::none(), Taped::default());
        let (encoded, tape) = encoded.split_tape();
        let tfs = gather(encoded.clone().put_tape(tape), &self.pairs[0]);
        let logits = dot(tfs, gather(encoded.retaped(), &self.pairs[1]));
        let mut gradients = backward(binary_cross_entropy(logits, &self.labels, 1.0));
        let mut list = List::new(Role::Trained);
        self.gnn.list("gnn", &mut list);
        self.adam.step(1e-3, &mut parameters::trained(list.named()), &mut gradients);
    }
}

/// In GiB, as the kernel counts it.
fn peak_memory() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / f64::from(1 << 20))
}
