//! Reports the progress of a run on standard error: bars on a terminal, plain lines elsewhere.
//!
//! Other programs may rely on two lines: `computed STEP` if a step was computed rather than found in the cache,
//! and `stage STEP done` once its artifact is durable.

use crate::absence::Absences;
use crate::estimate::Estimate;
use contract::disk::fault;
use engine::clock;
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
/// Neither a run nor a rest that is shorter than this needs an estimate.
const LEAST_WORTH: Duration = Duration::from_secs(5);
/// The time of a step that took less is not worth a line.
const LEAST_SECONDS: f64 = 1.0;

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
    estimate: Estimate,
    why: HashMap<String, String>,
    /// When the last plain line about each running step was printed.
    told: HashMap<String, Instant>,
    absent: Absences,
    /// Steps that were found in the cache with warnings, and how many warnings those are.
    warned: (usize, usize),
    /// The command that shows the state of the pipeline.
    status: String,
    /// Lines not yet written.
    pending: String,
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
            estimate: Estimate::default(),
            why: HashMap::new(),
            told: HashMap::new(),
            absent: Absences::default(),
            warned: (0, 0),
            status: String::new(),
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

    /// A step is at its end. If it was computed, that took so many seconds.
    fn settle(&mut self, step: &str, took: Option<f64>) {
        self.settled += 1;
        self.told.remove(step);
        self.estimate.settled(step, took);
        self.remove_bar(step);
        self.draw_overall();
    }

    /// A step was computed. On a terminal that is one line; elsewhere it is the two that programs rely on, and
    /// before them the time that it took.
    fn computed(&mut self, step: &str, seconds: f64) {
        self.settle(step, Some(seconds));
        let (word, took) = (self.paint("32", "computed"), text::seconds(seconds));
        if self.bars.is_some() {
            return self.normal(&format!("{word} {step} in {took}"));
        }
        if seconds >= LEAST_SECONDS {
            self.normal(&format!("{step} took {took}, until {}", now()));
        }
        self.normal(&format!("{word} {step}\nstage {step} done"));
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
        bars.overall.set_message(self.remaining());
        bars.overall.tick();
    }

    fn started(&mut self, step: String, attempt: u32) {
        let why = self.why.get(&step).cloned().unwrap_or_default();
        let again = if attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
        let at = if self.bars.is_some() { String::new() } else { format!(" ({})", now()) };
        self.normal(&format!("started {step}{again}: {why}{at}"));
        if let Some(bars) = &mut self.bars {
            bars.start(&step);
        }
        self.estimate.started(&step, Instant::now());
        self.told.insert(step, Instant::now());
    }

    /// Shows a step's progress. Without bars, prints at most one line per `HEARTBEAT`.
    fn goes_on(&mut self, step: &str, said: &str) {
        let Some(told) = self.told.get_mut(step) else { return };
        if self.bars.is_some() || told.elapsed() < HEARTBEAT || self.detail < Detail::Normal {
            return;
        }
        *told = Instant::now();
        let (elapsed, left) = (text::duration(self.began.elapsed()), self.remaining());
        self.line(&format!(
            "running {step}: {said} ({}/{} steps, {elapsed}{left}; {})",
            self.settled,
            self.steps,
            now()
        ));
    }

    /// How long the run will still take, once that can be said and is worth saying.
    fn remaining(&self) -> String {
        let worth = self.began.elapsed() >= LEAST_WORTH;
        let left = self
            .estimate
            .remaining(Instant::now())
            .filter(|left| worth && *left >= LEAST_WORTH.as_secs_f64());
        left.map_or_else(String::new, |left| format!(", about {} left", text::roughly(left)))
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
            Event::Begun(Begun { run, name, steps, device, file, .. }) => {
                self.steps = *steps;
                self.status = format!("pipeline status {}", output::from_here(file));
                if let Some(bars) = &self.bars {
                    bars.overall.set_length(*steps as u64);
                }
                self.normal(&format!("run {run}: {name}, {}", text::count(*steps, "step")));
                if let Some(device) = device {
                    self.normal(device);
                }
            }
            Event::Cached { step, key: _, warnings } => {
                if *warnings > 0 {
                    self.warned.0 += 1;
                    self.warned.1 += warnings;
                }
                self.settle(step, None);
            }
            Event::Due { step, reason, .. } => {
                self.why.insert(step.clone(), reason.to_string());
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
                self.estimate.progressed(step, *done, *total, Instant::now());
                self.goes_on(step, &format!("{done}/{total}"));
            }
            Event::Remark { step, text } => self.normal(&format!("note: {step}: {text}")),
            Event::Warning { step, text } => {
                let word = self.paint("1;33", "warning");
                let of = step.as_ref().map(|step| format!(" {step}:")).unwrap_or_default();
                self.line(&format!("{word}:{of} {text}"));
            }
            Event::Computed { step, seconds, .. } => self.computed(step, *seconds),
            Event::Failed(failed) => {
                self.failed(failed);
                if failed.retry_in.is_none() {
                    self.settle(&failed.step, None);
                }
            }
            Event::Skipped { step, why } => {
                self.settle(step, None);
                self.normal(&format!("skipped {step}: {why}"));
            }
            Event::Absent { step, hint } => {
                self.settle(step, None);
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
                if let (steps @ 1.., warnings) = self.warned {
                    let word = self.paint("1;33", "warning");
                    let (steps, warnings) =
                        (text::count(steps, "cached step"), text::count(warnings, "warning"));
                    self.line(&format!("{word}: {steps} with {warnings}; read them with: {}", self.status));
                }
                if let Some(bars) = self.bars.take() {
                    bars.overall.finish_and_clear();
                    let _ = bars.all.clear();
                }
            }
        }
        Ok(())
    }

    fn expect(&mut self, steps: &[(String, Option<f64>)]) {
        self.estimate.expect(steps);
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

/// The time of day.
fn now() -> String {
    clock::time(clock::unix_seconds())
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
    ProgressStyle::with_template("{spinner} {prefix} {bar:20} {pos}/{len} {elapsed} {wide_msg}")
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
