//! Operations on tensors, one folder each: the formula with its place on the tape, and the kernels.

pub mod adam;
pub mod add;
pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod favor;
pub mod gather;
pub mod layer_norm;
pub mod linear;
pub mod reshape;
pub mod skip_gram;
