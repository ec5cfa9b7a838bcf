//! Digests the code of the kinds.

fn main() {
    kind_code::write();
}
