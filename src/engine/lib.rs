//! The engine: a cached graph of steps that explains itself.
//!
//! It knows nothing of genes or tensors. Imports go downward only: `run` → {`plan` → `graph` → `spec`; `executor` →
//! `worker`; `store` → `key`} → the contract.

pub mod clock; // the calendar, for people
pub mod complaint; // what is wrong with a pipeline file, shown where it is wrong
pub mod device; // whether kinds that can compute on a GPU do so
pub mod error; // whose fault, where, what to do
pub mod event; // what happens in a run, as one stream
pub mod examine; // a step whose inputs are known: its recipe, its artifact
pub mod executor; // where a step runs
pub mod graph; // spec + kinds -> checked graph of steps
pub mod hash; // digests of files and folders
pub mod history; // what earlier runs made of the same steps
pub mod key; // digest, key, recipe, reason
pub mod locate; // finds a place of a YAML text; only for complaints
pub mod memo; // what was hashed before
pub mod plan; // the state of every step; never sees a disk
pub mod pools; // what the machine has, and what is free of it
pub mod quantity; // sizes and times as users write them
pub mod run; // the loop; the one owner of mutable state
pub mod runlog; // the record of a run
pub mod spec; // the YAML as data
pub mod store; // artifacts on disk
pub mod survey; // how things stand without computing
pub mod template; // `{name}` in texts
pub mod text; // numbers as people read them
pub mod worker; // one thread, one step
pub mod yaml; // text -> values, within budgets
