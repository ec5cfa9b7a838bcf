//! What the program promises, asserted through the program.

mod cache;
mod command;
mod commands;
mod compare;
mod concurrency;
mod crash;
mod damage;
mod device;
mod diff;
mod layering;
mod mistakes;
mod pipeline_file;
mod readme;
mod report;
mod running;
mod support;
mod training;
