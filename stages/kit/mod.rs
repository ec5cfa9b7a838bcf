//! Code shared by several kinds.

pub mod candidates;
pub mod labels;
pub mod trees;
