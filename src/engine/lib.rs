//! The engine: a cached graph of steps that explains itself.
//!
//! It knows nothing about genes or tensors. Imports go downward only: {`run`, `survey`} → `examine` → {`plan`
//! → `graph` → `spec`; `executor` → `worker` → `task` → `store` → `key`} → the contract. `plan` owns the
//! state of every step and makes the decisions; `examine` looks up files and artifacts for it; `executor`
//! hands tasks to workers, which claim keys, compute and commit on their own.

pub mod clock; // dates and times, for display only
pub mod complaint; // errors in a pipeline file, shown with the source line
pub mod device; // whether steps compute on a GPU
pub mod error; // whose fault, where, what to do
pub mod event; // the events of a run, as one stream
pub mod examine; // recipes and artifacts, looked up for a plan
pub mod executor; // runs tasks
pub mod graph; // spec + kinds -> checked graph of steps
pub mod hash; // digests of files and folders
pub mod history; // what earlier runs recorded for the same steps
pub mod key; // digest, key, recipe
pub mod locate; // finds a place in a YAML text; only for complaints
pub mod memo; // digests of files hashed before
mod parallel; // loops on several threads
pub mod parsed; // the parsed pipeline file, cached
pub mod plan; // owns the state of every step; never sees a disk
pub mod pools; // the machine's resources, and which of them are free
pub mod quantity; // sizes and times as users write them
pub mod reason; // why a step is due
pub mod record; // reads the records of runs
pub mod run; // the loop that runs a plan
pub mod runlog; // writes the record of a run
pub mod spec; // the YAML as data
pub mod state; // the states of a step
pub mod store; // artifacts on disk
pub mod survey; // the states of all steps, without computing
pub mod task; // a step as plain data, for a worker
pub mod template; // `{name}` in texts
pub mod text; // formats numbers for display
pub mod worker; // one task: claim, stage, commit
pub mod yaml; // text -> values, within budgets
