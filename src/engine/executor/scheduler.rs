//! What is asked of a cluster's scheduler.
//!
//! A scheduler is never trusted with more than it can know. That it does not answer says nothing about a job, and
//! that it calls a job ended says nothing about the artifact (see `jobs/fate.rs`).

use crate::batch::Batch;
use crate::spec::Resources;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

/// A scheduler. Its methods may take as long as its programs do; they are called on a thread of their own.
pub trait Scheduler: Send {
    /// The options for a step of this kind with these resources. Steps with equal options share a batch.
    fn options(&self, kind: &str, resources: &Resources) -> Vec<String>;

    /// The script that each job of a batch in this folder runs. It starts one worker with one assignment.
    fn script(&self, folder: &Path) -> String;

    /// Submits a batch, one job for each place, under the batch's name. `lock` must stay open as long as a
    /// program that could still submit it is alive.
    fn submit(&mut self, batch: &Batch, lock: File) -> Submission;

    /// All jobs of this user that are known to it, asked for at once, finished ones too while it remembers
    /// them. The error says why there is no answer.
    fn poll(&mut self) -> Result<Listing, String>;

    /// What accounting has on record of a job that `poll` does not list; `None` if it knows nothing.
    fn recall(&mut self, batch: &Batch, place: usize) -> Option<Word>;

    /// Cancels jobs, all at once. Once this succeeds, none of them runs on, and those already gone do not matter.
    fn cancel(&mut self, jobs: &[Job]) -> Result<(), String>;
}

/// A job: the scheduler's id of its batch, and its place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The id of the batch.
    pub id: String,
    /// The place in the batch.
    pub place: usize,
}

/// The answer to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submission {
    /// It was taken; the scheduler's id.
    Accepted(String),
    /// It will never be taken like this.
    Refused(String),
    /// It was not taken now, because of a limit.
    Later(String),
    /// Nobody knows whether it was taken.
    Unknown(String),
}

/// What a scheduler lists: for each batch, by name, the job at each place.
pub type Listing = HashMap<String, HashMap<usize, Said>>;

/// What a scheduler says of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The id of its batch.
    pub id: String,
    /// Its state.
    pub word: Word,
}

/// The state of a job, in the scheduler's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It waits, for this reason; empty if the scheduler gives none.
    Queued(String),
    /// It runs on this machine.
    Running(String),
    /// It has ended.
    Ended(Ending),
}

/// How a job ended, in the scheduler's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// With exit code 0.
    Well,
    /// With another exit code or by a signal, as described.
    Badly(String),
    /// Somebody cancelled it.
    Cancelled,
    /// It was ended at its time limit.
    OutOfTime,
    /// It was ended because of its memory.
    OutOfMemory,
    /// Its machine failed, or the job had to make room for another; as described.
    Lost(String),
}
