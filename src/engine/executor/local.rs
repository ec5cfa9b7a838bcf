//! Does each task on a thread of this process.
//!
//! One thread per task, mostly waiting: a killed engine leaves none behind.

use super::Message;
use crate::pools::Lease;
use crate::task::Task;
use crate::worker::Worker;
use petgraph::graph::NodeIndex;
use std::sync::mpsc::Sender;

/// Starts tasks in this process.
pub struct Local {
    worker: Worker,
    messages: Sender<Message>,
}

impl Local {
    /// An executor that answers through `messages`.
    pub fn new(worker: Worker, messages: Sender<Message>) -> Local {
        Local { worker, messages }
    }

    /// Starts the task of a step; what it has taken of the machine comes back with its outcome.
    pub fn start(&self, node: NodeIndex, task: Task, lease: Lease) {
        let (worker, messages) = (self.worker.clone(), self.messages.clone());
        std::thread::spawn(move || {
            let teller = messages.clone();
            // The loop may have ended before a step that was told to stop did.
            let outcome = worker.run(task, move |told| drop(teller.send(Message::Told(node, told))));
            drop(messages.send(Message::Finished(node, outcome, lease)));
        });
    }

    /// Ends the processes that are kept for tasks to come.
    pub fn close(&self) {
        self.worker.close();
    }
}
