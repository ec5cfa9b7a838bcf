//! Executors, which run tasks. The only one so far runs them in this process.

pub mod local;

use crate::task::{Outcome, Told};
use petgraph::graph::NodeIndex;

/// What the run loop receives.
pub enum Message {
    /// A report about a running task.
    Told(NodeIndex, Told),
    /// A task has ended.
    Finished(NodeIndex, Outcome),
    /// The process received a signal.
    Signal(i32),
}
