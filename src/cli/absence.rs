//! Summarises absent steps: for each reason the first few by name, the others as a count.

use std::collections::BTreeMap;

/// How many absent steps are printed by name for each reason.
const NAMED: usize = 3;

/// The number of absent steps for each hint on what to do about it.
#[derive(Debug, Default)]
pub struct Absences(BTreeMap<String, usize>);

impl Absences {
    /// Counts a step and returns whether it should be printed by name.
    pub fn count(&mut self, hint: &str) -> bool {
        let count = self.0.entry(hint.to_owned()).or_default();
        *count += 1;
        *count <= NAMED
    }

    /// One line for each reason that has more steps than were printed by name.
    pub fn rest(self) -> impl Iterator<Item = String> {
        let left = self.0.into_iter().filter(|(_, count)| *count > NAMED);
        left.map(|(hint, count)| format!("absent: {} more steps: {hint}", count - NAMED))
    }
}
