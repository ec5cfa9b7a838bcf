//! Tests of the program's promises, through the shipped program.

mod commands;
mod compare;
mod cuda;
mod every_kind;
mod layering;
mod mistakes;
mod names;
mod readme;
mod report;
mod training;
