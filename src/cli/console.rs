//! Reports the progress of a run on standard error: bars on a terminal, plain lines elsewhere.
//!
//! Other programs may rely on two lines: `computed STEP` if a step was computed rather than found in the cache,
//! and `stage STEP done` once its artifact is durable.

use crate::absence::Absences;
use contract::disk::fault;
use engine::error::{Error, Result};
use engine::event::{Begun, Event, Failed, Sink};
use engine::text;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use results::output::{self, may_colour};
use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// The least time between two plain progress lines about the same step.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How much the console shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Warnings and failures.
    Quiet,
    /// What is computed, and why.
    Normal,
}

/// An event sink that writes to standard error.
pub struct Console {
    detail: Detail,
    bars: Option<Bars>,
    colour: bool,
    began: Instant,
    steps: usize,
    settled: usize,
    /// Steps that were computed or have failed: the ones that take time.
    worked: usize,
    due: usize,
    why: HashMap<String, String>,
    running: HashMap<String, Running>,
    absent: Absences,
    /// Lines not yet written.
    pending: String,
}

/// A step that is running.
struct Running {
    /// When its last plain progress line was printed.
    told: Instant,
    /// The time and the count of the first progress report; then the count and the total of the latest one.
    first: Option<(Instant, u64)>,
    last: (u64, u64),
}

impl Running {
    fn heard(&mut self, done: u64, total: u64) {
        self.first.get_or_insert((Instant::now(), done));
        self.last = (done, total);
    }

    /// Estimates from its pace how many seconds it still needs. `None` until the count has moved.
    fn remaining(&self) -> Option<f64> {
        let ((since, first), (done, total)) = (self.first?, self.last);
        let moved = done.checked_sub(first).filter(|moved| *moved > 0)?;
        Some(since.elapsed().as_secs_f64() / moved as f64 * total.saturating_sub(done) as f64)
    }
}

struct Bars {
    all: MultiProgress,
    overall: ProgressBar,
    steps: HashMap<String, ProgressBar>,
}

impl Console {
    /// Uses bars and colours only where standard error supports them.
    pub fn new(detail: Detail) -> Console {
        let stderr = std::io::stderr();
        let bars = (stderr.is_terminal() && detail == Detail::Normal).then(Bars::new);
        Console {
            detail,
            bars,
            colour: may_colour(&stderr),
            began: Instant::now(),
            steps: 0,
            settled: 0,
            worked: 0,
            due: 0,
            why: HashMap::new(),
            running: HashMap::new(),
            absent: Absences::default(),
            pending: String::new(),
        }
    }

    fn line(&mut self, line: &str) {
        self.pending.push_str(line);
        self.pending.push('\n');
    }

