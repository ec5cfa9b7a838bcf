//! Hashes the code of the kinds in this crate, so that it enters their keys.

fn main() {
    kind_code::write();
}
