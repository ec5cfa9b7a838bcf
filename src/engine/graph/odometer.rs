//! Iterates over every combination of the allowed values of some axes, the last axis fastest.

/// Where it stands.
pub struct Odometer<'o> {
    axes: &'o [usize],
    allowed: &'o [Vec<usize>],
    /// For each of `axes`, the current index into its allowed values.
    turns: Vec<usize>,
    /// The value index of every axis of the matrix; 0 for axes not iterated over.
    at: Vec<usize>,
    done: bool,
    begun: bool,
}

impl<'o> Odometer<'o> {
    /// Starts before the first combination.
    pub fn new(axes: &'o [usize], allowed: &'o [Vec<usize>]) -> Odometer<'o> {
        let done = axes.iter().any(|axis| allowed[*axis].is_empty());
        Odometer { axes, allowed, turns: vec![0; axes.len()], at: vec![0; allowed.len()], done, begun: false }
    }

    /// The value index of every axis in the next combination; `None` after the last.
    pub fn next(&mut self) -> Option<&[usize]> {
        if self.done {
            return None;
        }
        if self.begun {
            let mut wheel = self.axes.len();
            loop {
                if wheel == 0 {
                    self.done = true;
                    return None;
                }
                wheel -= 1;
                self.turns[wheel] += 1;
                if self.turns[wheel] < self.allowed[self.axes[wheel]].len() {
                    break;
                }
                self.turns[wheel] = 0;
            }
        }
        self.begun = true;
        for (turn, axis) in self.turns.iter().zip(self.axes) {
            self.at[*axis] = self.allowed[*axis][*turn];
        }
        Some(&self.at)
    }
}
