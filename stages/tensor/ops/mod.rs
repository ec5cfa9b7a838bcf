//! Operations on tensors, one folder each: the formula and its backward pass, and the kernels.

pub mod activation;
pub mod adam;
pub mod add;
pub mod add_row;
pub mod aggregate;
pub mod attention;
pub mod binary_cross_entropy;
pub mod concatenate;
pub mod cross_entropy;
pub mod dot;
pub mod dropout;
pub mod expectation;
pub mod favor;
pub mod gate;
pub mod gather;
pub mod graph_attention;
pub mod layer_norm;
pub mod linear;
pub mod mean_heads;
pub mod pool;
pub mod reshape;
pub mod skip_gram;
pub mod squared_error;
pub mod standardise;
pub mod unit;
