//! Times a training step of an ordinary transformer: exact attention, norms after the residuals, Adam.
//!
//! cargo run --release -p stages --example bench_transformer -- [--threads 2] [--repeats 10]
//!
//! The work is that of PyTorch's `nn.TransformerEncoder` with batch 8, 512 tokens, width 200, 10 heads, feed-forward
//! 800 and 2 layers, except that GELU replaces ReLU, which costs more. Prints the least and the median milliseconds,
//! and the speed of a plain matrix product of the same size as a lower bound for the step.

mod timing;

use anyhow::{Result, bail};
use data::random::Random;
use learn::model::layers::{Linear, List, Norm};
use learn::model::parameters::{Role, trained};
use tensor::gemm::multiply_parallel;
use tensor::matrix::{View, ViewMut};
use tensor::ops::adam::Adam;
use tensor::ops::attention::attention;
use tensor::tape::{backward, put, record_scalar, take};
use tensor::{Device, Scalar, Taped, Tensor, tensor, values};
use timing::Options;

const BATCH: usize = 8;
const TOKENS: usize = 512;
const WIDTH: usize = 200;
const HEADS: usize = 10;
const FEED: usize = 800;
const LAYERS: usize = 2;

fn main() -> Result<()> {
    let options = Options::read(10, "--case", &["step", "product"])?;
    options.each(|case| match case {
        "step" => {
            let mut work = Work::new(&options.device);
            options.time("transformer step", || work.step())
        }
        "product" => plain_product(&options),
        _ => bail!("expected step or product, found {case}"),
    })
}

/// The speed of x W of a feed-forward layer on all threads.
fn plain_product(options: &Options) -> Result<()> {
    let rows = BATCH * TOKENS;
    let (x, w, mut y) = (vec![0.5; rows * WIDTH], vec![0.5; WIDTH * FEED], vec![0.0; rows * FEED]);
    let product = || {
        let out = ViewMut::new(&mut y, rows, FEED);
        multiply_parallel(out, 0.0, 1.0, View::new(&x, rows, WIDTH), View::new(&w, WIDTH, FEED));
    };
    let name = format!("plain product of {} operations", 2 * rows * WIDTH * FEED);
    options.time(&name, product)
}

struct Work {
    layers: Vec<Layer>,
    x: Tensor,
    adam: Adam,
}

impl Work {
    fn new(device: &Device) -> Work {
        let mut random = Random::new(0, 0);
        let layers = (0..LAYERS).map(|_| Layer::new(device, &mut random)).collect();
        let x = (0..BATCH * TOKENS * WIDTH).map(|_| random.normal() as f32).collect();
        Work { layers, x: tensor(device, x, BATCH * TOKENS, WIDTH), adam: Adam::default() }
    }

    fn step(&mut self) {
        let y = self.layers.iter().fold(self.x.retaped::<Taped>(), |x, layer| layer.forward(x));
        let mut gradients = backward(mean_square(y));
        let mut list = List::new(Role::Trained);
        self.layers.iter_mut().for_each(|layer| layer.list(&mut list));
        self.adam.step(1e-3, &mut trained(list.named()), &mut gradients);
    }
}

struct Layer {
    /// The projections of queries, keys, values and output.
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
        let attended = result.forward_add(attention(q, k, v, BATCH, HEADS), x.retaped::<Taped>());
        let normal = self.norms[0].forward(attended);
        let (x, tape) = normal.split_tape();
        let wide = self.feed[0].forward_gelu(x.clone().put_tape(tape));
        self.norms[1].forward(self.feed[1].forward_add(wide, x.retaped::<Taped>()))
    }

    fn list<'a>(&'a mut self, list: &mut List<'a>) {
        self.attention.iter_mut().chain(&mut self.feed).for_each(|layer| list.linear("", layer));
        self.norms.iter_mut().for_each(|norm| list.norm("", norm));
    }
}

/// Σ y² / n, whose gradient is 2 y / n.
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
