//! Cells of tables as text that fits a line: of a list, how many entries it has and the first of them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, UInt32Type};
use arrow::util::display::array_value_to_string;
use data::genes;
use std::path::Path;

/// How many entries of a list are shown.
const SHOWN: usize = 3;
/// The longest text that is shown whole.
const CHARACTERS: usize = 60;

/// The content of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A text or a number.
    Text(String),
    /// The entries of a list, and what each of them is called.
    List(&'static str, Vec<String>),
}

/// How the columns of a table become cells. A list of genes and a list of their values become one.
pub struct Columns {
    /// The names of the genes; `None` if the table's lists are not of genes.
    genes: Option<Vec<String>>,
}

/// The two lists of a sparse row: see `data::cells`.
const SPARSE: [&str; 2] = ["genes", "values"];

impl Columns {
    /// The columns of the table in a file. The genes of a sparse table are named by the file beside it.
    pub fn of(path: &Path) -> Columns {
        let sparse = path.file_name().is_some_and(|name| name == data::cells::FILE);
        let names = || genes::read(&path.with_file_name(genes::FILE)).ok();
        Columns { genes: if sparse { names() } else { None } }
    }

    /// Which of the columns become cells.
    pub fn shown<'n>(&self, names: &[&'n str]) -> Vec<&'n str> {
        let merged = |name: &&str| self.genes.is_some() && *name == SPARSE[1] && names.contains(&SPARSE[0]);
        names.iter().copied().filter(|name| !merged(name)).collect()
    }

    /// The cell of a shown column.
    pub fn cell(&self, batch: &RecordBatch, column: &str, row: usize) -> Cell {
        let Some(values) = batch.column_by_name(column) else { return Cell::Text(String::new()) };
        if let Some(names) = self.genes.as_ref().filter(|_| column == SPARSE[0])
            && let Some(entries) = sparse(batch, names, row)
        {
            return Cell::List("gene", entries);
        }
        let list = values.as_list_opt::<i32>().filter(|list| list.is_valid(row));
        if let Some(list) = list {
            let item = list.value(row);
            let entry = |i: usize| number_at(&item, i).unwrap_or_else(|| text_at(&item, i));
            return Cell::List("value", (0..item.len()).map(entry).collect());
        }
        Cell::Text(number_at(values, row).unwrap_or_else(|| text_at(values, row)))
    }
}

/// `A 2`, `B 1`, …: each gene of a row with its value; `None` if the row is not such a row.
fn sparse(batch: &RecordBatch, names: &[String], row: usize) -> Option<Vec<String>> {
    let [genes, values] = SPARSE.map(|name| batch.column_by_name(name)?.as_list_opt::<i32>());
    let (genes, values) = (genes?.value(row), values?.value(row));
    let genes = genes.as_primitive_opt::<UInt32Type>()?;
    if genes.len() != values.len() {
        return None;
    }
    let entry =
        |i: usize| Some(format!("{} {}", names.get(genes.value(i) as usize)?, number_at(&values, i)?));
    (0..genes.len()).map(entry).collect()
}

/// A number with a fraction, in six digits; whole numbers and others as they are.
fn number_at(array: &ArrayRef, row: usize) -> Option<String> {
    if !array.data_type().is_floating() || array.is_null(row) {
        return None;
    }
    let value = cast(&array.slice(row, 1), &DataType::Float64).ok()?;
    let value = value.as_primitive::<Float64Type>().value(0);
    Some(match value.abs() {
        size if !size.is_finite() || value.fract() == 0.0 && size < 1e9 => format!("{value}"),
        size if size < 1e-3 => format!("{value:.3e}"),
        _ => format!("{value:.6}").trim_end_matches('0').to_owned(),
    })
}

fn text_at(array: &ArrayRef, row: usize) -> String {
    array_value_to_string(array, row).unwrap_or_default()
}

impl Cell {
    /// The cell on a line.
    pub fn text(&self) -> String {
        match self {
            Cell::Text(text) => cut(text),
            Cell::List(what, entries) => listed(what, entries, 0),
        }
    }

    /// Two cells on two lines, each from where they begin to differ.
    pub fn texts(&self, other: &Cell) -> (String, String) {
        match (self, other) {
            (Cell::List(what, ours), Cell::List(_, theirs)) => {
                let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
                let from = if same < ours.len().max(theirs.len()) { same } else { 0 };
                (listed(what, ours, from), listed(what, theirs, from))
            }
            (Cell::Text(ours), Cell::Text(theirs)) => engine::text::difference(ours, theirs),
            _ => (self.text(), other.text()),
        }
    }
}

/// `3 genes: A 2, B 1, C 4`; `700 genes: … D 1, E 1, F 2, …` from a later entry on.
fn listed(what: &str, entries: &[String], from: usize) -> String {
    let count = engine::text::count(entries.len(), what);
    let shown: Vec<String> = entries.iter().skip(from).take(SHOWN).map(|entry| cut(entry)).collect();
    if shown.is_empty() {
        return count;
    }
    let before = if from > 0 { "… " } else { "" };
    let after = if entries.len() > from + shown.len() { ", …" } else { "" };
    format!("{count}: {before}{}{after}", shown.join(", "))
}

fn cut(text: &str) -> String {
    match text.chars().count() > CHARACTERS {
        true => text.chars().take(CHARACTERS - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_counted_and_begin_where_they_differ() {
        let list =
            |entries: &[&str]| Cell::List("gene", entries.iter().map(|text| (*text).to_owned()).collect());
        let one = list(&["A 2", "B 1", "C 4", "D 1", "E 1"]);
        assert_eq!(one.text(), "5 genes: A 2, B 1, C 4, …");
        assert_eq!(list(&[]).text(), "0 genes");
        let (ours, theirs) = one.texts(&list(&["A 2", "B 1", "C 4", "D 3"]));
        assert_eq!((ours.as_str(), theirs.as_str()), ("5 genes: … D 1, E 1", "4 genes: … D 3"));
        assert_eq!(Cell::Text("x".repeat(90)).text().chars().count(), CHARACTERS);
    }
}
