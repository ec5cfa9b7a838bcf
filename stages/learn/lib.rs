//! Models and how they are trained: transformers, graph networks, regressions.

pub mod linear;
pub mod logistic;
pub mod masked;
pub mod model;
pub mod multinomial;
pub mod training;
