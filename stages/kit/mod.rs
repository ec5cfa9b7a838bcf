//! What several kinds share.

pub mod cells;
pub mod columns;
pub mod embeddings;
pub mod formats;
pub mod genes;
pub mod graph;
mod hdf5;
pub mod hdf5_draft;
mod lines;
pub mod masked;
pub mod metrics;
pub mod model;
pub mod names;
pub mod network;
pub mod pairs;
pub mod pseudotime;
pub mod random;
mod records;
pub mod scores;
pub mod statistics;
pub mod table;
pub mod tensor;
pub mod tokens;
pub mod training;
pub mod types;
