//! What several kinds share.

pub mod candidates;
pub mod labels;
pub mod trees;
