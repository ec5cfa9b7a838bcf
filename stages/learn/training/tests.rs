//! Trains a small linear classifier; what holds for it holds for any learner.

use super::schedule::{Schedule, Shape};
use super::{Learner, Moment, Trained, Training};
use crate::model::parameters::{Named, Role};
use anyhow::Result;
use contract::checkpoint::Checkpoints;
use contract::stage::{Io, Report, StopFlag};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tensor::ops::cross_entropy::cross_entropy;
use tensor::ops::dropout::dropout;
use tensor::ops::linear::linear;
use tensor::testing::normal;
use tensor::{Device, Scalar, Taped, Tensor, device, tensor, values};

const WIDTH: usize = 6;
const POINTS: usize = 25;

/// Points of two classes, told apart by the sign of their first number.
struct Classes {
    device: Device,
    weight: Tensor,
    frozen: Tensor,
    points: Vec<f32>,
    /// The validation loss to report for each epoch; empty if nothing is held out.
    validation: Vec<f64>,
    validated: usize,
    /// Asks the step to stop after this many batches.
    stop_after: Option<(usize, StopFlag)>,
    batches: Vec<Vec<usize>>,
    spoil_batch: Option<u64>,
    /// The batch that was prepared, and the number of batches that were not.
    ready: Option<(Vec<usize>, Moment)>,
    unprepared: usize,
}

impl Classes {
    fn new() -> Classes {
        let device = device();
        Classes {
            weight: tensor(&device, normal(2 * WIDTH, 5), 2, WIDTH),
            frozen: tensor(&device, vec![1.0; 3], 1, 3),
            points: normal(POINTS * WIDTH, 6),
            validation: Vec::new(),
            validated: 0,
            stop_after: None,
            batches: Vec::new(),
            spoil_batch: None,
            ready: None,
            unprepared: 0,
            device,
        }
    }
}

impl Learner for Classes {
    fn unit(&self) -> &'static str {
        "points"
    }

    fn examples(&self) -> usize {
        POINTS
    }

    fn tensors(&mut self) -> Vec<Named<'_>> {
        let named = |name: &str, tensor, role| Named { name: name.to_owned(), tensor, role };
        vec![
            named("weight", &mut self.weight, Role::Trained),
            named("frozen", &mut self.frozen, Role::Frozen),
        ]
    }

    fn prepare(&mut self, examples: &[usize], moment: Moment) {
        self.ready = Some((examples.to_vec(), moment));
    }

    fn loss(&mut self, examples: &[usize], moment: Moment) -> Result<Scalar<Taped>> {
        self.batches.push(examples.to_vec());
        match self.ready.take() {
            Some(ready) => assert_eq!(ready, (examples.to_vec(), moment)),
            None => self.unprepared += 1,
        }
        if let Some((after, flag)) = &self.stop_after
            && self.batches.len() == *after
        {
            flag.raise();
        }
        let mut x: Vec<f32> =
            examples.iter().flat_map(|example| self.points[example * WIDTH..][..WIDTH].to_vec()).collect();
        if self.spoil_batch == Some(moment.batch) {
            x[0] = f32::NAN;
        }
        let targets: Vec<u32> =
            examples.iter().map(|example| u32::from(self.points[example * WIDTH] > 0.0)).collect();
        let x = tensor(&self.device, x, examples.len(), WIDTH).retaped::<Taped>();
        Ok(cross_entropy(linear(dropout(x, 0.2, moment.batch), &self.weight, None), &targets))
    }

    fn validate(&mut self, _io: &Io) -> Result<Option<f64>> {
        self.validated += 1;
        Ok(self.validation.get(self.validated - 1).copied())
    }
}

fn training() -> Training {
    let schedule = Schedule { shape: Shape::Constant, rate: 0.05, ..Schedule::default() };
    Training { epochs: 6, batch: 4, accumulate: 2, schedule, ..Training::default() }
}

fn io(folder: &Path, stop: StopFlag, remarks: &Arc<Mutex<Vec<String>>>) -> Io {
    let heard = remarks.clone();
    Io {
        step: "t".to_owned(),
        root: folder.to_owned(),
        inputs: Default::default(),
        out: folder.to_owned(),
        work: folder.to_owned(),
        device: contract::stage::Device::Cpu,
        gpus: Vec::new(),
        cpus: 1,
        stop,
        limit: None,
        began: Instant::now(),
        checkpoints: Checkpoints::in_folder(folder.join("checkpoints")),
        wardens: contract::warden::Wardens::default(),
        listener: Box::new(move |report| {
            if let Report::Remark(text) = report {
                heard.lock().unwrap().push(text);
            }
        }),
    }
}

