//! Executors, which run tasks: on threads of this process, or as jobs of a cluster's scheduler.

mod ask;
pub mod cluster;
mod jobs;
pub mod local;
pub mod scheduler;
pub mod slurm;

use crate::task::{Outcome, Told};
use petgraph::graph::NodeIndex;

/// What the run loop receives.
pub enum Message {
    /// A report about a running task.
    Told(NodeIndex, Told),
    /// A task has ended.
    Finished(NodeIndex, Outcome),
    /// A warning about all of the tasks.
    Warned(String),
    /// The process received a signal.
    Signal(i32),
}
