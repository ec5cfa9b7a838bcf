//! Why a step ends early, and how it learns that it should.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Why a step should end before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// SIGINT or SIGTERM came: save a checkpoint and return.
    Asked,
    /// A second signal came: return at once, save nothing.
    Now,
    /// The step's own time is over.
    Timeout(Duration),
}

/// The error of a stage that stopped because it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped(pub StopReason);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            StopReason::Asked | StopReason::Now => f.write_str("stopped by a signal"),
            StopReason::Timeout(limit) => write!(f, "stopped after its time limit of {limit:?}"),
        }
    }
}

impl std::error::Error for Stopped {}

/// The error of a stage that lacks something of the machine: a device, or memory on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The run's stop flag; clones share it.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicU8>);

impl StopFlag {
    /// Records one more signal.
    pub fn raise(&self) {
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_add(1)));
    }

    /// What the signals received so far ask for.
    pub fn reason(&self) -> Option<StopReason> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(StopReason::Asked),
            _ => Some(StopReason::Now),
        }
    }
}
