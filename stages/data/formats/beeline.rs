//! The folders of BEELINE.

use super::{Beside, Orient, Sink, tables, text};
use anyhow::Result;
use std::path::Path;

/// Reads the expression and, if they exist, the network and the pseudotimes.
pub fn read(path: &Path, sink: &mut dyn Sink) -> Result<Beside> {
    let mut beside = Beside::default();
    let network = path.join("refNetwork.csv");
    if network.exists() {
        let (found, left_out) = tables::network(&network)?;
        beside = Beside { network: Some(found), left_out, ..beside };
    }
    let pseudotime = path.join("PseudoTime.csv");
    if pseudotime.exists() {
        beside.pseudotime = tables::pseudotime(&pseudotime)?;
    }
    text::read(&path.join("ExpressionData.csv"), Orient::GenesByCells, sink)?;
    Ok(beside)
}
