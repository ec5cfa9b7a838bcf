//! What the program promises, asserted through the program.

mod cache;
mod command;
mod commands;
mod concurrency;
mod crash;
mod damage;
mod layering;
mod pipeline_file;
mod readme;
mod running;
mod support;
mod training;
