//! The figures of a report, drawn from what the artifacts contain.

mod curves;
mod findings;
mod histories;
mod measures;
mod plane;

use super::Report;
use crate::compare::{Block, Row};
use crate::plot::{COLOURS, Mark, Reference, Series};
use std::collections::HashMap;

/// The colours of figures that are saved as separate files; the page uses the same.
pub const PLOT_COLOURS: &str = include_str!("colours.css");

/// This many rows get a colour of their own; controls share the last colour.
const ROW_COLOURS: usize = COLOURS - 1;

/// With more lines than this, the bands of their spreads would hide each other.
const MOST_BANDS: usize = 8;
/// The number of points at which curves are averaged.
const GRID: usize = 101;

type Points = Vec<(f64, f64)>;
/// The height of a curve at a position, if it has one there.
type Height = fn(&[(f64, f64)], f64) -> Option<f64>;

/// One figure.
pub struct Figure {
    /// The part of the report that it belongs to.
    pub part: Part,
    /// The name of its file, without extension.
    pub name: String,
    /// The text below it.
    pub caption: String,
    /// The drawing.
    pub svg: String,
    /// Marks and their meanings.
    pub legend: Vec<(Mark, String)>,
    /// An accompanying table.
    pub table: Option<(Vec<String>, Vec<Vec<String>>)>,
    /// Whether it needs the full width of the page.
    pub wide: bool,
}

/// A part of the report that holds figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// How the rows differ beyond their numbers.
    Results,
    /// How models were fitted.
    Fitting,
    /// What the leading row found.
    Findings,
}

/// All figures that can be drawn from the artifacts.
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
    // The colour plus `COLOURS` for each time that the colours have been used up; the latter selects the dashes.
    let (mut rows, mut controls) = (0, 0);
    let colour = |row: &Row| match row.control {
        true => {
            controls += 1;
            ROW_COLOURS + (controls - 1) * COLOURS
        }
        false => {
            rows += 1;
            (rows - 1) % ROW_COLOURS + (rows - 1) / ROW_COLOURS * COLOURS
        }
    };
    block.rows.iter().map(colour).collect()
}

fn about(block: &Block) -> String {
    if block.axes.is_empty() { String::new() } else { format!(" ({})", block.title()) }
}

fn legend(series: &[Series], references: &[Reference]) -> Vec<(Mark, String)> {
    let lines = series.iter().map(|series| (Mark::Line(series.colour), series.name.clone()));
    let references = references.iter().enumerate();
    let references = references.map(|(i, reference)| (Mark::Reference(i), reference.name.clone()));
    lines.chain(references).collect()
}

/// Mean and spread of curves at common positions. Positions that some curve does not reach are left out: a mean over
/// the remaining curves would jump where one ends.
fn average(curves: &[&Points], height: Height) -> (Points, Points) {
    let ends = |of: fn(f64, f64) -> f64, start| {
        curves.iter().flat_map(|curve| curve.iter()).map(|(x, _)| *x).fold(start, of)
    };
    let (low, high) = (ends(f64::min, f64::INFINITY), ends(f64::max, f64::NEG_INFINITY));
    let (mut points, mut band) = (Vec::with_capacity(GRID), Vec::with_capacity(GRID));
    for i in 0..GRID {
        let x = low + (high - low) * i as f64 / (GRID - 1) as f64;
        let values: Vec<f64> = curves.iter().filter_map(|curve| height(curve, x)).collect();
        let Some(mean) = crate::statistics::mean(&values).filter(|_| values.len() == curves.len()) else {
            continue;
        };
        let spread = crate::statistics::deviation(&values).unwrap_or(0.0);
        points.push((x, mean));
        band.push((mean - spread, mean + spread));
    }
    (points, band)
}

/// The height of a curve at a position, interpolated linearly between its points.
fn at(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    // At a vertical rise the last point counts.
    let next = curve.partition_point(|(place, _)| *place <= x);
    let before = next.checked_sub(1).map(|i| curve[i]);
    match (before, curve.get(next)) {
        (Some((from, low)), Some((to, high))) => Some(low + (high - low) * (x - from) / (to - from)),
        (Some((_, y)), None) | (None, Some(&(_, y))) => Some(y),
        (None, None) => None,
    }
}

/// Like [`at`], but `None` before the first and after the last point.
fn within(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let (first, last) = (curve.first()?.0, curve.last()?.0);
    at(curve, x).filter(|_| first <= x && x <= last)
}

/// At most `MOST` points, each the mean of several neighbours.
fn thin(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const MOST: usize = 400;
    let size = points.len().div_ceil(MOST).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    points.chunks(size).map(mean).collect()
}

/// Makes file names plain and unique.
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
    fn curves_are_averaged_where_they_are_and_not_where_their_points_are() {
        let (a, b) = (vec![(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)], vec![(0.0, 0.0), (1.0, 1.0)]);
        let (points, band) = average(&[&a, &b], at);
        assert_eq!(points.len(), GRID);
        assert!((points[50].1 - 0.75).abs() < 1e-12 && (points[25].1 - 0.375).abs() < 1e-12);
        assert!(band[50].0 < 0.75 && band[50].1 > 0.75);
        assert_eq!(at(&[(0.0, 0.0), (0.0, 0.4), (1.0, 1.0)], 0.0), Some(0.4));
        assert_eq!(at(&[], 0.3), None);
        assert_eq!([at(&a, 2.0), within(&a, 2.0), within(&a, 1.0)], [Some(1.0), None, Some(1.0)]);
    }

    #[test]
    fn what_is_written_can_be_read_on_every_ground() {
        let channel = |hex: &str| {
            let value = f64::from(u8::from_str_radix(hex, 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let luminance = |colour: &str| {
            let hex = colour.trim_start_matches('#');
            let hex =
                if hex.len() == 3 { hex.chars().flat_map(|c| [c, c]).collect() } else { hex.to_owned() };
            0.2126 * channel(&hex[..2]) + 0.7152 * channel(&hex[2..4]) + 0.0722 * channel(&hex[4..])
        };
        let mut themes = 0;
        for theme in PLOT_COLOURS.lines().filter(|line| line.contains("--ink:")) {
            let of = |name: &str| {
                let value =
                    theme.split(&format!("--{name}:")).nth(1).unwrap_or_else(|| panic!("{name} in {theme}"));
                luminance(value.split([';', '}']).next().unwrap())
            };
            let contrast = |a: &str, b: &str| {
                let (a, b) = (of(a), of(b));
                (a.max(b) + 0.05) / (a.min(b) + 0.05)
            };
            for ground in ["paper", "canvas"] {
                for text in ["ink", "muted", "link"] {
                    assert!(contrast(text, ground) >= 4.5, "{text} on {ground}");
                }
                // Lines and dots need less contrast than text (WCAG 2.2, 1.4.11).
                for colour in 0..COLOURS {
                    assert!(contrast(&format!("c{colour}"), ground) >= 3.0, "c{colour} on {ground}");
                }
            }
            for (text, ground) in
                [("warn", "paper"), ("warn", "warn-paper"), ("ink", "warn-paper"), ("good", "paper")]
            {
                assert!(contrast(text, ground) >= 4.5, "{text} on {ground}");
            }
            themes += 1;
        }
        assert_eq!(themes, 3, "light, dark, print");
    }

    #[test]
    fn long_histories_are_thinned_to_what_can_be_seen() {
        let points: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 1.0)).collect();
        let thinned = thin(points);
        assert!(thinned.len() <= 400 && thinned.iter().all(|(_, y)| *y == 1.0));
    }
}
