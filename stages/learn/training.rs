//! The training loop: Adam until all epochs are done or validation stops improving. A killed training can be resumed.
//!
//! A kind implements `Learner` and passes it to `Training::run`, which shuffles, accumulates and clips gradients,
//! follows the learning rate schedule, records history and checkpoints, and leaves the model in the state of its best
//! epoch.

pub mod history;
mod patience;
pub mod schedule;
mod state;

use crate::model::parameters::{self, Named};
use crate::model::weights;
use anyhow::{Result, bail};
use contract::bounds::{LARGEST, MOST, above_zero, within};
use contract::stage::{Io, Mistake, StopReason, Stopped};
use data::random::Random;
use history::Row;
use schedule::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use state::State;
use std::time::{Duration, Instant};
use tensor::ops::adam::Decay;
use tensor::tape::backward;
use tensor::{Scalar, Taped, gradients};

/// The training has diverged if the loss exceeds that of the first step by this factor.
const DIVERGED: f64 = 1e3;
/// The random stream that draws the orders of examples, apart from those that kinds use.
const ORDER_STREAM: u64 = 1 << 48;
/// The interval between progress reports.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The settings of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Training {
    /// The most passes over all examples; 0 leaves the model untrained, as a control.
    pub epochs: usize,
    /// Examples per batch.
    pub batch: usize,
    /// Batches whose gradients are accumulated for one step.
    pub accumulate: usize,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// Gradients with a larger norm are scaled down to this norm; null disables clipping.
    pub clip: Option<f64>,
    /// Decoupled weight decay (AdamW).
    pub decay: f64,
    /// Stops after this many epochs without a lower validation loss; null disables early stopping.
    pub patience: Option<usize>,
    /// The minutes between checkpoints. Does not affect the result, so it is not part of the key.
    #[serde(skip_serializing)]
    pub checkpoint_minutes: f64,
}

impl Default for Training {
    fn default() -> Training {
        Training {
            epochs: 10,
            batch: 4,
            accumulate: 1,
            schedule: Schedule::default(),
            clip: Some(1.0),
            decay: 0.0,
            patience: Some(5),
            checkpoint_minutes: 5.0,
        }
    }
}

/// Identifies a batch of a training. Random draws for a batch depend only on this and the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The batch, from 0, counted over all epochs.
    pub batch: u64,
}

/// A model with its training data.
///
/// Every method may depend only on the tensors, its arguments and constants: otherwise a resumed training would differ
/// from an uninterrupted one.
pub trait Learner {
    /// What examples are called in messages, such as `cells`.
    fn unit(&self) -> &'static str;

    /// The number of examples in an epoch.
    fn examples(&self) -> usize;

    /// Every tensor, always in the same order. After each loss, the trained ones have a gradient.
    fn tensors(&mut self) -> Vec<Named<'_>>;

    /// Called before each step, counted from 0; may be called again for the same step.
    fn before_step(&mut self, _step: u64) {}

    /// Prepares the batch of the next [`Learner::loss`] while a GPU is still computing the current one.
    fn prepare(&mut self, _examples: &[usize], _moment: Moment) {}

    /// The mean loss of some examples.
    fn loss(&mut self, examples: &[usize], moment: Moment) -> Result<Scalar<Taped>>;

    /// The mean loss on the held-out examples; `None` if there are none.
    fn validate(&mut self, io: &Io) -> Result<Option<f64>>;
}

/// The outcome of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// One row per step.
    pub history: Vec<Row>,
    /// The epoch, from 1, whose tensors the model has now.
    pub epoch: u64,
    /// The validation loss of that epoch.
    pub validation_loss: Option<f64>,
}

