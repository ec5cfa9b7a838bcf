//! `pipeline` as a library: write a kind of stage of your own, register it beside ours, and get a program with all commands.
//!
//! Four files make such a program. `Cargo.toml` depends on `pipeline`, and on `kind-code` under `[build-dependencies]`;
//! `build.rs` calls `kind_code::write()`, so that the code of your kind is in the key of each of its steps: change it, and what
//! it computed is computed again. The pipeline file names your kind as it names ours. And `src/main.rs`, whole:
//!
//! ```ignore
#![doc = include_str!("../tests/stranger/src/main.rs")]
//! ```
//!
//! | module | what it is for |
//! |---|---|
//! | [`stage`] | what a kind declares ([`stage::Kind`], [`stage::Slot`]) and what it is handed ([`stage::Io`]) |
//! | [`checkpoint`] | state that survives a kill, for what computes long |
//! | [`disk`] | files, with errors that name their path |
//! | [`data`] | the tables that kinds hand each other, and the formats of other programs |
//! | [`gpu`], [`warden`] | for kinds that compute on GPUs, and for those that start programs |
//!
//! A kind must give the same bytes for the same inputs and params, whatever the clock, the machine and the number of threads:
//! [`data::random`] has generators that do. What it writes below [`stage::Io::out`] becomes its artifact.

pub use cli::main;
pub use contract::{checkpoint, code, disk, gpu, stage, warden};
pub use data;
pub use stages::KINDS;
