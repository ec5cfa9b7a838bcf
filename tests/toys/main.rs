//! The program with toy kinds, for tests that need a fast or misbehaving stage.

mod exhibit;

use anyhow::{Context, bail};
use contract::gpu::Gpu;
use contract::stage::{Io, Kind, Slot, Slots, Stage, Stopped, Takes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

fn main() -> std::process::ExitCode {
    let mut kinds = [&[command::KIND], &TOYS[..]].concat();
    // Pretends that the program has changed.
    if std::env::var_os("TOYS_CHANGED").is_some() {
        kinds[1].code = &[("toys/grow.rs", "2")];
    }
    cli::main(&kinds)
}

const TOYS: [Kind; 11] = [
    Kind::of::<Grow>("grow", "appends a line to what it is given", Slots::Any, &[("toys/grow.rs", "1")]),
    Kind::of::<Train>("train", "counts, slowly, and keeps checkpoints", Slots::Any, &[]),
    Kind::of::<Dice>("dice", "gives another result every time", Slots::Any, &[]),
    Kind::of::<Flaky>("flaky", "fails until it was tried often enough", Slots::Any, &[]),
    Kind::of::<Deaf>("deaf", "does not hear that it should stop", Slots::Any, &[]),
    Kind::of::<Crash>("crash", "panics", Slots::Any, &[]),
    Kind::of::<Where>("where", "writes where it computes", Slots::Any, &[])
        .on_device(&[("toys/where.cu", "1")], no_gpus),
    Kind::of::<exhibit::Exhibit>("exhibit", "writes one of each table that can be shown", Slots::Any, &[]),
    Kind::of::<exhibit::Judge>("judge", "writes metrics and curves of an exhibit", Slots::Any, &[]),
    Kind::of::<exhibit::Cells>("cells", "writes two cells of many genes", Slots::Any, &[]),
    Kind::of::<Typed>("typed", "has slots and typed params", Slots::Named(&TYPED_SLOTS), &[]),
];

fn no_gpus() -> &'static Result<Vec<Gpu>, String> {
    static NONE: OnceLock<Result<Vec<Gpu>, String>> = OnceLock::new();
    NONE.get_or_init(|| Err("toys compute on no GPU".to_owned()))
}

const TYPED_SLOTS: [Slot; 2] = [
    Slot { name: "cells", about: "what it needs", required: true, takes: Takes::Anything },
    Slot { name: "genes", about: "what it can use", required: false, takes: Takes::Anything },
];

/// Sleeps, then writes all inputs and a line, repeated to a size.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Grow {
    line: String,
    #[serde(default)]
    millis: u64,
    #[serde(default = "one")]
    files: usize,
    #[serde(default)]
    bytes: usize,
    /// What it warns of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
}

fn one() -> usize {
    1
}

impl Stage for Grow {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        self.warning.iter().for_each(|warning| io.warn(warning));
        let mut text = String::new();
        for path in io.inputs.values() {
            text.push_str(&read_all(path)?);
        }
        text.push_str(&self.line);
        text.push('\n');
        let hash = blake3::hash(text.as_bytes()).to_hex();
        while text.len() < self.bytes {
            text.push_str(&hash);
            text.push('\n');
        }
        for _ in 0..self.millis {
            io.check_stop()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        for number in 0..self.files {
            let name = if number == 0 { "text".to_owned() } else { format!("more/text{number}") };
            let path = io.out(&name);
            std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
            write(&path, text.as_bytes())?;
        }
        Ok(())
    }
}

fn read_all(path: &Path) -> anyhow::Result<String> {
    let path = if path.is_dir() { path.join("text") } else { path.to_owned() };
    String::from_utf8(contract::disk::read(&path)?).context("reading text")
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    Ok(contract::disk::write(path, bytes)?)
}

/// A training whose state depends on every earlier step.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Train {
    steps: u32,
    #[serde(default)]
    millis: u64,
    #[serde(default = "one")]
    every: usize,
}

#[derive(Serialize, Deserialize)]
struct Weights {
    step: u32,
    values: Vec<f64>,
}

impl Train {
    fn save(&self, io: &Io, weights: &Weights) -> anyhow::Result<()> {
        let state = serde_json::to_vec(weights)?;
        io.checkpoints.save(|writer| writer.write_all(&state))?;
        Ok(())
    }
}

impl Stage for Train {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let mut weights = Weights { step: 0, values: vec![0.5; 64] };
        if let Some(found) = io.checkpoints.load()? {
            for path in found.damaged {
                io.remark(format!(
                    "the checkpoint {} is damaged; going on from the one before",
                    path.display()
                ));
            }
            weights = serde_json::from_slice(&found.state)?;
            io.remark(format!("going on from step {}", weights.step));
        }
        while weights.step < self.steps {
            if let Some(reason) = io.stop_reason() {
                self.save(io, &weights)?;
                return Err(Stopped(reason).into());
            }
            std::thread::sleep(Duration::from_millis(self.millis));
            weights.step += 1;
            let mut carry = f64::from(weights.step);
            for value in &mut weights.values {
                carry = (*value * 1.000_1 + carry.sin() * 0.1).cos();
                *value = carry;
            }
            io.progress(weights.step.into(), self.steps.into());
            if (weights.step as usize).is_multiple_of(self.every) {
                self.save(io, &weights)?;
            }
        }
        write(&io.out("weights.json"), &serde_json::to_vec(&weights)?)
    }
}

/// Writes something else each time, as no cached stage should.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Dice {}

impl Stage for Dice {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        write(&io.out("text"), format!("{} {now:?}", std::process::id()).as_bytes())
    }
}

/// Counts its attempts in a file beside the pipeline.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Flaky {
    good_from: u64,
}

impl Stage for Flaky {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        let path = io.root.join("attempts");
        let mut attempts = std::fs::File::options().create(true).append(true).open(&path)?;
        attempts.write_all(b"x")?;
        let count = attempts.metadata()?.len();
        if count < self.good_from {
            bail!("attempt {count} of {}", self.good_from);
        }
        write(&io.out("text"), b"done\n")
    }
}

/// Sleeps and ignores requests to stop.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Deaf {
    millis: u64,
}

impl Stage for Deaf {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        write(&io.root.join("deaf-began"), b"")?;
        std::thread::sleep(Duration::from_millis(self.millis));
        write(&io.out("text"), b"heard nothing\n")
    }
}

/// A stage with a bug.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Crash {}

impl Stage for Crash {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        write(&io.out("half"), b"half")?;
        panic!("a bug in the stage");
    }
}

/// Writes the name of its device.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Where {
    #[serde(default)]
    millis: u64,
}

impl Stage for Where {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        std::thread::sleep(Duration::from_millis(self.millis));
        write(&io.out("text"), format!("{:?} {:?}\n", io.device, io.gpus).as_bytes())
    }
}

/// Has params of several types, for mistakes in pipeline files.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    width: u32,
    #[serde(default)]
    model: Model,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Model {
    depth: u32,
    dropout: f64,
}

impl Stage for Typed {
    fn run(&self, io: &Io) -> anyhow::Result<()> {
        write(
            &io.out("text"),
            format!("{} {} {}\n", self.width, self.model.depth, self.model.dropout).as_bytes(),
        )
    }
}
