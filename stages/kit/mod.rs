//! What several kinds share.

pub mod candidates;
pub mod cells;
pub mod columns;
pub mod embeddings;
pub mod formats;
pub mod genes;
mod hdf5;
pub mod hdf5_draft;
pub mod labels;
pub mod linear;
mod lines;
pub mod logistic;
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
pub mod trees;
pub mod types;
