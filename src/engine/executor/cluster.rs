//! Runs tasks as jobs of a cluster's scheduler, on one thread of its own: what the scheduler's programs are asked
//! may take a minute.

use super::Message;
use super::jobs::Jobs;
use super::scheduler::Scheduler;
use super::slurm::Slurm;
use crate::error::{Error, Result};
use crate::profile::{Executor, Profile};
use crate::spec::Resources;
use crate::store::Store;
use crate::task::{Outcome, Task};
use petgraph::graph::NodeIndex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The interval at which the thread looks what is due.
const TICK: Duration = Duration::from_millis(50);
/// Tasks that come this soon after one another share a batch.
const TOGETHER: Duration = Duration::from_millis(20);

/// What becomes of jobs when the run is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// They go on, and the next run takes them up.
    Detach,
    /// They are cancelled.
    Cancel,
}

/// The executor that runs tasks as jobs.
pub struct Cluster {
    profile: Profile,
    orders: Sender<Order>,
}

enum Order {
    Start(NodeIndex, Box<Task>, Resources),
    Stop(OnInterrupt),
}

impl Cluster {
    /// Starts the thread of an executor that reports through `messages`.
    pub fn start(profile: Profile, store: Store, run: String, messages: Sender<Message>) -> Result<Cluster> {
        let scheduler: Box<dyn Scheduler> = match profile.executor {
            Executor::Slurm => Box::new(Slurm::new(&profile)?),
        };
        let (orders, inbox) = channel();
        let jobs = Jobs::new(store, run, profile.clone(), scheduler);
        let serve = move || serve(jobs, &inbox, &messages);
        contract::threads::spawn(serve)
            .map_err(|error| Error::Device(format!("starting a thread: {error}")))?;
        Ok(Cluster { profile, orders })
    }

    /// Whether steps of this kind run as jobs.
    pub fn takes(&self, kind: &str) -> bool {
        !self.profile.keeps(kind)
    }

    /// The most jobs at once.
    pub fn capacity(&self) -> usize {
        self.profile.jobs
    }

    /// Starts the task of a step that asks for these resources.
    pub fn run(&self, node: NodeIndex, task: Task, resources: Resources) {
        // The thread ends only after an error, which it has reported.
        let _ = self.orders.send(Order::Start(node, Box::new(task), resources));
    }

    /// Lets go of every task.
    pub fn stop(&self, what: OnInterrupt) {
        let _ = self.orders.send(Order::Stop(what));
    }
}

fn serve(mut jobs: Jobs, orders: &Receiver<Order>, messages: &Sender<Message>) {
    let began = Instant::now();
    let mut nodes = Vec::new();
    loop {
        let mut wait = TICK;
        let mut stop = None;
        loop {
            match orders.recv_timeout(wait) {
                Ok(Order::Start(node, task, resources)) => {
                    nodes.push(node);
                    jobs.start(node, *task, &resources);
                    wait = TOGETHER;
                }
                Ok(Order::Stop(what)) => stop = Some(what),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        let news = match stop {
            None => jobs.tick(began.elapsed()),
            Some(OnInterrupt::Detach) => Ok(jobs.leave()),
            Some(OnInterrupt::Cancel) => jobs.cancel(),
        };
        match news {
            Ok(news) => news.into_iter().for_each(|message| drop(messages.send(message))),
            Err(error) => {
                // The run ends with this error; its jobs go on.
                let node = nodes.last().copied().unwrap_or_default();
                drop(messages.send(Message::Finished(node, Outcome::Refused(error))));
                return;
            }
        }
    }
}
