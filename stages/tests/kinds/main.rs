//! The kinds that turn what biologists have into tables, run as the engine runs them.

mod correlation;
mod dataset;
mod evaluate;
mod export;
mod import_embeddings;
mod import_model;
mod joint;
mod memory;
mod methods;
mod metrics;
mod mutate;
mod preprocess;
mod probe;
mod readme;
mod shuffle;
mod simulate;
mod split;
mod support;
mod tokenise;
mod transformer;
mod types;
