//! What the program promises, asserted through it as it is shipped.

mod commands;
mod compare;
mod cuda;
mod layering;
mod readme;
mod report;
mod training;
