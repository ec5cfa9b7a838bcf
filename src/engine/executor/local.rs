//! Runs each task on a thread of this process.
//!
//! One thread per task; it mostly waits. If the engine is killed, its threads end with it.

use super::Message;
use crate::pools::Lease;
use crate::task::Task;
use crate::worker::Worker;
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

    /// Starts the task of a step. The lease comes back in the `Finished` message.
    pub fn start(&self, node: NodeIndex, task: Task, lease: Lease) {
        let (worker, messages) = (self.worker.clone(), self.messages.clone());
        std::thread::spawn(move || {
            let teller = messages.clone();
            // Sending fails if the run loop ended before a step that was told to stop.
            let outcome = worker.run(task, move |told| drop(teller.send(Message::Told(node, told))));
            drop(messages.send(Message::Finished(node, outcome, lease)));
        });
    }

    /// Ends the idle processes that are kept for later tasks.
    pub fn close(&self) {
        self.worker.close();
    }
}
