//! Asks a question in batches, so that it can be stopped after any of them and gone on with.
//!
//! A checkpoint is the number of passes made, as u64, and the sum of each pair so far, as f64, all little-endian.

use anyhow::{Result, ensure};
use contract::stage::{Io, StopReason, Stopped};
use std::ops::Range;
use std::time::Instant;

/// Something that takes many passes through a model, each of which adds to the sums of some pairs.
pub trait Question {
    /// The number of passes.
    fn passes(&self) -> usize;

    /// Makes some passes at once. What each adds must depend on it alone, and be added in its order.
    fn ask(&self, passes: Range<usize>, sums: &mut [f64]);
}

/// How many passes are made at a time, and how often the sums are saved.
pub struct Pace {
    /// Passes per batch.
    pub batch: usize,
    /// The minutes between checkpoints.
    pub minutes: f64,
}

impl Pace {
    /// The sum of each pair over all passes.
    pub fn ask(&self, question: &impl Question, pairs: usize, io: &Io) -> Result<Vec<f64>> {
        let (mut done, mut sums) = load(pairs, io)?.unwrap_or_else(|| (0, vec![0.0; pairs]));
        let total = question.passes();
        let mut saved = Instant::now();
        while done < total {
            if let Some(reason) = io.stop_reason() {
                if reason != StopReason::Now {
                    save(done, &sums, io)?;
                }
                return Err(Stopped(reason).into());
            }
            let next = total.min(done + self.batch);
            question.ask(done..next, &mut sums);
            done = next;
            io.progress(done as u64, total as u64);
            if saved.elapsed().as_secs_f64() >= 60.0 * self.minutes {
                save(done, &sums, io)?;
                saved = Instant::now();
            }
        }
        Ok(sums)
    }
}

fn save(done: usize, sums: &[f64], io: &Io) -> Result<()> {
    Ok(io.checkpoints.save(|writer| {
        writer.write_all(&(done as u64).to_le_bytes())?;
        sums.iter().try_for_each(|sum| writer.write_all(&sum.to_le_bytes()))
    })?)
}

fn load(pairs: usize, io: &Io) -> Result<Option<(usize, Vec<f64>)>> {
    let Some(found) = io.checkpoints.load()? else { return Ok(None) };
    for path in found.damaged {
        io.warn(format!("the checkpoint {} is damaged; going on from the one before", path.display()));
    }
    let (numbers, []) = found.state.as_chunks::<8>() else { return Ok(None) };
    ensure!(numbers.len() == pairs + 1, "the checkpoint is of other pairs");
    let done = u64::from_le_bytes(numbers[0]) as usize;
    io.warn(format!("going on from the checkpoint of pass {done}"));
    Ok(Some((done, numbers[1..].iter().map(|sum| f64::from_le_bytes(*sum)).collect())))
}