    fn normal(&mut self, line: &str) {
        if self.detail >= Detail::Normal {
            self.line(line);
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn settle(&mut self, step: &str) {
        self.settled += 1;
        self.running.remove(step);
        self.remove_bar(step);
        self.draw_overall();
    }

    fn remove_bar(&mut self, step: &str) {
        if let Some(bars) = &mut self.bars
            && let Some(bar) = bars.steps.remove(step)
        {
            bar.finish_and_clear();
            bars.all.remove(&bar);
        }
    }

    fn draw_overall(&self) {
        let Some(bars) = &self.bars else { return };
        bars.overall.set_position(self.settled as u64);
        bars.overall
            .set_message(self.remaining().map(|left| format!(", about {left} left")).unwrap_or_default());
        bars.overall.tick();
    }

    fn started(&mut self, step: String, attempt: u32) {
        let why = self.why.get(&step).cloned().unwrap_or_default();
        let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        self.normal(&format!("started {step}{again}: {why}"));
        if let Some(bars) = &mut self.bars {
            bars.start(&step);
        }
        self.running.insert(step, Running { told: Instant::now(), first: None, last: (0, 0) });
    }

    /// Shows a step's progress. Without bars, prints at most one line per `HEARTBEAT`.
    fn goes_on(&mut self, step: &str, said: &str) {
        let Some(running) = self.running.get_mut(step) else { return };
        if self.bars.is_some() || running.told.elapsed() < HEARTBEAT || self.detail < Detail::Normal {
            return;
        }
        running.told = Instant::now();
        let elapsed = text::duration(self.began.elapsed());
        let left = self.remaining().map(|left| format!(", about {left} left")).unwrap_or_default();
        self.line(&format!(
            "running {step}: {said} ({}/{} steps, {elapsed}{left})",
            self.settled, self.steps
        ));
    }

    /// Estimates the time left from the pace of the steps computed so far, but no less than a running step needs.
    fn remaining(&self) -> Option<String> {
        let left = self.due.checked_sub(self.worked).filter(|_| self.worked > 0);
        let by_steps = left.map(|left| self.began.elapsed().as_secs_f64() / self.worked as f64 * left as f64);
        let by_running = self.running.values().filter_map(Running::remaining);
        by_steps.into_iter().chain(by_running).max_by(f64::total_cmp).map(text::seconds)
    }

    fn failed(&mut self, failed: &Failed) {
        let Failed { step, why, tail, log, attempt: _, retry_in } = failed;
        let word = self.paint("1;31", "failed");
        self.line(&format!("{word} {step}: {why}"));
        for line in tail {
            self.line(&format!("  | {line}"));
        }
        if let Some(log) = log {
            self.line(&format!("  all of its output: {}", log.display()));
        }
        if let Some(wait) = retry_in {
            self.line(&format!("  tried again in {}", text::seconds(*wait)));
        }
        self.remove_bar(step);
    }
}

impl Sink for Console {
    fn hear(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Begun(Begun { run, name, steps, device, .. }) => {
                self.steps = *steps;
                if let Some(bars) = &self.bars {
                    bars.overall.set_length(*steps as u64);
                }
                self.normal(&format!("run {run}: {name}, {}", text::count(*steps, "step")));
                if let Some(device) = device {
                    self.normal(device);
                }
            }
            Event::Cached { step, .. } => self.settle(step),
            Event::Due { step, reason, .. } => {
                self.due += 1;
                self.why.insert(step.clone(), reason.to_string());
            }
            Event::Queued { step, job, adopted } => {
                let word = if *adopted { "taken up" } else { "queued" };
                self.normal(&format!("{word} {step}: job {job}"));
            }
            Event::Started { step, attempt, gpus: _ } => self.started(step.clone(), *attempt),
            Event::Waiting { step, process } => {
                self.normal(&format!("waiting for {step}: {} is computing it", who(*process)));
            }
            Event::WaitingForGpu { step, process } => {
                self.normal(&format!("{step} waits for a GPU: {} has it", who(*process)));
            }
            Event::Note { step, text } => {
                if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.steps.get(step)) {
                    bar.set_message(text.clone());
                }
                self.goes_on(step, text);
            }
            Event::Progress { step, done, total } => {
                if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.steps.get(step)) {
                    bar.set_style(counting_style());
                    bar.set_length(*total);
                    bar.set_position(*done);
                }
                if let Some(running) = self.running.get_mut(step) {
                    running.heard(*done, *total);
                }
                self.goes_on(step, &format!("{done}/{total}"));
            }
            Event::Warning { step, text } => {
                let word = self.paint("1;33", "warning");
                let of = step.as_ref().map(|step| format!(" {step}:")).unwrap_or_default();
                self.line(&format!("{word}:{of} {text}"));
            }
            Event::Computed { step, .. } => {
                self.worked += 1;
                self.settle(step);
                let word = self.paint("32", "computed");
                self.normal(&format!("{word} {step}\nstage {step} done"));
            }
            Event::Failed(failed) => {
                self.failed(failed);
                if failed.retry_in.is_none() {
                    self.worked += 1;
                    self.settle(&failed.step);
                }
            }
            Event::Skipped { step, why } => {
                self.settle(step);
                self.normal(&format!("skipped {step}: {why}"));
            }
            Event::Absent { step, hint } => {
                self.settle(step);
                if self.absent.count(hint) {
                    self.normal(&format!("absent {step}: {hint}"));
                }
            }
            Event::Stopping { signal: _ } => {
                self.line("stopping: running steps are told to end; once more to end them at once");
            }
            Event::Ended(_) => {
                for line in std::mem::take(&mut self.absent).rest() {
                    self.normal(&line);
                }
                if let Some(bars) = self.bars.take() {
                    bars.overall.finish_and_clear();
                    let _ = bars.all.clear();
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.pending);
        let write = || std::io::stderr().write_all(lines.as_bytes());
        let written = match &self.bars {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        };
        self.draw_overall();
        match written {
            // The reader has closed the stream; the run continues.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other.map_err(|error| fault("writing", Path::new("standard error"), error))?),
        }
    }
}

/// Names the process of another run in messages.
fn who(process: Option<u32>) -> String {
    process.map_or_else(|| "another run".to_owned(), |id| format!("process {id}"))
}

impl Bars {
    fn new() -> Bars {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let overall = all.add(ProgressBar::new(0));
        let style = ProgressStyle::with_template("{pos}/{len} steps {wide_bar} {elapsed}{msg}");
        overall.set_style(style.expect("the template is fixed"));
        overall.enable_steady_tick(Duration::from_millis(500));
        Bars { all, overall, steps: HashMap::new() }
    }

    fn start(&mut self, step: &str) {
        let bar = self.all.insert_before(&self.overall, ProgressBar::no_length());
        let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg}");
        bar.set_style(style.expect("the template is fixed"));
        bar.set_prefix(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.steps.insert(step.to_owned(), bar);
    }
}

fn counting_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {bar:20} {pos}/{len} {eta} left {wide_msg}")
        .expect("the template is fixed")
}

/// An event sink that writes one JSON object per line to standard output.
#[derive(Debug, Default)]
pub struct JsonLines;

impl Sink for JsonLines {
    fn hear(&mut self, event: &Event) -> Result<()> {
        let line = serde_json::to_string(event).expect("events are plain data with text keys");
        match output::write(&format!("{line}\n")) {
            // The reader has closed the stream; the run continues.
            Err(Error::NobodyReads) => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Running;
    use std::time::{Duration, Instant};

    #[test]
    fn a_running_step_remains_at_its_own_pace() {
        let began = Instant::now() - Duration::from_secs(100);
        let mut running = Running { told: began, first: None, last: (0, 0) };
        assert!(running.remaining().is_none());
        // Resumed from a checkpoint: half of the work was done when it started.
        running.first = Some((began, 50));
        running.heard(50, 100);
        assert!(running.remaining().is_none());
        running.heard(75, 100);
        let remaining = running.remaining().unwrap();
        assert!((100.0..101.0).contains(&remaining), "{remaining}");
    }
}
