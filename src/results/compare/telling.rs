//! What a reader must know beside the numbers: notes, and warnings about scores that do not mean what they seem to.

use super::{Cell, Comparison};
use engine::text::count;
use indexmap::{IndexMap, IndexSet};

impl Comparison {
    /// What so few pairs cannot show; `None` if there are enough of them, or a single one.
    pub fn few(&self, pairs: usize) -> Option<String> {
        // Six pairs are the fewest of which a permutation test of the signs can give a p below .05.
        (2..6).contains(&pairs).then(|| {
            let least = 2.0 / f64::from(1u32 << pairs);
            let over = match &self.over[..] {
                [axis] => count(pairs, axis),
                _ => format!("{pairs} paired values"),
            };
            format!(
                "with {over}, an interval rests on the assumption that differences are normally distributed, and no permutation test can give a p below {least:.2}"
            )
        })
    }

    /// Adds the notes and warnings.
    pub(super) fn note(&mut self) {
        let rows = || self.blocks.iter().flat_map(|block| &block.rows);
        let most = rows().flat_map(|row| &row.cells).map(|cell| cell.readings.len()).max().unwrap_or(0);
        let several = rows().count() > self.blocks.len();
        if most == 1 && several {
            let how = match self.over.is_empty() {
                true => "; say what to average over in the pipeline file: `compare: {over: [seed]}`",
                false => "",
            };
            self.notes.push(format!("one value each has no spread, so no row is called best{how}"));
        }
        let varying = rows().flat_map(|row| &row.cells).filter(|cell| !cell.is_steady());
        let pairs = varying.map(|cell| cell.readings.len()).max().unwrap_or(0);
        self.notes.extend(self.few(pairs).filter(|_| several));
        let mut apart: IndexMap<&str, IndexSet<&str>> = IndexMap::new();
        for row in rows() {
            if let Some(why) = &row.apart {
                apart.entry(why).or_default().insert(&row.name);
            }
        }
        let apart: Vec<String> = apart
            .iter()
            .map(|(why, names)| {
                let verb = if names.len() == 1 { "is" } else { "are" };
                let names: Vec<&str> = names.iter().copied().collect();
                format!("{} {verb} not held against the others: {why}", names.join(", "))
            })
            .collect();
        let steady = rows().filter(|row| row.cells.iter().all(Cell::is_steady)).map(|row| row.name.as_str());
        let steady: IndexSet<&str> = steady.collect();
        if !steady.is_empty() {
            let names: Vec<&str> = steady.into_iter().collect();
            self.notes.push(format!(
                "{} gives the same values for every {}, which between rows like that count as one",
                names.join(", "),
                self.over.join(" and ")
            ));
        }
        let mut explained: IndexMap<&str, IndexMap<&str, IndexSet<&str>>> = IndexMap::new();
        let findings =
            self.blocks.iter().flat_map(|block| block.controls.iter().map(move |finding| (block, finding)));
        for (block, finding) in findings {
            // If there is a baseline, only findings about it matter.
            if finding.explained && block.baseline.as_ref().is_none_or(|baseline| *baseline == finding.row) {
                let rows = explained.entry(&finding.control).or_default();
                rows.entry(&finding.row).or_default().insert(&finding.metric);
            }
        }
        let warnings: Vec<String> = explained
            .iter()
            .map(|(control, rows)| {
                let row = |(row, metrics): (&&str, &IndexSet<&str>)| {
                    let metrics: Vec<&str> = metrics.iter().copied().collect();
                    format!("{row} in {}", metrics.join(", "))
                };
                let rows: Vec<String> = rows.iter().map(row).collect();
                format!(
                    "the control {control} explains {}: the difference is within its error, so the score does not show the worth of what the control lacks",
                    rows.join("; ")
                )
            })
            .collect();
        self.notes.extend(apart);
        self.warnings = warnings;
    }
}