/// Trains in a temporary folder; returns the result and the weights.
fn run(training: &Training, learner: &mut Classes) -> (Result<Trained>, Vec<f32>) {
    let folder = tempfile::tempdir().unwrap();
    let trained = training.run(learner, 7, &io(folder.path(), StopFlag::default(), &Arc::default()));
    (trained, values(&learner.weight).to_vec())
}

#[test]
fn losses_fall_and_every_example_is_seen_once_in_an_epoch() {
    let mut learner = Classes::new();
    let (trained, _) = run(&training(), &mut learner);
    let history = trained.unwrap().history;
    // 25 points in steps of 8: three full steps, and one with a single point.
    assert_eq!(history.len(), 24);
    assert_eq!(history.iter().map(|row| row.examples).take(5).collect::<Vec<_>>(), [8, 16, 24, 25, 33]);
    let mean = |rows: &[super::Row]| rows.iter().map(|row| row.loss).sum::<f64>() / rows.len() as f64;
    assert!(mean(&history[20..]) < 0.8 * mean(&history[..4]), "{history:?}");
    for epoch in learner.batches.chunks(7) {
        let mut seen: Vec<usize> = epoch.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..POINTS).collect::<Vec<_>>());
    }
    assert_ne!(learner.batches[0], learner.batches[7]);
    // The first batch of each epoch cannot be prepared ahead.
    assert_eq!(learner.unprepared, 6);
}

#[test]
fn batches_that_are_added_up_move_the_model_as_one_large_batch_does() {
    // Without dropout, only the order of sums differs.
    let mut learners = [Classes::new(), Classes::new()];
    let mut weights = Vec::new();
    for ((batch, accumulate), learner) in [(8, 1), (2, 4)].into_iter().zip(&mut learners) {
        learner.points.chunks_mut(WIDTH).for_each(|point| point[1..].fill(0.0));
        let training = Training { epochs: 1, batch, accumulate, ..training() };
        let mut quiet = NoDropout(learner);
        let folder = tempfile::tempdir().unwrap();
        training.run(&mut quiet, 7, &io(folder.path(), StopFlag::default(), &Arc::default())).unwrap();
        weights.push(values(&quiet.0.weight).to_vec());
    }
    let error = weights[0].iter().zip(&weights[1]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(error < 1e-5, "{error}");
}

struct NoDropout<'a>(&'a mut Classes);

impl Learner for NoDropout<'_> {
    fn unit(&self) -> &'static str {
        self.0.unit()
    }

    fn examples(&self) -> usize {
        self.0.examples()
    }

    fn tensors(&mut self) -> Vec<Named<'_>> {
        self.0.tensors()
    }

    fn loss(&mut self, examples: &[usize], _: Moment) -> Result<Scalar<Taped>> {
        let x =
            examples.iter().flat_map(|example| self.0.points[example * WIDTH..][..WIDTH].to_vec()).collect();
        let targets: Vec<u32> =
            examples.iter().map(|example| u32::from(self.0.points[example * WIDTH] > 0.0)).collect();
        let x = tensor(&self.0.device, x, examples.len(), WIDTH).retaped::<Taped>();
        Ok(cross_entropy(linear(x, &self.0.weight, None), &targets))
    }

    fn validate(&mut self, _io: &Io) -> Result<Option<f64>> {
        Ok(None)
    }
}

