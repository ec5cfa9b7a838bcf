//! The figures of a report, from what the artifacts can show.

mod curves;
mod findings;
mod histories;
mod measures;

use super::Report;
use crate::compare::{Block, Row};
use crate::plot::{COLOURS, Series};
use std::collections::HashMap;

/// The colours of figures that are files of their own; the page has the same.
pub const PLOT_COLOURS: &str = include_str!("colours.css");

/// Of this many rows each has a colour; controls share the last one.
const ROW_COLOURS: usize = COLOURS - 1;

/// One figure.
pub struct Figure {
    /// The part of the report that it belongs to.
    pub part: Part,
    /// What its file is called.
    pub name: String,
    /// Below it.
    pub caption: String,
    /// The drawing.
    pub svg: String,
    /// Colours and what they stand for.
    pub legend: Vec<(usize, String)>,
    /// A table that belongs to it.
    pub table: Option<(Vec<String>, Vec<Vec<String>>)>,
    /// Whether it needs the whole width.
    pub wide: bool,
}

/// A part of the report that holds figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// How the rows differ beyond their numbers.
    Results,
    /// How it was fitted.
    Fitting,
    /// What the leading row found.
    Findings,
}

/// Every figure that the artifacts give.
pub fn figures(report: &Report<'_>) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Ok(comparison) = &report.comparison {
        for block in &comparison.blocks {
            let names: Vec<&str> = comparison.metrics.iter().map(|column| column.name.as_str()).collect();
            curves::curves(report, block, &mut figures);
            measures::measures(report, block, &names, &mut figures);
        }
    }
    histories::histories(report, &mut figures);
    findings::findings(report, &mut figures);
    unique_names(&mut figures);
    figures
}

/// The colour of each row of a block.
pub fn colours(block: &Block) -> Vec<usize> {
    let mut next = 0;
    let colour = |row: &Row| match row.control {
        true => ROW_COLOURS,
        false => {
            next += 1;
            (next - 1) % ROW_COLOURS
        }
    };
    block.rows.iter().map(colour).collect()
}

fn about(block: &Block) -> String {
    if block.axes.is_empty() { String::new() } else { format!(" ({})", block.title()) }
}

fn legend(series: &[Series], chance: &[(f64, f64)]) -> Vec<(usize, String)> {
    let mut legend: Vec<(usize, String)> =
        series.iter().map(|series| (series.colour, series.name.clone())).collect();
    if !chance.is_empty() {
        legend.push((usize::MAX, "chance".to_owned()));
    }
    legend
}

/// At most some hundred points: means of neighbours.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const MOST: usize = 400;
    let size = points.len().div_ceil(MOST).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}

/// Names of files: plain, and none twice.
fn unique_names(figures: &mut [Figure]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for figure in figures {
        let plain: String =
            figure.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let plain = plain.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
        let times = seen.entry(plain.clone()).or_default();
        *times += 1;
        figure.name = if *times == 1 { plain } else { format!("{plain}-{times}") };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_histories_are_thinned_to_what_can_be_seen() {
        let points: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 1.0)).collect();
        let thinned = thin(points);
        assert!(thinned.len() <= 400 && thinned.iter().all(|(_, y)| *y == 1.0));
    }
}
