//! The engine: a cached graph of steps that explains itself and survives anything.
//!
//! It knows nothing of genes or tensors. Imports go downward only: `cli` → {`run`, `survey`} → `examine` →
//! {`plan` → `graph` → `spec`; `executor` → `worker` → `task` → `store` → `key`}. `plan` owns the state of
//! every step and decides; `examine` looks things up for it; `executor` hands tasks to workers, which claim,
//! compute and commit by themselves.

pub mod cli; // the command line: one file per command

mod absence; // steps that are absent, told in few lines
mod clock; // the calendar, for people
mod compare; // variants side by side
mod complaint; // what is wrong with a pipeline file, shown where it is wrong
mod console; // events for a person
mod device; // whether kinds that can compute on a GPU do so
mod diff; // two artifacts side by side
mod drawing; // the graph as a picture
mod error; // whose fault, where, what to do
mod event; // what happens in a run, as one stream
mod examine; // a step whose inputs are known: its recipe, its artifact
mod executor; // where a task is done
mod exhibit; // what a file holds that can be shown
mod graph; // spec + kinds -> checked graph of steps
mod hash; // digests of files and folders
mod history; // what earlier runs made of the same steps
mod key; // digest, key, recipe, reason
mod locate; // finds a place of a YAML text; only for complaints
mod markup; // text within XML and HTML
mod memo; // what was hashed before
mod metrics; // the numbers that an artifact holds
mod output; // standard output: results
mod parsed; // the value of a pipeline file, remembered
mod plan; // the state of every step; never sees a disk
mod plot; // figures as SVG
mod pools; // what the machine has, and what is free of it
mod preview; // the first rows of a file
mod quantity; // sizes and times as users write them
mod record; // reads the records of runs
mod report; // a pipeline as people show it
mod run; // the loop; the one owner of mutable state
mod runlog; // writes the record of a run
mod spec; // the YAML as data
mod statistics; // spread, paired differences, chance
mod store; // artifacts on disk
mod survey; // how things stand without computing
mod task; // a step as plain data, for whoever computes it
mod template; // `{name}` in texts
mod text; // numbers as people read them
mod worker; // one task: claim, stage, commit
mod yaml; // text -> values, within budgets
