//! Handles the messages of executors.

use super::Runner;
use crate::error::Result;
use crate::event::{Event, Failed};
use crate::executor::Message;
use crate::state::{News, Work};
use crate::task::{Outcome, Told};
use contract::stage::{Report, StopReason};
use petgraph::graph::NodeIndex;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The delay before the first look at a lock that another run holds. It doubles each time, up to `LAST_LOOK`.
const FIRST_LOOK: Duration = Duration::from_millis(3);
const LAST_LOOK: Duration = Duration::from_millis(200);
/// The delay before the first retry. It doubles each time, up to `LAST_RETRY`.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

impl Runner<'_> {
    pub(super) fn hear(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Told(node, Told::Begun { checkpoints, gpus }) => {
                self.advance(node, News::Begun(checkpoints))?;
                let attempt = self.work(node).attempts;
                self.tell(Event::Started { step: self.name(node), attempt, gpus })
            }
            Message::Told(node, Told::Report(report)) => self.report(node, report),
            Message::Told(node, Told::Sealed) => {
                self.release(node);
                Ok(())
            }
            Message::Finished(node, outcome) => {
                self.release(node);
                self.finish(node, outcome)
            }
            Message::Signal(signal) => {
                if self.signal.is_none() {
                    self.signal = Some((signal, Instant::now()));
                    self.tell(Event::Stopping { signal })?;
                }
                Ok(())
            }
        }
    }

    /// Takes back what was leased to a step, unless it was taken back before.
    fn release(&mut self, node: NodeIndex) {
        if let Some(lease) = self.leases.remove(&node) {
            self.pools.give_back(lease);
        }
    }

    /// Prereq: the step was handed to an executor.
    fn work(&self, node: NodeIndex) -> &Work {
        self.plan.state(node).work().expect("what an executor has is known work")
    }

    fn report(&mut self, node: NodeIndex, report: Report) -> Result<()> {
        let step = self.name(node);
        self.tell(match report {
            Report::Note(text) => Event::Note { step, text },
            Report::Progress { done, total } => Event::Progress { step, done, total },
            Report::Remark(text) => Event::Remark { step, text },
            Report::Warning(text) => Event::Warning { step: Some(step), text },
            Report::Log(_) => return Ok(()), // The worker writes it to the step's log file.
        })
    }

    fn finish(&mut self, node: NodeIndex, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Computed { artifact, seconds, bytes, other } => {
                let step = self.name(node);
                if let Some(other) = other {
                    let text = format!(
                        "it is not reproducible: the same recipe gave {} and {}; the kind or its program depends on something outside its recipe",
                        artifact.digest().short(),
                        other.short()
                    );
                    self.tell(Event::Warning { step: Some(step.clone()), text })?;
                }
                self.tell(Event::Computed { step, key: artifact.key(), seconds, bytes })?;
                self.advance(node, News::Computed(artifact))
            }
            Outcome::Hit(artifact) => self.advance(node, News::Found(artifact)),
            Outcome::Busy(process) => self.wait_for_other(node, process),
            Outcome::Stopped(StopReason::Asked | StopReason::Now) => {
                self.advance(node, News::GivenUp("stopped by a signal".to_owned()))
            }
            Outcome::Stopped(StopReason::Timeout(limit)) => {
                self.fail(node, format!("stopped after its time limit of {limit:?}"), Vec::new(), None)
            }
            Outcome::Failed { .. } if self.signal.is_some() => {
                self.advance(node, News::GivenUp("stopped by a signal".to_owned()))
            }
            Outcome::Failed { why, tail, log } => self.fail(node, why, tail, log),
            Outcome::Refused(error) => Err(error),
        }
    }

    fn wait_for_other(&mut self, node: NodeIndex, process: Option<u32>) -> Result<()> {
        let waits = self.work(node).waits;
        let look = FIRST_LOOK.saturating_mul(1 << waits.min(16)).min(LAST_LOOK);
        self.advance(node, News::Busy(Instant::now() + look))?;
        match waits {
            0 => self.tell(Event::Waiting { step: self.name(node), process }),
            _ => Ok(()),
        }
    }

    fn fail(&mut self, node: NodeIndex, why: String, tail: Vec<String>, log: Option<PathBuf>) -> Result<()> {
        let attempt = self.work(node).attempts;
        let again = attempt <= self.graph.steps[node].retries && self.signal.is_none();
        let wait = FIRST_RETRY.saturating_mul(1 << (attempt - 1).min(16)).min(LAST_RETRY);
        let retry_in = again.then_some(wait.as_secs_f64());
        self.tell(Event::Failed(Failed { step: self.name(node), why, tail, log, attempt, retry_in }))?;
        self.advance(node, News::Failed(again.then(|| Instant::now() + wait)))
    }
}
