//! What decides the result of each kind, found at build time (`build.rs`).
//!
//! A kind in `simulate.rs` takes `code::SIMULATE`; the constant is there because the kind asks for it.

include!(concat!(env!("OUT_DIR"), "/code.rs"));
