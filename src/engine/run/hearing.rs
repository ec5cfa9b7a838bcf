//! Hears how steps fare, and decides what becomes of them.

use super::{Runner, Running};
use crate::error::Result;
use crate::event::{Event, Failed};
use crate::executor::{Message, Outcome};
use crate::plan::State;
use contract::stage::{Report, StopReason};
use petgraph::graph::NodeIndex;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The longest wait between looks at a lock that somebody else has.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// The wait before the first retry; it doubles each time, up to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

impl Runner<'_> {
    pub(super) fn hear(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Started(node) => {
                let due = self.due.get_mut(&node).expect("only due steps are started");
                due.attempt += 1;
                let attempt = due.attempt;
                let gpus =
                    self.running.get(&node).map(|running| running.lease.gpus.clone()).unwrap_or_default();
                self.tell(Event::Started { step: self.name(node), attempt, gpus })
            }
            Message::Report(node, report) => self.report(node, report),
            Message::Finished(node, outcome) => {
                if let Some(Running { lease, .. }) = self.running.remove(&node) {
                    self.pools.give_back(lease);
                }
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

    fn report(&mut self, node: NodeIndex, report: Report) -> Result<()> {
        let step = self.name(node);
        self.tell(match report {
            Report::Note(text) => Event::Note { step, text },
            Report::Progress { done, total } => Event::Progress { step, done, total },
            Report::Warning(text) => Event::Warning { step: Some(step), text },
            Report::Log(_) => return Ok(()), // The worker writes it to the step's file.
        })
    }

    fn finish(&mut self, node: NodeIndex, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Computed { artifact, seconds, bytes, other } => {
                let step = self.name(node);
                if let Some(other) = other {
                    let text = format!(
                        "it is not reproducible: the same recipe gave {} and {}; the kind or its program depends on something outside its recipe",
                        artifact.digest.short(),
                        other.short()
                    );
                    self.tell(Event::Warning { step: Some(step.clone()), text })?;
                }
                self.tell(Event::Computed { step, key: artifact.key, seconds, bytes })?;
                self.settle(node, State::Computed(artifact))
            }
            Outcome::Hit(artifact) => self.settle(node, State::Cached(artifact)),
            Outcome::Busy(process) => self.wait_for_other(node, process),
            Outcome::Stopped(StopReason::Asked | StopReason::Now) => {
                self.settle(node, State::Skipped("stopped by a signal".to_owned()))
            }
            Outcome::Stopped(StopReason::Timeout(limit)) => {
                self.fail(node, format!("stopped after its time limit of {limit:?}"), Vec::new(), None)
            }
            Outcome::Failed { .. } if self.signal.is_some() => {
                self.settle(node, State::Skipped("stopped by a signal".to_owned()))
            }
            Outcome::Failed { why, tail, log } => self.fail(node, why, tail, log),
            Outcome::Refused(error) => Err(error),
        }
    }

    fn wait_for_other(&mut self, node: NodeIndex, process: Option<u32>) -> Result<()> {
        let due = self.due.get_mut(&node).expect("only due steps are started");
        let first = !std::mem::replace(&mut due.told, true);
        self.later.push((Instant::now() + due.look, node));
        due.look = (due.look * 2).min(LAST_LOOK);
        self.plan.set(node, State::Due);
        match first {
            true => self.tell(Event::Waiting { step: self.name(node), process }),
            false => Ok(()),
        }
    }

    fn fail(&mut self, node: NodeIndex, why: String, tail: Vec<String>, log: Option<PathBuf>) -> Result<()> {
        let attempt = self.due[&node].attempt;
        let again = attempt <= self.graph.steps[node].retries && self.signal.is_none();
        let wait = FIRST_RETRY.saturating_mul(1 << (attempt - 1).min(16)).min(LAST_RETRY);
        let retry_in = again.then_some(wait.as_secs_f64());
        self.tell(Event::Failed(Failed { step: self.name(node), why, tail, log, attempt, retry_in }))?;
        if again {
            self.later.push((Instant::now() + wait, node));
            self.plan.set(node, State::Due);
            return Ok(());
        }
        self.settle(node, State::Failed)
    }
}
