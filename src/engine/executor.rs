//! Where a task is done. One place so far: this process.

pub mod local;

use crate::pools::Lease;
use crate::task::{Outcome, Told};
use petgraph::graph::NodeIndex;

/// What the run loop hears.
pub enum Message {
    /// Something about a task while it runs.
    Told(NodeIndex, Told),
    /// A task is over, and what it had taken is free.
    Finished(NodeIndex, Outcome, Lease),
    /// The process was sent a signal.
    Signal(i32),
}
