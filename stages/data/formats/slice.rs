//! Pieces of a file that may be cut short.

use anyhow::{Context, Result};

/// So many bytes at a place, or an error that says how many there are.
pub fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let end = at.checked_add(length).filter(|end| *end <= bytes.len());
    let end = end.with_context(|| format!("cut short: {length} bytes at {at} of {}", bytes.len()))?;
    Ok(&bytes[at..end])
}
