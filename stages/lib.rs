//! The kinds of stage that a pipeline may use, one file per kind.
//!
//! A kind reads artifacts and writes one; it knows no cache, no graph and no other kind. Data passes
//! between stages through artifacts and only there.

pub mod checkpoint;
mod code;
mod command;
mod correlation;
mod dataset;
pub mod disk;
mod evaluate;
mod export;
mod genie3;
pub mod kit;
mod labels;
mod mutual_information;
mod preprocess;
mod shuffle;
mod simulate;
mod split;
mod stack;
pub mod stage;
mod tokenise;
pub mod warden;

use stage::Kind;

/// Every kind that a pipeline file may name.
pub const KINDS: &[Kind] = &[
    command::KIND,
    correlation::KIND,
    dataset::KIND,
    evaluate::KIND,
    export::KIND,
    genie3::KIND,
    labels::KIND,
    mutual_information::KIND,
    preprocess::KIND,
    shuffle::KIND,
    simulate::KIND,
    split::KIND,
    stack::KIND,
    tokenise::KIND,
];
