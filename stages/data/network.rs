//! `network.parquet`: which gene regulates which.
//!
//! Columns: `tf`, `target` (text), `sign` (i8: 1 activates, -1 represses, 0 unknown). Rows are sorted
//! and unique; self loops are left out, because no metric in this field counts them.

use crate::table::{self, Table};
use anyhow::Result;
use arrow::array::{Int8Array, StringArray};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "network.parquet";

/// A regulator and its target.
pub type Pair = (String, String);

/// Signs by pair, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network(BTreeMap<Pair, i8>);

/// The outcome of adding an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    Kept,
    /// The pair was there before.
    Duplicate,
    /// The edge is a self loop.
    SelfLoop,
}

impl Network {
    /// Adds an edge. If a pair occurs with both signs, its sign becomes unknown.
    pub fn add(&mut self, tf: &str, target: &str, sign: i8) -> Added {
        if tf == target {
            return Added::SelfLoop;
        }
        let mut added = Added::Kept;
        self.0
            .entry((tf.to_owned(), target.to_owned()))
            .and_modify(|known| {
                added = Added::Duplicate;
                *known = if *known == sign { sign } else { 0 };
            })
            .or_insert(sign);
        added
    }

    /// The edges, sorted.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str, i8)> {
        self.0.iter().map(|((tf, target), sign)| (tf.as_str(), target.as_str(), *sign))
    }

    /// The number of edges.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no edge.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps only the edges that `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.0.retain(|(tf, target), _| keep(tf, target));
    }

    /// Writes the table.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = |of: fn(&Pair) -> &String| Arc::new(StringArray::from_iter_values(self.0.keys().map(of)));
        let signs = Int8Array::from_iter_values(self.0.values().copied());
        let (tfs, targets) = (text(|pair| &pair.0), text(|pair| &pair.1));
        table::write(path, vec![("tf", tfs), ("target", targets), ("sign", Arc::new(signs))])
    }

    /// Reads the table.
    pub fn read(path: &Path) -> Result<Network> {
        let table = Table::open(path)?;
        let (tfs, targets, signs) = (table.strings("tf")?, table.strings("target")?, table.integers("sign")?);
        let mut network = Network::default();
        for row in 0..table.rows() {
            network.add(tfs.value(row), targets.value(row), signs.value(row).signum() as i8);
        }
        Ok(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn self_loops_and_duplicates_are_left_out() {
        let mut network = Network::default();
        assert_eq!(network.add("b", "a", 1), Added::Kept);
        assert_eq!(network.add("b", "a", 1), Added::Duplicate);
        assert_eq!(network.add("b", "b", 1), Added::SelfLoop);
        network.add("a", "b", 1);
        network.add("a", "b", -1);
        assert_eq!(network.edges().collect::<Vec<_>>(), [("a", "b", 0), ("b", "a", 1)]);
    }

    #[test]
    fn a_network_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut network = Network::default();
        network.add("b", "a", -1);
        network.add("a", "c", 1);
        network.write(&path).unwrap();
        assert_eq!(Network::read(&path).unwrap(), network);
    }
}
