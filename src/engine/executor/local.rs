//! Runs each task on a thread of this process.
//!
//! One thread per task; it mostly waits. If the engine is killed, its threads end with it.

use super::Message;
use crate::error::{Error, Result};
use crate::task::Task;
use crate::worker::Worker;
use contract::threads;
use petgraph::graph::NodeIndex;
use std::sync::mpsc::Sender;

/// The executor that runs tasks in this process.
pub struct Local {
    worker: Worker,
    messages: Sender<Message>,
}

impl Local {
    /// An executor that reports through `messages`.
    pub fn new(worker: Worker, messages: Sender<Message>) -> Local {
        Local { worker, messages }
    }

    /// Starts the task of a step.
    pub fn start(&self, node: NodeIndex, task: Task) -> Result<()> {
        let (worker, messages) = (self.worker.clone(), self.messages.clone());
        let run = move || {
            let teller = messages.clone();
            // Sending fails if the run loop ended before a step that was told to stop.
            let outcome = worker.run(task, move |told| drop(teller.send(Message::Told(node, told))));
            drop(messages.send(Message::Finished(node, outcome)));
        };
        threads::spawn(run).map_err(|error| Error::Device(format!("starting a thread: {error}")))
    }

    /// Ends the idle processes, and removes the empty folders, that are kept for later tasks.
    pub fn close(&self) {
        self.worker.close();
    }
}
