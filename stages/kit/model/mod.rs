//! Models, built from the operations of `kit::tensor`.

pub mod classifier;
pub mod layers;
pub mod parameters;
pub mod performer;
pub mod saved;
pub mod torch;
pub mod weights;
