//! Tests of the engine's promises, through a program with toy kinds.

mod cache;
mod command;
mod concurrency;
mod crash;
mod damage;
mod device;
mod diff;
mod pipeline_file;
mod results;
mod running;
mod warnings;
