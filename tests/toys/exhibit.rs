//! Writes tables of every shape that a report shows, in no time.

use anyhow::Context;
use arrow::array::{ArrayRef, Float32Array, Float64Array, Int64Array, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use contract::stage::{Io, Stage};
use data::random::Random;
use data::table::{Table, write};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const NAMES: usize = 40;
const STEPS: usize = 8;

/// Writes links, vectors, labels, weights, a history and a model.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    seed: u64,
    skill: f64,
    /// What it warns of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// The cross-entropy that a simpler model reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    yardstick: Option<f64>,
}

fn texts(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn floats(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

impl Stage for Exhibit {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let mut random = Random::new(self.seed, 0);
        let name = |i: usize| format!("n{i}");
        let noise: Vec<f64> = (0..NAMES).map(|_| random.unit()).collect();
        let noise_in_all: f64 = noise.iter().sum();
        let links: [(&str, ArrayRef); 3] = [
            ("tf", texts((0..NAMES).map(|i| name(i % 5)))),
            ("target", texts((0..NAMES).map(|i| name((i * 7 + 1) % NAMES)))),
            ("score", floats(noise.iter().map(|noise| self.skill + noise / 10.0))),
        ];
        write(&io.out("scores.parquet"), links.into())?;
        let values: Vec<f32> = (0..NAMES * 4).map(|_| random.normal() as f32).collect();
        let item = Arc::new(Field::new("element", DataType::Float32, false));
        let ends = OffsetBuffer::from_lengths((0..NAMES).map(|_| 4));
        let vectors = ListArray::try_new(item, ends, Arc::new(Float32Array::from(values)), None)?;
        write(
            &io.out("embeddings.parquet"),
            vec![("name", texts((0..NAMES).map(name))), ("values", Arc::new(vectors))],
        )?;
        let labels = (0..NAMES).map(|i| ["left", "right"][i % 2].to_owned());
        write(
            &io.out("types.parquet"),
            vec![("cell", texts((0..NAMES).map(name))), ("type", texts(labels))],
        )?;
        let shares: [(&str, ArrayRef); 3] = [
            ("gene", texts((0..2 * NAMES).map(|i| ["a", "b"][i / NAMES].to_owned()))),
            ("cell", texts((0..2 * NAMES).map(|i| name(i % NAMES)))),
            ("share", floats(noise.iter().chain(&noise).map(|noise| noise / noise_in_all))),
        ];
        write(&io.out("attention.parquet"), shares.into())?;
        let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(1..=STEPS as i64));
        let losses = floats((1..=STEPS).map(|step| 1.0 / step as f64));
        let mut history = vec![("step", steps), ("loss", losses), ("rate", floats(vec![0.1; STEPS]))];
        if let Some(yardstick) = self.yardstick {
            history.push(("validation_loss", floats((1..=STEPS).map(|step| 2.0 / step as f64))));
            let metrics: [(&str, ArrayRef); 2] = [
                ("metric", texts(["cross_entropy", "cross_entropy_mean"].map(str::to_owned))),
                ("value", floats([2.0 / STEPS as f64, yardstick])),
            ];
            write(&io.out("metrics.parquet"), metrics.into())?;
        }
        self.warning.iter().for_each(|warning| io.warn(warning));
        write(&io.out("history.parquet"), history)?;
        let header = r#"{"layer.0.bias":{"dtype":"F32","shape":[3],"data_offsets":[48,60]},"layer.0.weight":{"dtype":"F32","shape":[4,3],"data_offsets":[0,48]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 60]].concat();
        Ok(contract::disk::write(&io.out("model.safetensors"), &bytes)?)
    }
}

/// Writes two cells of 300 genes, each 1 but for one gene of the second cell.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cells {
    value: f32,
}

impl Stage for Cells {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        const GENES: u32 = 300;
        let names: Vec<String> = (0..GENES).map(|gene| format!("n{gene}")).collect();
        data::genes::write(&io.out(data::genes::FILE), &names)?;
        let mut cells = data::cells::CellWriter::create(&io.out(data::cells::FILE))?;
        let (genes, mut values): (Vec<u32>, Vec<f32>) = (0..GENES).map(|gene| (gene, 1.0)).unzip();
        cells.push("c0", &genes, &values)?;
        values[200] = self.value;
        cells.push("c1", &genes, &values)?;
        cells.finish()
    }
}

/// Writes metrics that follow the mean of the links, curves, and measures of each name.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {}

impl Stage for Judge {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let scores = Table::open(&io.input("input")?.join("scores.parquet"))?.floats("score")?;
        let scores = scores.values();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let metrics: [(&str, ArrayRef); 5] = [
            ("metric", texts(["auroc", "loss"].map(str::to_owned))),
            ("value", floats([mean, 1.0 - mean])),
            ("low", floats([mean - 0.1, 0.9 - mean])),
            ("high", floats([mean + 0.1, 1.1 - mean])),
            ("n", Arc::new(Int64Array::from(vec![40, 40]))),
        ];
        write(&io.out("metrics.parquet"), metrics.into())?;
        let points: Vec<(&str, f64, f64)> = ["roc", "precision_recall"]
            .into_iter()
            .flat_map(|curve| (0..=10).map(move |i| (curve, f64::from(i) / 10.0)))
            .map(|(curve, x)| (curve, x, if curve == "roc" { x.powf(1.0 - mean) } else { 1.0 - x * mean }))
            .collect();
        let curves: [(&str, ArrayRef); 3] = [
            ("curve", texts(points.iter().map(|point| point.0.to_owned()))),
            ("x", floats(points.iter().map(|point| point.1))),
            ("y", floats(points.iter().map(|point| point.2))),
        ];
        write(&io.out("curves.parquet"), curves.into())?;
        let measures: [(&str, ArrayRef); 4] = [
            ("tf", texts((0..scores.len()).map(|i| format!("n{i}")))),
            ("edges", Arc::new(Int64Array::from(vec![3; scores.len()]))),
            ("auroc", floats(scores.iter().copied())),
            ("loss", floats(scores.iter().map(|score| 1.0 - score))),
        ];
        write(&io.out("per-tf.parquet"), measures.into()).context("writing measures")
    }
}
