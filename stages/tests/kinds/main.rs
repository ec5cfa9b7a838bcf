//! The kinds that turn what biologists have into tables, run as the engine runs them.

mod dataset;
mod export;
mod memory;
mod mutate;
mod preprocess;
mod readme;
mod simulate;
mod split;
mod support;
mod tokenise;
