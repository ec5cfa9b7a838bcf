//! How long a graph network takes: a training step on 20,000 genes and 1,000,000 edges.
//!
//! cargo run --release -p stages --example bench_gnn -- [--threads 2] [--repeats 7] [--layer gcn]...
//!
//! 1,000 TFs with 500,000 edges, most of them those of hubs, both ways; 512 features to 128 to 64, for attention in 3
//! heads each; 65,536 pairs scored by dot products, binary cross-entropy, Adam. Prints for each layer the least and
//! the median seconds and the peak memory of the process so far. `benches/pyg_does.py` is the same in PyTorch Geometric.

mod timing;

use anyhow::{Result, bail};
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
use timing::Options;

const GENES: usize = 20_000;
const TFS: usize = 1_000;
const EDGES: usize = 500_000;
const FEATURES: usize = 512;
const PAIRS: usize = 1 << 16;

fn main() -> Result<()> {
    let options = Options::read(7, "--layer", &["gcn", "sage", "gat"], |_, _| Ok(false))?;
    options.each(|name| {
        let layer = match name {
            "gcn" => LayerKind::Gcn,
            "sage" => LayerKind::Sage,
            "gat" => LayerKind::Gat,
            _ => bail!("expected gcn, sage or gat, found {name}"),
        };
        let mut work = Work::new(layer);
        options.time(name, || work.step(), timing::peak_memory)
    })
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
        let config = Config { layer, widths: vec![128, 64], heads: 3, residual: false, ..Config::default() };
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
