//! Models, built from the operations of `kit::tensor`.

pub mod classifier;
pub mod draws;
pub mod foreign;
pub mod gnn;
pub mod layers;
pub mod parameters;
pub mod performer;
pub mod readout;
pub mod saved;
pub mod scorer;
pub mod torch;
pub mod weights;
