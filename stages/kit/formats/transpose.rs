//! Turns values that come gene by gene into cells.
//!
//! It holds every value that is not zero, 8 bytes each: a layout by genes has no cell complete before
//! its end. Layouts by cells never come here.

use super::Sink;
use anyhow::{Result, bail};

/// Values by cell.
pub struct Transposer {
    cells: Vec<Vec<(u32, f32)>>,
}

impl Transposer {
    /// Prereq: that many cells have been seen by name, so that a damaged count cannot fill the memory.
    pub fn new(cells: usize) -> Transposer {
        Transposer { cells: vec![Vec::new(); cells] }
    }

    /// Adds a value. Prereq: `cell` is below the number of cells.
    pub fn push(&mut self, cell: usize, gene: u32, value: f32) {
        if value != 0.0 {
            self.cells[cell].push((gene, value));
        }
    }

    /// Adds the values of some genes, from `first` on, each over all cells.
    pub fn push_genes<'a>(&mut self, first: u32, rows: impl Iterator<Item = &'a [f32]> + Clone) {
        for (index, cell) in self.cells.iter_mut().enumerate() {
            let values = (first..).zip(rows.clone()).map(|(gene, row)| (gene, row[index]));
            cell.extend(values.filter(|(_, value)| *value != 0.0));
        }
    }

    /// Gives the cells away.
    pub fn emit(self, ids: &[String], place: &str, sink: &mut dyn Sink) -> Result<()> {
        let (mut genes, mut values) = (Vec::new(), Vec::new());
        for (id, mut cell) in ids.iter().zip(self.cells) {
            if !cell.is_sorted_by_key(|(gene, _)| *gene) {
                cell.sort_by_key(|(gene, _)| *gene);
            }
            genes.clear();
            values.clear();
            for (gene, value) in cell {
                if genes.last() == Some(&gene) {
                    bail!("{place} has two values for the same gene in cell `{id}`");
                }
                genes.push(gene);
                values.push(value);
            }
            sink.cell(id, &genes, &values)?;
        }
        Ok(())
    }
}
