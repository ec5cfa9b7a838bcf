//! A workflow engine with cached stages.

pub mod complaint;
pub mod error;
pub mod graph;
pub mod key;
mod locate;
pub mod quantity;
pub mod spec;
pub mod template;
pub mod yaml;
