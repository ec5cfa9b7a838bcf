//! Steps that are absent, told in few lines: of each reason a few by name, the others by number.

use std::collections::BTreeMap;

/// Steps that are absent for the same reason and told by name.
const NAMED: usize = 3;

/// By what is to be done about it, how many steps are absent.
#[derive(Debug, Default)]
pub struct Absences(BTreeMap<String, usize>);

impl Absences {
    /// Counts a step; says whether it is one that is told by name.
    pub fn count(&mut self, hint: &str) -> bool {
        let count = self.0.entry(hint.to_owned()).or_default();
        *count += 1;
        *count <= NAMED
    }

    /// A line for each reason for which steps are left that were not named.
    pub fn rest(self) -> impl Iterator<Item = String> {
        let left = self.0.into_iter().filter(|(_, count)| *count > NAMED);
        left.map(|(hint, count)| format!("absent: {} more steps: {hint}", count - NAMED))
    }
}
