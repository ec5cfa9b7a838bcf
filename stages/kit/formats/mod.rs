//! Files of other programs.

pub mod npy;
