//! The learning rate over time.

use contract::bounds::{LARGEST, above_zero, within};
use contract::stage::Mistake;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The learning rate over time; lengths are in epochs.
///
/// In a cycle the rate rises linearly for `warm_up`, then falls along half a cosine. The next cycle is longer and
/// lower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// How the rate changes.
    pub shape: Shape,
    /// The highest learning rate, or the only one.
    pub rate: f64,
    /// The rate at the beginning and the end of a cycle.
    pub least_rate: f64,
    /// The length of the rising part of a cycle.
    pub warm_up: f64,
    /// The length of the first cycle; by default the whole training.
    pub cycle: Option<f64>,
    /// The factor by which the falling part of each cycle is longer than that of the one before.
    pub stretch: f64,
    /// The factor of the highest rate from each cycle to the next.
    pub fade: f64,
    /// When the rate changes.
    pub every: Every,
}

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A constant rate.
    Constant,
    /// Falls exponentially with each step, from `rate` to `least_rate` at the end of the training.
    Exponential,
    /// Cosine annealing with warm restarts (Loshchilov and Hutter 2017), each with a warm-up.
    Cosine,
}

/// When the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// After every step.
    Step,
    /// After every epoch, as in scBERT.
    Epoch,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule {
            shape: Shape::Cosine,
            rate: 1e-3,
            least_rate: 1e-6,
            warm_up: 0.5,
            cycle: None,
            stretch: 2.0,
            fade: 0.9,
            every: Every::Step,
        }
    }
}

impl Schedule {
    /// Rejects invalid settings.
    pub fn check(&self, epochs: usize) -> Result<(), Mistake> {
        above_zero("training.schedule.rate", self.rate, LARGEST)?;
        if !(0.0..=self.rate).contains(&self.least_rate) {
            let message = format!(
                "`training.schedule.least_rate` must be from 0 to `rate`, which is {}, not {}",
                self.rate, self.least_rate
            );
            return Err(Mistake::param("training.schedule.least_rate", message));
        }
        // Cycles that became shorter might never add up to the whole training.
        within("training.schedule.stretch", self.stretch, 1.0..=1e3)?;
        above_zero("training.schedule.fade", self.fade, 1e3)?;
        let refuse =
            |name: &str, message: String| Err(Mistake::param(&format!("training.schedule.{name}"), message));
        if self.shape == Shape::Exponential && self.least_rate == 0.0 {
            let message =
                "`training.schedule.least_rate` is 0, which no factor leads to; give a number above 0";
            return refuse("least_rate", message.to_owned());
        }
        let cycle = self.cycle.unwrap_or(epochs as f64);
        within("training.schedule.cycle", cycle, 0.01..=1e6)?;
        within("training.schedule.warm_up", self.warm_up, 0.0..=1e6)?;
        if self.shape == Shape::Cosine && self.warm_up >= cycle {
            let message = format!(
                "`training.schedule.warm_up` is {} epochs; give less than the cycle's {cycle}",
                self.warm_up
            );
            return refuse("warm_up", message);
        }
        Ok(())
    }

    /// The rate of a step of an epoch, both counted from 0. Prereq: `check` has passed.
    pub fn rate(&self, epoch: usize, step: usize, steps_per_epoch: usize, epochs: usize) -> f64 {
        let within = match self.every {
            Every::Step => step as f64 / steps_per_epoch as f64,
            Every::Epoch => 0.0,
        };
        let (mut since, mut highest) = (epoch as f64 + within, self.rate);
        match self.shape {
            Shape::Constant => return self.rate,
            Shape::Exponential => {
                return self.rate * libm::pow(self.least_rate / self.rate, since / epochs as f64);
            }
            Shape::Cosine => {}
        }
        let mut cycle = self.cycle.unwrap_or(epochs as f64);
        while since >= cycle {
            since -= cycle;
            cycle = (cycle - self.warm_up) * self.stretch + self.warm_up;
            highest *= self.fade;
        }
        let share = if since < self.warm_up {
            since / self.warm_up
        } else {
            let turn = std::f64::consts::PI * (since - self.warm_up) / (cycle - self.warm_up);
            (1.0 + libm::cos(turn)) / 2.0
        };
        self.least_rate + (highest - self.least_rate) * share
    }
}

#[cfg(test)]
mod tests {
    use super::{Every, Schedule, Shape};

    #[test]
    fn without_a_cycle_one_lasts_the_whole_training() {
        let schedule = Schedule { rate: 1.0, least_rate: 0.0, warm_up: 1.0, ..Schedule::default() };
        schedule.check(3).unwrap();
        let rates: Vec<f64> = (0..6).map(|step| schedule.rate(step / 2, step % 2, 2, 3)).collect();
        let expected = [0.0, 0.5, 1.0, 0.853_553, 0.5, 0.146_447];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-6, "{rates:?}");
        }
    }

    #[test]
    fn by_epoch_all_steps_of_an_epoch_have_one_rate_and_a_constant_one_is_constant() {
        let schedule = Schedule { every: Every::Epoch, ..Schedule::default() };
        assert_eq!(schedule.rate(1, 0, 10, 4), schedule.rate(1, 9, 10, 4));
        let constant = Schedule { shape: Shape::Constant, ..Schedule::default() };
        assert_eq!([0, 5].map(|epoch| constant.rate(epoch, 3, 7, 9)), [constant.rate; 2]);
    }

    #[test]
    fn an_exponential_rate_falls_by_one_factor() {
        let schedule =
            Schedule { shape: Shape::Exponential, rate: 8.0, least_rate: 1.0, ..Schedule::default() };
        schedule.check(3).unwrap();
        let rates = [0, 1, 2].map(|epoch| schedule.rate(epoch, 0, 5, 3));
        assert!(rates.iter().zip([8.0, 4.0, 2.0]).all(|(rate, expected)| (rate - expected).abs() < 1e-12));
        let error = Schedule { least_rate: 0.0, ..schedule }.check(3).unwrap_err().to_string();
        assert_eq!(
            error,
            "`training.schedule.least_rate` is 0, which no factor leads to; give a number above 0"
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let error = |schedule: Schedule| schedule.check(1).unwrap_err().to_string();
        assert_eq!(
            error(Schedule { rate: f64::NAN, ..Schedule::default() }),
            "`training.schedule.rate` must be above 0, not NaN"
        );
        assert_eq!(
            error(Schedule { warm_up: 1.0, ..Schedule::default() }),
            "`training.schedule.warm_up` is 1 epochs; give less than the cycle's 1"
        );
        assert_eq!(
            error(Schedule { least_rate: 1.0, ..Schedule::default() }),
            "`training.schedule.least_rate` must be from 0 to `rate`, which is 0.001, not 1"
        );
    }
}
