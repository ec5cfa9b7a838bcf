//! `cells.parquet` transposed: for each gene, the cells where it is not zero.

use crate::cells::CellReader;
use anyhow::{Result, bail};
use std::path::Path;

/// The values of one gene over the cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Column {
    /// The cells where it is not zero, ascending.
    pub cells: Vec<u32>,
    /// Its values in those cells.
    pub values: Vec<f32>,
}

/// Genes by cells.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// The ids of the cells.
    pub ids: Vec<String>,
    /// One column for each gene. Those that were not asked for are empty.
    pub genes: Vec<Column>,
}

impl Columns {
    /// Reads the requested genes. `batch_is_read` is called after each batch and may abort by returning an error.
    pub fn read(
        path: &Path,
        wanted: &[bool],
        mut batch_is_read: impl FnMut() -> Result<()>,
    ) -> Result<Columns> {
        let mut columns = Columns { ids: Vec::new(), genes: vec![Column::default(); wanted.len()] };
        for batch in CellReader::open(path, wanted.len())? {
            for (id, genes, values) in batch?.cells() {
                let Ok(cell) = u32::try_from(columns.ids.len()) else {
                    bail!("{}: has more cells than can be counted", path.display());
                };
                for (gene, value) in genes.iter().zip(values) {
                    if !value.is_finite() {
                        bail!("{}: cell `{id}` holds {value}", path.display());
                    }
                    if wanted[*gene as usize] {
                        let column = &mut columns.genes[*gene as usize];
                        column.cells.push(cell);
                        column.values.push(*value);
                    }
                }
                columns.ids.push(id.to_owned());
            }
            batch_is_read()?;
        }
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::CellWriter;

    fn read(cells: &[(&[u32], &[f32])], wanted: &[bool]) -> Result<Columns> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cells.parquet");
        let mut writer = CellWriter::create(&path).unwrap();
        for (index, (genes, values)) in cells.iter().enumerate() {
            writer.push(&format!("c{index}"), genes, values).unwrap();
        }
        writer.finish().unwrap();
        Columns::read(&path, wanted, || Ok(()))
    }

    #[test]
    fn each_gene_that_is_wanted_has_its_cells() {
        let columns =
            read(&[(&[0, 2], &[1.0, 2.0]), (&[], &[]), (&[1, 2], &[3.0, 4.0])], &[true, false, true])
                .unwrap();
        assert_eq!(columns.ids, ["c0", "c1", "c2"]);
        let column = |cells: &[u32], values: &[f32]| Column { cells: cells.into(), values: values.into() };
        assert_eq!(columns.genes, [column(&[0], &[1.0]), Column::default(), column(&[0, 2], &[2.0, 4.0])]);
    }

    #[test]
    fn a_value_that_is_no_number_is_refused() {
        let error = read(&[(&[0], &[f32::NAN])], &[true]).unwrap_err().to_string();
        assert!(error.ends_with("cells.parquet: cell `c0` holds NaN"), "{error}");
    }
}
