//! Times a graph network: a training step on 20,000 genes and 1,000,000 edges.
//!
//! cargo run --release -p stages --example bench_gnn -- [--threads 2] [--repeats 7] [--device cpu|cuda:0]
//!     [--precision f32|tf32|bf16] [--layer gcn:20000]...
//!
//! `--layer` takes a layer and a number of genes. 1 gene of 20 is a TF; there are 25 edges per gene, most of them those
//! of hubs, in both directions. Features are reduced from 512 to 128 to 64, for attention in 3 heads each. About 3
//! pairs per gene, 65,536 in all, are scored by dot products; binary cross-entropy, Adam. All pairs form one batch, so
//! a step is an epoch. Prints for each layer the least and the median seconds, and the peak memory so far of the
//! process or of the card. `benches/pyg_does.py` does the same in PyTorch Geometric.

mod timing;

use anyhow::{Context, Result, bail};
use data::random::Random;
use learn::model::draws::Draws;
use learn::model::gnn::{Config, Gnn, LayerKind, Messages};
use learn::model::layers::List;
use learn::model::parameters::{self, Role};
use tensor::ops::adam::Adam;
use tensor::ops::binary_cross_entropy::binary_cross_entropy;
use tensor::ops::dot::dot;
use tensor::ops::gather::gather;
use tensor::tape::backward;
use tensor::{Device, Taped, Tensor, tensor};
use timing::Options;

const FEATURES: usize = 512;

fn main() -> Result<()> {
    let options = Options::read(7, "--layer", &["gcn:20000", "sage:20000", "gat:20000"])?;
    options.each(|case| {
        let (name, genes) = case.split_once(':').context("expected layer:genes")?;
        let layer = match name {
            "gcn" => LayerKind::Gcn,
            "sage" => LayerKind::Sage,
            "gat" => LayerKind::Gat,
            _ => bail!("expected gcn, sage or gat, found {name}"),
        };
        let genes: usize = genes.parse()?;
        if genes < 1_000 {
            bail!("{genes} genes have no room for 25 edges each; give 1000 or more");
        }
        let mut work = Work::new(&options.device, layer, genes);
        options.time(case, || work.step())
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
    fn new(device: &Device, layer: LayerKind, genes: usize) -> Work {
        let (tfs, all_edges, all_pairs) = (genes / 20, genes * 25, genes * (1 << 16) / 20_000);
        let config = Config { layer, widths: vec![128, 64], heads: 3, residual: false, ..Config::default() };
        let mut random = Random::new(0, 0);
        let values = (0..genes * FEATURES).map(|_| random.normal() as f32).collect();
        let mut edges = std::collections::BTreeSet::new();
        while edges.len() < all_edges {
            let share = random.unit();
            edges.insert(((tfs as f64 * share * share) as u32, random.below(genes) as u32));
        }
        let edges = edges.into_iter().flat_map(|(tf, target)| [(tf, target), (target, tf)]);
        let messages = config.messages(genes, edges);
        let mut ends = |below: usize| (0..all_pairs).map(|_| random.below(below) as u32).collect();
        let pairs = [ends(tfs), ends(genes)];
        let labels = (0..all_pairs).map(|_| random.unit() < 0.5).collect();
        let gnn = Gnn::new(device, config, FEATURES, &mut random);
        let features = tensor(device, values, genes, FEATURES);
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
