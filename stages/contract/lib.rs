//! The interface between the engine and the kinds of stages.
//!
//! The engine and the kinds know each other only through this crate. It computes nothing, so its code enters
//! no key.

pub mod bounds;
pub mod checkpoint;
pub mod disk;
pub mod gpu;
pub mod stage;
mod stop;
pub mod threads;
pub mod warden;
mod wires;

/// The code that determines what the kind in this file computes: the source files and crates that it reaches.
/// `code!(gpu)` is the additional code used on a GPU. Prereq: `build.rs` calls `kind_code::write()`.
#[macro_export]
macro_rules! code {
    () => {
        $crate::code!(both).0
    };
    (gpu) => {
        $crate::code!(both).1
    };
    (both) => {{
        const CODE: ($crate::stage::Code, $crate::stage::Code) =
            include!(concat!(env!("OUT_DIR"), "/code/", module_path!(), ".rs"));
        CODE
    }};
}
