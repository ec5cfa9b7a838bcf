//! What several kinds share.

pub mod cells;
pub mod formats;
pub mod genes;
pub mod model;
pub mod network;
pub mod random;
pub mod table;
pub mod tensor;
