//! Executors, which run tasks. The only one so far runs them in this process.

pub mod local;

use crate::pools::Lease;
use crate::task::{Outcome, Told};
use petgraph::graph::NodeIndex;

/// What the run loop receives.
pub enum Message {
    /// A report about a running task.
    Told(NodeIndex, Told),
    /// A task has ended; its lease can be given back.
    Finished(NodeIndex, Outcome, Lease),
    /// The process received a signal.
    Signal(i32),
}
