//! What the evaluations of a row measured for each of many names: where rows differ, and for how many names.

use super::{Figure, Part, about, colours};
use crate::compare::Block;
use crate::exhibit::Exhibit;
use crate::plot::{self, Strips};
use crate::report::Report;
use engine::text::number;
use indexmap::IndexMap;

/// The values of each name, one for each run.
type ByName<'a> = IndexMap<&'a str, Vec<f64>>;

/// One figure for each measure of a block that belongs to its metrics.
pub fn measures(report: &Report<'_>, block: &Block, metrics: &[&str], figures: &mut Vec<Figure>) {
    const MOST: usize = 3;
    // File and column, then a row's values by name.
    let mut found: IndexMap<(&str, &str), Vec<(usize, ByName<'_>)>> = IndexMap::new();
    for (index, row) in block.rows.iter().enumerate() {
        for (file, exhibit) in row.steps.iter().flat_map(|node| report.exhibits.of(*node)) {
            let Exhibit::Measures(names, columns) = exhibit else { continue };
            for (column, values) in columns {
                let rows = found.entry((file, column)).or_default();
                if rows.last().is_none_or(|(last, _)| *last != index) {
                    rows.push((index, IndexMap::new()));
                }
                let Some((_, of_row)) = rows.last_mut() else { continue };
                for (name, value) in names.iter().zip(values).filter(|(_, value)| value.is_finite()) {
                    of_row.entry(name.as_str()).or_default().push(*value);
                }
            }
        }
    }
    let asked = |column: &str| metrics.iter().any(|metric| metric.starts_with(column));
    let some_asked = found.keys().any(|(_, column)| asked(column));
    let colours = colours(block);
    for ((file, column), rows) in
        found.into_iter().filter(|((_, column), _)| !some_asked || asked(column)).take(MOST)
    {
        let stem =
            file.rsplit('/').next().unwrap_or(file).trim_end_matches(".parquet").replace(['-', '_'], " ");
        let items = rows.iter().map(|(_, names)| names.len()).max().unwrap_or(0);
        let strips = rows.iter().map(|(row, names)| {
            let values = names.values().filter_map(|values| crate::statistics::mean(values)).collect();
            (block.rows[*row].name.clone(), values, colours[*row])
        });
        let strips: Vec<(String, Vec<f64>, usize)> = strips.collect();
        let said: Vec<String> = strips
            .iter()
            .filter(|(_, values, _)| !values.is_empty())
            .map(|(name, values, _)| {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                format!("{name}: median {}", number(plot::quantile(&sorted, 0.5)))
            })
            .collect();
        let svg = plot::strips(&Strips {
            title: format!("{column}, {stem}{}", about(block)),
            about: format!("{}.", said.join("; ")),
            x: column.to_owned(),
            rows: strips,
        });
        let caption = format!(
            "{column}, {stem}{}: one dot for each of up to {items}, averaged over runs; the box spans the quartiles, the line is the median.",
            about(block)
        );
        figures.push(Figure {
            part: Part::Results,
            name: format!("{stem}-{column}"),
            caption,
            svg,
            legend: Vec::new(),
            table: None,
            wide: false,
        });
    }
}
