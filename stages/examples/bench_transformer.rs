//! How long a step of an ordinary transformer takes: exact attention, norms after the residuals, Adam.
//!
//! cargo run --release -p stages --example bench_transformer -- [--threads 2] [--repeats 10]
//!
//! The work is that of PyTorch's `nn.TransformerEncoder` with batch 8, 512 tokens, width 200, 10 heads, feed-forward 800 and
//! 2 layers; only that GELU stands here for its ReLU, which costs more. Prints the least and the median milliseconds, and
//! what a plain matrix product of the same size reaches: the floor that a step is held against.

use anyhow::{Context, Result, bail};
use stages::kit::model::layers::{Linear, List, Norm};
use stages::kit::model::parameters::{Role, trained};
use stages::kit::random::Random;
use stages::kit::tensor::gemm::multiply_parallel;
use stages::kit::tensor::matrix::{View, ViewMut};
use stages::kit::tensor::ops::adam::Adam;
use stages::kit::tensor::ops::add::add;
use stages::kit::tensor::ops::attention::attention;
use stages::kit::tensor::tape::{backward, put, record_scalar, take};
use stages::kit::tensor::{Device, Scalar, Taped, Tensor, device, tensor, values};
use std::time::Instant;

const BATCH: usize = 8;
const TOKENS: usize = 512;
const WIDTH: usize = 200;
const HEADS: usize = 10;
const FEED: usize = 800;
const LAYERS: usize = 2;

fn main() -> Result<()> {
    let (mut threads, mut repeats) = (2, 10);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--threads" => threads = value.parse()?,
            "--repeats" => repeats = value.parse()?,
            _ => bail!("unknown option {option}"),
        }
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    let device = device();
    let mut random = Random::new(0, 0);
    let mut layers: Vec<Layer> = (0..LAYERS).map(|_| Layer::new(&device, &mut random)).collect();
    let x = (0..BATCH * TOKENS * WIDTH).map(|_| random.normal() as f32).collect();
    let x = tensor(&device, x, BATCH * TOKENS, WIDTH);
    let mut adam = Adam::default();
    let mut step = || {
        let y = layers.iter().fold(x.retaped::<Taped>(), |x, layer| layer.forward(x));
        let loss = mean_square(y);
        let value = loss[[]];
        let mut gradients = backward(loss);
        let mut list = List::new(Role::Trained);
        layers.iter_mut().for_each(|layer| layer.list(&mut list));
        adam.step(1e-3, &mut trained(list.named()), &mut gradients);
        value
    };
    (0..2).for_each(|_| {
        step();
    });
    let mut millis: Vec<f64> = (0..repeats)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(step());
            1e3 * start.elapsed().as_secs_f64()
        })
        .collect();
    millis.sort_by(f64::total_cmp);
    println!("transformer step: least {:.1} ms, median {:.1} ms", millis[0], millis[millis.len() / 2]);
    println!("plain product: {:.0} GFLOP/s", plain_product(repeats));
    Ok(())
}

/// What x W of a feed-forward layer reaches on all threads.
fn plain_product(repeats: usize) -> f64 {
    let rows = BATCH * TOKENS;
    let (x, w, mut y) = (vec![0.5; rows * WIDTH], vec![0.5; WIDTH * FEED], vec![0.0; rows * FEED]);
    let seconds = (0..repeats.max(3)).map(|_| {
        let start = Instant::now();
        let out = ViewMut::new(&mut y, rows, FEED);
        multiply_parallel(out, 0.0, 1.0, View::new(&x, rows, WIDTH), View::new(&w, WIDTH, FEED));
        start.elapsed().as_secs_f64()
    });
    2e-9 * (rows * WIDTH * FEED) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

struct Layer {
    /// Queries, keys, values, what becomes of their result.
    attention: [Linear; 4],
    feed: [Linear; 2],
    norms: [Norm; 2],
}

impl Layer {
    fn new(device: &Device, random: &mut Random) -> Layer {
        let mut linear = |inputs, outputs| Linear::new(device, random, inputs, outputs, true);
        Layer {
            attention: [0; 4].map(|_| linear(WIDTH, WIDTH)),
            feed: [linear(WIDTH, FEED), linear(FEED, WIDTH)],
            norms: [0; 2].map(|_| Norm::new(device, WIDTH)),
        }
    }

    fn forward(&self, x: Tensor<Taped>) -> Tensor<Taped> {
        let [queries, keys, values, result] = &self.attention;
        let (x, tape) = x.split_tape();
        let q = queries.forward(x.clone().put_tape(tape));
        let [k, v] = [keys, values].map(|layer| layer.forward(x.retaped::<Taped>()));
        let attended = result.forward(attention(q, k, v, BATCH, HEADS));
        let normal = self.norms[0].forward(add(attended, x.retaped::<Taped>()));
        let (x, tape) = normal.split_tape();
        let fed = self.feed[1].forward(self.feed[0].forward_gelu(x.clone().put_tape(tape)));
        self.norms[1].forward(add(fed, x.retaped::<Taped>()))
    }

    fn list<'a>(&'a mut self, list: &mut List<'a>) {
        self.attention.iter_mut().chain(&mut self.feed).for_each(|layer| list.linear("", layer));
        self.norms.iter_mut().for_each(|norm| list.norm("", norm));
    }
}

/// Σ y² / n; its gradient 2 y / n.
fn mean_square(y: Tensor<Taped>) -> Scalar<Taped> {
    let (y, tape) = y.split_tape();
    let count = values(&y).len() as f32;
    let mean = values(&y).iter().map(|y| f64::from(y * y)).sum::<f64>() / f64::from(count);
    record_scalar(tape, mean as f32, move |flowing, gradients| {
        let mut dy = take(gradients, &y);
        dy.iter_mut().zip(values(&y)).for_each(|(dy, y)| *dy += flowing * 2.0 / count * y);
        put(gradients, &y, dy);
    })
}
