//! What the program promises, asserted through it as it is shipped.

mod commands;
mod compare;
mod cuda;
mod every_kind;
mod layering;
mod mistakes;
mod readme;
mod report;
mod training;
