//! The kinds of stages that a pipeline may use, one file per kind.
//!
//! A kind reads artifacts and writes one; it does not know the cache, the graph or any other kind. Stages exchange data
//! only through artifacts.

mod correlation;
mod dataset;
mod embed;
mod evaluate;
mod export;
mod finetune;
mod gene2vec;
mod genie3;
mod import_embeddings;
mod import_model;
mod joint;
mod kit;
mod labels;
mod merge;
mod mutual_information;
mod preprocess;
mod pretrain;
mod probe;
mod shuffle;
mod similarity;
mod simulate;
mod split;
mod stack;
mod tokenise;

use contract::stage::Kind;

/// Every kind that a pipeline file may name.
pub const KINDS: &[Kind] = &[
    command::KIND,
    correlation::KIND,
    dataset::KIND,
    embed::KIND,
    evaluate::KIND,
    export::KIND,
    finetune::KIND,
    gene2vec::KIND,
    genie3::KIND,
    import_embeddings::KIND,
    import_model::KIND,
    joint::KIND,
    labels::KIND,
    merge::KIND,
    mutual_information::KIND,
    preprocess::KIND,
    pretrain::KIND,
    probe::KIND,
    shuffle::KIND,
    similarity::KIND,
    simulate::KIND,
    split::KIND,
    stack::KIND,
    tokenise::KIND,
];
