//! How long a run will still take: from what its steps took the last time, and from the pace of those that run.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A pace that was measured for less time is not trusted.
const LEAST_MEASURED: Duration = Duration::from_secs(3);

/// The steps that are still to be computed, and what is known of their times.
#[derive(Debug, Default)]
pub struct Estimate {
    /// Each step that may still be computed, and what it took the last time, in seconds.
    left: HashMap<String, Option<f64>>,
    /// For each stage, the seconds that its steps took in this run, and how many those are.
    took: HashMap<String, (f64, usize)>,
    running: HashMap<String, Running>,
}

/// A step that is running.
#[derive(Debug)]
struct Running {
    since: Instant,
    /// The time and the count of the first progress report; then the count and the total of the latest one.
    first: Option<(Instant, u64)>,
    last: (u64, u64),
}

impl Running {
    /// The seconds that it still needs at its own pace. `None` until that has been measured.
    fn at_its_pace(&self, now: Instant) -> Option<f64> {
        let ((since, first), (done, total)) = (self.first?, self.last);
        let moved = done.checked_sub(first).filter(|moved| *moved > 0)?;
        let measured = now.saturating_duration_since(since);
        (measured >= LEAST_MEASURED)
            .then(|| measured.as_secs_f64() / moved as f64 * total.saturating_sub(done) as f64)
    }
}

impl Estimate {
    /// Learns which steps may still be computed, and what each took the last time.
    pub fn expect(&mut self, steps: &[(String, Option<f64>)]) {
        self.left = steps.iter().cloned().collect();
    }

    /// A step has started.
    pub fn started(&mut self, step: &str, now: Instant) {
        self.running.insert(step.to_owned(), Running { since: now, first: None, last: (0, 0) });
    }

    /// A running step has come so far.
    pub fn progressed(&mut self, step: &str, done: u64, total: u64, now: Instant) {
        if let Some(running) = self.running.get_mut(step) {
            running.first.get_or_insert((now, done));
            running.last = (done, total);
        }
    }

    /// A step needs no more time. If it was computed, that took so many seconds.
    pub fn settled(&mut self, step: &str, took: Option<f64>) {
        self.left.remove(step);
        self.running.remove(step);
        if let Some(seconds) = took {
            let (sum, count) = self.took.entry(stage_of(step).to_owned()).or_default();
            *sum += seconds;
            *count += 1;
        }
    }

    /// The seconds that are left; `None` while nothing is known of some step.
    pub fn remaining(&self, now: Instant) -> Option<f64> {
        let (mut sum, mut longest) = (0.0, 0.0f64);
        for (step, last_time) in &self.left {
            let of_stage = || self.took.get(stage_of(step)).map(|(sum, count)| sum / *count as f64);
            let whole = || last_time.or_else(of_stage);
            let left = match self.running.get(step) {
                None => whole()?,
                Some(running) => {
                    let elapsed = now.saturating_duration_since(running.since).as_secs_f64();
                    let left = running.at_its_pace(now).or_else(|| Some((whole()? - elapsed).max(0.0)))?;
                    longest = longest.max(left);
                    left
                }
            };
            sum += left;
        }
        Some((sum / self.running.len().max(1) as f64).max(longest))
    }
}

/// The stage of a step, by its name.
fn stage_of(step: &str) -> &str {
    step.split('[').next().unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use super::Estimate;
    use std::time::{Duration, Instant};

    fn after(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    fn expecting(steps: &[(&str, Option<f64>)]) -> Estimate {
        let mut estimate = Estimate::default();
        let steps: Vec<_> = steps.iter().map(|(step, took)| ((*step).to_owned(), *took)).collect();
        estimate.expect(&steps);
        estimate
    }

    #[test]
    fn a_step_takes_as_long_as_the_last_time_and_its_like_as_long_as_it() {
        let began = Instant::now();
        let mut estimate = expecting(&[("fit[seed=1]", None), ("fit[seed=2]", None), ("judge", Some(4.0))]);
        assert_eq!(estimate.remaining(began), None, "nothing is known of `fit`");
        estimate.started("fit[seed=1]", began);
        estimate.settled("fit[seed=1]", Some(20.0));
        assert_eq!(estimate.remaining(after(began, 20)), Some(24.0));
        estimate.started("fit[seed=2]", after(began, 20));
        assert_eq!(estimate.remaining(after(began, 25)), Some(19.0));
        // What was found in the cache tells nothing of the others.
        estimate.settled("judge", None);
        assert_eq!(estimate.remaining(after(began, 50)), Some(0.0), "it is late, and no one knows how late");
    }

    #[test]
    fn a_step_that_counts_goes_on_at_its_own_pace() {
        let began = Instant::now();
        let mut estimate = expecting(&[("fit", None)]);
        estimate.started("fit", began);
        // Resumed from a checkpoint: half of the work was done when it started.
        estimate.progressed("fit", 50, 100, began);
        assert_eq!(estimate.remaining(after(began, 60)), None);
        estimate.progressed("fit", 60, 100, after(began, 1));
        assert_eq!(estimate.remaining(after(began, 1)), None, "a second is no measurement");
        estimate.progressed("fit", 75, 100, after(began, 100));
        assert_eq!(estimate.remaining(after(began, 100)), Some(100.0));
    }

    #[test]
    fn steps_at_the_same_time_share_it_and_the_longest_counts() {
        let began = Instant::now();
        let mut estimate = expecting(&[("a", Some(10.0)), ("b", Some(40.0)), ("c", Some(10.0))]);
        estimate.started("a", began);
        estimate.started("b", began);
        assert_eq!(estimate.remaining(began), Some(40.0));
    }
}