impl Training {
    /// Trains to the end, resuming from the step's newest checkpoint if there is one.
    ///
    /// If the step is asked to stop, the state is saved first. Prereq: `check` has passed.
    pub fn run(&self, learner: &mut impl Learner, seed: u64, io: &Io) -> Result<Trained> {
        if learner.examples() == 0 {
            bail!("there is nothing to train with: no {} are left", learner.unit());
        }
        let loaded = State::load(learner.tensors(), io)?;
        if let Some(state) = &loaded {
            io.remark(format!("going on from the checkpoint of step {}", state.steps()));
        }
        let saved_step = loaded.as_ref().map(State::steps);
        let mut state = loaded.unwrap_or_default();
        state.adam.config.decay =
            if self.decay > 0.0 { Decay::Decoupled(self.decay as f32) } else { Decay::None };
        let now = Instant::now();
        let before = state.counters.history.last().map_or(0, |row| row.examples);
        let mut run = Run {
            training: self,
            learner,
            seed,
            io,
            state,
            saved_step,
            saved: now,
            told: now,
            began: now,
            before,
        };
        let done = run.epochs();
        if let Err(error) = &done
            && let Some(Stopped(StopReason::Asked | StopReason::Timeout(_))) = error.downcast_ref()
        {
            run.save()?;
        }
        done?;
        run.finish()
    }

    /// Rejects invalid settings.
    pub fn check(&self) -> Result<(), Mistake> {
        within("training.epochs", self.epochs, 0..=1_000_000)?;
        within("training.batch", self.batch, 1..=1 << 20)?;
        within("training.accumulate", self.accumulate, 1..=1 << 20)?;
        above_zero("training.clip", self.clip.unwrap_or(1.0), LARGEST)?;
        within("training.decay", self.decay, 0.0..=1e3)?;
        within("training.patience", self.patience.unwrap_or(0), 0..=MOST)?;
        above_zero("training.checkpoint_minutes", self.checkpoint_minutes, 1e6)?;
        if self.epochs > 0 { self.schedule.check(self.epochs) } else { Ok(()) }
    }
}

/// A training in progress.
struct Run<'a, L> {
    training: &'a Training,
    learner: &'a mut L,
    seed: u64,
    io: &'a Io,
    state: State,
    /// The step of the newest checkpoint, and when it was saved.
    saved_step: Option<u64>,
    saved: Instant,
    /// The time of the last progress report.
    told: Instant,
    /// When this process began to train, and how many examples had been seen by then.
    began: Instant,
    before: u64,
}

