//! Converts values that come gene by gene into cells.
//!
//! Holds every non-zero value in memory, 8 bytes each, because in a layout by genes no cell is complete before
//! the end of the file. Layouts by cells do not need this.

use super::Sink;
use anyhow::{Result, bail};

/// Values by cell.
pub struct Transposer {
    cells: Vec<Vec<(u32, f32)>>,
}

impl Transposer {
    /// Prereq: as many names of cells have been read, so that a damaged count cannot exhaust the memory.
    pub fn new(cells: usize) -> Transposer {
        Transposer { cells: vec![Vec::new(); cells] }
    }

    /// Adds a value. Prereq: `cell` is below the number of cells.
    pub fn push(&mut self, cell: usize, gene: u32, value: f32) {
        if value != 0.0 {
            self.cells[cell].push((gene, value));
        }
    }

    /// Adds the values of consecutive genes, starting at `first`, each over all cells.
    pub fn push_genes(&mut self, first: u32, rows: &[impl AsRef<[f32]>]) {
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let mut end = cell.len();
            cell.resize(end + rows.len(), (0, 0.0));
            // Write every value and overwrite zeros with the next one: a branch on zero would be unpredictable.
            for (gene, row) in (first..).zip(rows) {
                cell[end] = (gene, row.as_ref()[index]);
                end += usize::from(cell[end].1 != 0.0);
            }
            cell.truncate(end);
        }
    }

    /// Passes on the cells.
    pub fn emit(self, ids: &[String], place: &str, sink: &mut dyn Sink) -> Result<()> {
        let (mut genes, mut values) = (Vec::new(), Vec::new());
        for (id, mut cell) in ids.iter().zip(self.cells) {
            let rises = |cell: &[(u32, f32)]| {
                cell.windows(2).fold(true, |rises, pair| rises & (pair[0].0 < pair[1].0))
            };
            if !rises(&cell) {
                cell.sort_by_key(|(gene, _)| *gene);
                if !rises(&cell) {
                    bail!("{place} has two values for the same gene in cell `{id}`");
                }
            }
            genes.clear();
            values.clear();
            genes.extend(cell.iter().map(|(gene, _)| *gene));
            values.extend(cell.iter().map(|(_, value)| *value));
            sink.cell(id, &genes, &values)?;
        }
        Ok(())
    }
}
