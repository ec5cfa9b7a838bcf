//! Tables, the formats of other programs, and metrics: what every kind reads and writes.
//!
//! A table is a Parquet file whose bytes depend on its content alone. Each module describes the tables it reads and writes.

pub mod cells;
pub mod columns;
mod decimal;
pub mod embeddings;
pub mod formats;
pub mod genes;
mod hdf5;
pub mod hdf5_draft;
pub mod lines;
pub mod metrics;
pub mod names;
pub mod network;
pub mod pairs;
pub mod pseudotime;
pub mod random;
mod records;
pub mod scores;
pub mod statistics;
pub mod table;
pub mod tokens;
pub mod types;
