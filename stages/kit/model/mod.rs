//! Models, built from the operations of `kit::tensor`.

pub mod performer;
