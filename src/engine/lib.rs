//! The engine: a cached graph of steps that explains itself.
//!
//! It knows nothing of genes or tensors. Imports go downward only: {`run`, `survey`} → `examine` → {`plan` → `graph` →
//! `spec`; `executor` → `worker` → `task` → `store` → `key`} → the contract. `plan` owns the state of every step and
//! decides; `examine` looks things up for it; `executor` hands tasks to workers, which claim, compute and commit by
//! themselves.

pub mod clock; // the calendar, for people
pub mod complaint; // what is wrong with a pipeline file, shown where it is wrong
pub mod device; // whether kinds that can compute on a GPU do so
pub mod error; // whose fault, where, what to do
pub mod event; // what happens in a run, as one stream
pub mod examine; // recipes and artifacts, looked up for a plan
pub mod executor; // where a task is done
pub mod graph; // spec + kinds -> checked graph of steps
pub mod hash; // digests of files and folders
pub mod history; // what earlier runs made of the same steps
pub mod key; // digest, key, recipe, reason
pub mod locate; // finds a place of a YAML text; only for complaints
pub mod memo; // what was hashed before
pub mod parsed; // the value of a pipeline file, remembered
pub mod plan; // the state of every step; never sees a disk
pub mod pools; // what the machine has, and what is free of it
pub mod quantity; // sizes and times as users write them
pub mod record; // reads the records of runs
pub mod run; // the loop that brings every step to its end
pub mod runlog; // writes the record of a run
pub mod spec; // the YAML as data
pub mod store; // artifacts on disk
pub mod survey; // how things stand without computing
pub mod task; // a step as plain data, for whoever computes it
pub mod template; // `{name}` in texts
pub mod text; // numbers as people read them
pub mod worker; // one task: claim, stage, commit
pub mod yaml; // text -> values, within budgets