#[test]
fn a_training_stopped_at_any_batch_goes_on_as_if_it_had_not_been() {
    let validation = vec![3.0, 2.0, 2.5, 1.0, 4.0, 5.0];
    let mut whole = Classes { validation: validation.clone(), ..Classes::new() };
    let (expected, weights) = run(&training(), &mut whole);
    let expected = expected.unwrap();
    assert_eq!((expected.epoch, expected.validation_loss), (4, Some(1.0)));
    for stop_after in 1..=whole.batches.len() {
        let folder = tempfile::tempdir().unwrap();
        let remarks = Arc::default();
        let stop = StopFlag::default();
        let mut first = Classes {
            validation: validation.clone(),
            stop_after: Some((stop_after, stop.clone())),
            ..Classes::new()
        };
        let stopped = training().run(&mut first, 7, &io(folder.path(), stop, &remarks));
        if stop_after < whole.batches.len() {
            assert_eq!(stopped.unwrap_err().to_string(), "stopped by a signal");
        }
        // As in a new process, only the checkpoint is left of the first training.
        let validated = first.validated;
        let mut second = Classes { validation: validation.clone(), validated, ..Classes::new() };
        let resumed =
            training().run(&mut second, 7, &io(folder.path(), StopFlag::default(), &remarks)).unwrap();
        if stop_after < whole.batches.len() {
            assert_eq!(resumed, expected, "{stop_after}");
            assert_eq!(values(&second.weight), weights, "{stop_after}");
            assert!(remarks.lock().unwrap()[0].starts_with("going on from the checkpoint of step "));
        }
    }
}

#[test]
fn the_best_epoch_stays_and_a_training_that_learns_no_more_ends() {
    let short = Training { patience: Some(2), ..training() };
    let mut learner = Classes { validation: vec![1.0, 0.5, 0.75, 0.5, 0.1, 0.1], ..Classes::new() };
    let (trained, weights) = run(&short, &mut learner);
    let trained = trained.unwrap();
    assert_eq!((trained.epoch, trained.validation_loss), (2, Some(0.5)));
    assert_eq!(trained.history.last().unwrap().epoch, 4);
    let validation: Vec<f64> = trained.history.iter().filter_map(|row| row.validation_loss).collect();
    assert_eq!(validation, [1.0, 0.5, 0.75, 0.5]);
    let (_, after_two) = run(&Training { epochs: 2, ..training() }, &mut Classes::new());
    assert_eq!(weights, after_two);
}

#[test]
fn without_epochs_the_model_stays_as_it_begins() {
    let mut learner = Classes::new();
    let (trained, weights) = run(&Training { epochs: 0, ..training() }, &mut learner);
    assert_eq!(trained.unwrap(), Trained { history: Vec::new(), epoch: 0, validation_loss: None });
    assert_eq!(weights, values(&Classes::new().weight));
}

#[test]
fn divergence_names_the_step_and_the_last_good_checkpoint() {
    let mut learner = Classes { spoil_batch: Some(9), ..Classes::new() };
    let error = run(&training(), &mut learner).0.unwrap_err().to_string();
    // Batch 9 counted from 0: four steps of seven batches, then batches 7 and 8, then 9 and 10.
    assert_eq!(
        error,
        "the training diverged in step 6: the loss is NaN; no checkpoint was saved before; try a lower \
         `training.schedule.rate` or `training.clip`"
    );
    let often = Training { checkpoint_minutes: 1e-9, ..training() };
    let mut learner = Classes { spoil_batch: Some(9), ..Classes::new() };
    let error = run(&often, &mut learner).0.unwrap_err().to_string();
    assert!(error.contains("; the last good checkpoint is that of step 5; "), "{error}");
    let wild = Schedule { shape: Shape::Constant, rate: 1e6, ..Schedule::default() };
    let error =
        run(&Training { schedule: wild, ..training() }, &mut Classes::new()).0.unwrap_err().to_string();
    assert!(error.starts_with("the training diverged in step "), "{error}");
}

#[test]
fn gradients_are_cut_to_the_length_and_reported_as_they_were() {
    let norms = |clip: Option<f64>| {
        let (trained, weights) = run(&Training { clip, epochs: 1, ..training() }, &mut Classes::new());
        (trained.unwrap().history[0].gradient_norm, weights)
    };
    let (free, cut) = (norms(None), norms(Some(1e-9)));
    assert_eq!(free.0, cut.0);
    assert_ne!(free.1, cut.1);
}

#[test]
fn params_that_make_no_sense_are_refused() {
    let refused = |training: Training| training.check().unwrap_err().to_string();
    assert_eq!(refused(Training { batch: 0, ..training() }), "`training.batch` must be at least 1, not 0");
    assert_eq!(
        refused(Training { clip: Some(-1.0), ..training() }),
        "`training.clip` must be above 0, not -1"
    );
}
