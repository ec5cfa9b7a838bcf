//! The warnings of the steps that rows depend on: a score is worth no more than what it was computed from.

use super::{Comparison, Upstream};
use crate::warned::{self, Warned};
use engine::error::Result;
use engine::graph::Graph;
use engine::survey::Survey;
use engine::text::count;
use indexmap::IndexSet;
use petgraph::graph::NodeIndex;
use std::collections::HashSet;

/// At most this many rows are named.
const NAMED: usize = 6;

impl Comparison {
    /// Finds the warnings of every step that a row depends on.
    pub(super) fn look_upstream(&mut self, survey: &Survey<'_>) -> Result<()> {
        let graph = survey.plan.graph();
        let rows = || self.blocks.iter().flat_map(|block| &block.rows);
        let behind: Vec<HashSet<NodeIndex>> =
            rows().map(|row| graph.above(&row.steps).into_iter().collect()).collect();
        let names: Vec<&str> = rows().map(|row| row.name.as_str()).collect();
        let mut all: Vec<NodeIndex> =
            behind.iter().flatten().copied().collect::<HashSet<_>>().into_iter().collect();
        all.sort_unstable();
        let mut steps: Vec<Vec<(String, HashSet<NodeIndex>)>> = vec![Vec::new(); behind.len()];
        for warned in warned::of(survey, all.into_iter())? {
            let of_row = |behind: &HashSet<NodeIndex>| -> HashSet<NodeIndex> {
                warned.steps.iter().copied().filter(|node| behind.contains(node)).collect()
            };
            let found: Vec<HashSet<NodeIndex>> = behind.iter().map(of_row).collect();
            let of_all = found.iter().all(|steps| !steps.is_empty());
            let named = names.iter().zip(&found).filter(|(_, steps)| !steps.is_empty());
            let rows: IndexSet<&str> = named.map(|(name, _)| *name).collect();
            let rows = rows.into_iter().map(str::to_owned).collect();
            if !of_all {
                for (row, found) in steps.iter_mut().zip(found).filter(|(_, found)| !found.is_empty()) {
                    match row.iter_mut().find(|(stage, _)| *stage == warned.stage) {
                        Some((_, steps)) => steps.extend(found),
                        None => row.push((warned.stage.clone(), found)),
                    }
                }
            }
            self.upstream.push(Upstream { warned, rows, of_all });
        }
        let rows = self.blocks.iter_mut().flat_map(|block| &mut block.rows);
        for (row, steps) in rows.zip(steps) {
            row.warned = steps.into_iter().map(|(stage, steps)| (stage, steps.len())).collect();
        }
        Ok(())
    }
}

impl Upstream {
    /// The rows in words: all, or each by its name.
    pub fn shown_rows(&self) -> String {
        match self.rows.split_at_checked(NAMED) {
            _ if self.of_all => "every row".to_owned(),
            Some((first, rest)) if rest.len() > 1 => {
                format!("{} and {}", first.join(", "), count(rest.len(), "more row"))
            }
            _ => self.rows.join(", "),
        }
    }

    /// The warning in one sentence: which rows, which steps they are computed from, and what those said.
    pub fn sentence(&self, graph: &Graph) -> String {
        let Warned { text, .. } = &self.warned;
        format!("{} (behind {}): {text}", self.warned.who(graph), self.shown_rows())
    }
}