impl<L: Learner> Run<'_, L> {
    fn epochs(&mut self) -> Result<()> {
        let Training { epochs, batch, accumulate, patience, .. } = *self.training;
        while self.state.counters.epoch < epochs as u64 && !self.state.counters.patience.is_over(patience) {
            let mut order: Vec<usize> = (0..self.learner.examples()).collect();
            Random::new(self.seed, ORDER_STREAM + self.state.counters.epoch).shuffle(&mut order);
            let steps: Vec<&[usize]> = order.chunks(batch * accumulate).collect();
            while let [examples, later @ ..] = &steps[self.state.counters.step_in_epoch as usize..] {
                self.step(examples, later.first().copied().unwrap_or_default(), steps.len())?;
                if self.saved.elapsed().as_secs_f64() >= 60.0 * self.training.checkpoint_minutes {
                    self.save()?;
                }
            }
            self.end_epoch()?;
        }
        Ok(())
    }

    /// Makes one step; on error nothing has changed. `later` are the examples of the next step.
    fn step(&mut self, examples: &[usize], later: &[usize], steps_per_epoch: usize) -> Result<()> {
        let (epoch, step_in_epoch) = (self.state.counters.epoch, self.state.counters.step_in_epoch);
        let (step, batch) = (self.state.steps(), self.training.batch);
        self.learner.before_step(step);
        let batches_before = epoch as usize * self.learner.examples().div_ceil(batch)
            + step_in_epoch as usize * self.training.accumulate;
        let (mut loss, mut sum) = (0.0, None);
        for (number, of_batch) in examples.chunks(batch).enumerate() {
            self.io.check_stop()?;
            let moment = Moment { epoch, batch: (batches_before + number) as u64 };
            let one = self.learner.loss(of_batch, moment)?;
            let share = of_batch.len() as f64 / examples.len() as f64;
            loss += share * f64::from(one[[]]);
            let mut found = backward(one);
            if let Some(next) = examples.chunks(batch).chain(later.chunks(batch)).nth(number + 1) {
                self.learner.prepare(next, Moment { batch: moment.batch + 1, ..moment });
            }
            let parameters = parameters::trained(self.learner.tensors());
            if share < 1.0 {
                gradients::scale(&mut found, &parameters, share as f32);
            }
            match &mut sum {
                None => sum = Some(found),
                Some(sum) => gradients::add(sum, found, &parameters),
            }
        }
        let mut sum = sum.expect("a step has examples");
        let norm = gradients::norm(&mut sum, &parameters::trained(self.learner.tensors()));
        self.refuse_divergence(loss, norm)?;
        let mut parameters = parameters::trained(self.learner.tensors());
        if let Some(clip) = self.training.clip.filter(|clip| *clip < norm) {
            gradients::scale(&mut sum, &parameters, (clip / norm) as f32);
        }
        let epochs = self.training.epochs;
        let rate =
            self.training.schedule.rate(epoch as usize, step_in_epoch as usize, steps_per_epoch, epochs);
        self.state.adam.step(rate as f32, &mut parameters, &mut sum);
        let seen = self.seen() + examples.len() as u64;
        self.state.counters.history.push(Row {
            step: step + 1,
            epoch: epoch + 1,
            examples: seen,
            loss,
            validation_loss: None,
            learning_rate: rate,
            gradient_norm: norm,
        });
        self.state.counters.step_in_epoch += 1;
        self.tell(loss);
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<()> {
        let found = self.learner.validate(self.io)?;
        let counters = &mut self.state.counters;
        counters.epoch += 1;
        counters.step_in_epoch = 0;
        if let Some(loss) = found {
            if let Some(row) = counters.history.last_mut() {
                row.validation_loss = Some(loss);
            }
            if counters.patience.hear(counters.epoch, loss) {
                self.state.best = weights::of_tensors(self.learner.tensors());
            }
        }
        Ok(())
    }

    fn refuse_divergence(&self, loss: f64, norm: f64) -> Result<()> {
        let first = self.state.counters.history.first().map_or(loss, |row| row.loss.abs());
        let what = if !loss.is_finite() {
            format!("the loss is {loss}")
        } else if !norm.is_finite() {
            format!("the gradient's length is {norm}")
        } else if loss > DIVERGED * first.max(1.0) {
            format!("the loss is {loss:.3e} and was {first:.3e} at first")
        } else {
            return Ok(());
        };
        let saved = self.saved_step.map_or_else(
            || "no checkpoint was saved before".to_owned(),
            |step| format!("the last good checkpoint is that of step {step}"),
        );
        bail!(
            "the training diverged in step {}: {what}; {saved}; try a lower `training.schedule.rate` or `training.clip`",
            self.state.steps() + 1
        )
    }

    fn save(&mut self) -> Result<()> {
        self.state.save(self.learner.tensors(), self.io)?;
        self.saved_step = Some(self.state.steps());
        self.saved = Instant::now();
        Ok(())
    }

    /// The number of examples seen in all steps so far.
    fn seen(&self) -> u64 {
        self.state.counters.history.last().map_or(0, |row| row.examples)
    }

    fn tell(&mut self, loss: f64) {
        let (seen, all) = (self.seen(), (self.training.epochs * self.learner.examples()) as u64);
        self.io.progress(seen, all);
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let pace = (seen - self.before) as f64 / self.began.elapsed().as_secs_f64();
        self.io.note(format!(
            "epoch {} of {}, loss {loss:.4}, {pace:.1} {}/s, {:.1} min left at most",
            self.state.counters.epoch + 1,
            self.training.epochs,
            self.learner.unit(),
            all.saturating_sub(seen) as f64 / pace / 60.0,
        ));
    }

    /// Restores the model of the best epoch.
    fn finish(self) -> Result<Trained> {
        let State { counters, mut best, .. } = self.state;
        let last = (counters.epoch, None);
        let (epoch, validation_loss) =
            counters.patience.best.map_or(last, |(loss, epoch)| (epoch, Some(loss)));
        if validation_loss.is_some() {
            let source = |name: &str| best.remove(name).map(|array| (array.shape, array.values));
            parameters::load(self.learner.tensors(), source)?;
        }
        Ok(Trained { history: counters.history, epoch, validation_loss })
    }
}

#[cfg(test)]
mod tests;
