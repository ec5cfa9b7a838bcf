//! Groups of cells: by type, by stretch of pseudotime, or by their names.

use anyhow::Result;
use data::pseudotime;
use data::types;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The number of stretches that pseudotime is cut into.
const STRETCHES: usize = 4;
/// Smaller groups are merged, because their means say little; names that form more than `MOST_GROUPS` groups are
/// ignored.
const FEWEST_CELLS: usize = 10;
const MOST_GROUPS: usize = 24;

/// The group of each cell.
#[derive(Debug, PartialEq)]
pub struct Groups {
    /// By cell.
    pub of_cells: Vec<usize>,
    /// The number of groups.
    pub count: usize,
}

/// The groups found in the data: cell types, else quarters of pseudotime, else the cells' names up to the last `_`, `-`
/// or `.`, as in `LPS_1h_S10`; else all cells form one group. Small groups are merged.
pub fn of_cells(data: &Path, ids: &[String]) -> Result<Groups> {
    let (types, times) = (data.join(types::FILE), data.join(pseudotime::FILE));
    if types.exists() {
        let of: HashMap<String, String> = types::read(&types)?.into_iter().collect();
        return Ok(numbered(ids.iter().map(|id| of.get(id).cloned().unwrap_or_default()).collect()));
    }
    if times.exists() {
        return Ok(numbered(stretches(pseudotime::read(&times)?, ids)));
    }
    let names = numbered(ids.iter().map(|id| prefix(id).to_owned()).collect());
    Ok(if names.count <= MOST_GROUPS { names } else { Groups { of_cells: vec![0; ids.len()], count: 1 } })
}

fn prefix(id: &str) -> &str {
    id.rfind(['_', '-', '.']).map_or("", |end| &id[..end])
}

/// The quarter of pseudotime that each cell is in, by its mean time over lineages; empty for cells without a time.
fn stretches(moments: Vec<pseudotime::Moment>, ids: &[String]) -> Vec<String> {
    let mut sums: HashMap<String, (f64, f64)> = HashMap::new();
    for moment in moments {
        let (sum, count) = sums.entry(moment.cell).or_default();
        *sum += moment.pseudotime;
        *count += 1.0;
    }
    let mut timed: Vec<(f64, usize)> = ids
        .iter()
        .enumerate()
        .filter_map(|(place, id)| sums.get(id).map(|(sum, count)| (sum / count, place)))
        .collect();
    timed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut names = vec![String::new(); ids.len()];
    for (rank, (_, place)) in timed.iter().enumerate() {
        names[*place] = (rank * STRETCHES / timed.len()).to_string();
    }
    names
}

fn numbered(names: Vec<String>) -> Groups {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    names.iter().for_each(|name| *sizes.entry(name).or_default() += 1);
    let name =
        |name: &String| if sizes[name.as_str()] < FEWEST_CELLS { "" } else { name.as_str() }.to_owned();
    let names: Vec<String> = names.iter().map(name).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    let numbers: HashMap<&String, usize> = distinct.into_iter().zip(0..).collect();
    Groups { of_cells: names.iter().map(|name| numbers[name]).collect(), count: numbers.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str], of_each: usize) -> Vec<String> {
        names.iter().flat_map(|name| (0..of_each).map(move |cell| format!("{name}{cell}"))).collect()
    }

    #[test]
    fn names_say_groups_where_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let of = |ids: &[String]| of_cells(folder.path(), ids).unwrap();
        let cells = ids(&["LPS_1h_S", "LPS_2h_S"], 20);
        assert_eq!((of(&cells).count, of(&cells).of_cells[25]), (2, 1));
        assert_eq!(of(&ids(&["cell"], 30)).count, 1);
        // Barcodes carry no group: each cell would be a group of its own.
        assert_eq!(of(&ids(&["A-", "B-", "C-"], 3)).count, 1);
    }

    #[test]
    fn time_is_cut_into_quarters_and_types_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let cells = ids(&["c"], 80);
        let moment = |(place, cell): (usize, &String)| pseudotime::Moment {
            cell: cell.clone(),
            lineage: "one".to_owned(),
            pseudotime: (79 - place) as f64,
        };
        let moments: Vec<pseudotime::Moment> = cells.iter().enumerate().map(moment).collect();
        pseudotime::write(&folder.path().join(pseudotime::FILE), &moments).unwrap();
        let groups = of_cells(folder.path(), &cells).unwrap();
        assert_eq!((groups.count, groups.of_cells[0], groups.of_cells[79]), (4, 3, 0));
        let typed: Vec<(String, String)> =
            cells.iter().enumerate().map(|(place, cell)| (cell.clone(), format!("t{}", place % 2))).collect();
        types::write(&folder.path().join(types::FILE), &typed).unwrap();
        assert_eq!(of_cells(folder.path(), &cells).unwrap().count, 2);
    }
}
