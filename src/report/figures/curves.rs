//! Curves over the same ground, one for each row: mean and spread over its runs.

use super::{Figure, Part, about, colours, legend};
use crate::compare::Block;
use crate::exhibit::Exhibit;
use crate::plot::{self, Lines, Series};
use crate::report::Report;
use indexmap::IndexMap;

/// Points at which curves are averaged.
const GRID: usize = 101;

type Points = Vec<(f64, f64)>;

/// One figure for each curve that the rows of a block have.
pub fn curves(report: &Report<'_>, block: &Block, figures: &mut Vec<Figure>) {
    let mut by_name: IndexMap<&str, Vec<(usize, Vec<&Points>)>> = IndexMap::new();
    for (index, row) in block.rows.iter().enumerate() {
        for (_, exhibit) in row.steps.iter().flat_map(|node| report.exhibits.of(*node)) {
            let Exhibit::Curves(curves) = exhibit else { continue };
            for (name, points) in curves {
                let rows = by_name.entry(name).or_default();
                match rows.iter_mut().find(|(row, _)| *row == index) {
                    Some((_, of_row)) => of_row.push(points),
                    None => rows.push((index, vec![points])),
                }
            }
        }
    }
    let colours = colours(block);
    for (name, rows) in by_name {
        let shape = CurveShape::of(name);
        let series: Vec<Series> = rows
            .iter()
            .map(|(row, curves)| {
                let (points, band) = average(curves);
                Series { name: block.rows[*row].name.clone(), points, band, colour: colours[*row] }
            })
            .collect();
        let chance = match name {
            "roc" => vec![(0.0, 0.0), (1.0, 1.0)],
            // Where everything is called, precision is the share of what is true.
            "precision_recall" => {
                let ends = series.iter().filter_map(|series| series.points.last()).map(|(_, y)| *y);
                let (sum, count) = ends.fold((0.0, 0.0), |(sum, count), y| (sum + y, count + 1.0));
                if count > 0.0 { vec![(0.0, sum / count), (1.0, sum / count)] } else { Vec::new() }
            }
            _ => Vec::new(),
        };
        let highest = series.iter().flat_map(|series| &series.points).map(|(_, y)| *y).fold(0.0, f64::max);
        let ranges = match name {
            "roc" => Some([(0.0, 1.0), (0.0, 1.0)]),
            "precision_recall" => Some([(0.0, 1.0), (0.0, (highest * 1.04).clamp(0.05, 1.0))]),
            _ => None,
        };
        let legend = legend(&series, &chance);
        let said: Vec<String> = series.iter().map(|series| series.name.clone()).collect();
        let svg = plot::lines(&Lines {
            title: format!("{}{}", shape.title, about(block)),
            about: format!("{} against {} for {}.", shape.y, shape.x, said.join(", ")),
            x: shape.x,
            y: shape.y,
            series,
            ranges,
            chance,
        });
        let several = rows.iter().any(|(_, curves)| curves.len() > 1);
        let how = if several { ": mean and spread (one sd) over the runs of each row" } else { "" };
        let caption = format!("{}{}{how}.", shape.title, about(block));
        figures.push(Figure {
            part: Part::Results,
            name: name.to_owned(),
            caption,
            svg,
            legend,
            table: None,
            wide: false,
        });
    }
}

struct CurveShape {
    title: String,
    x: String,
    y: String,
}

impl CurveShape {
    fn of(name: &str) -> CurveShape {
        let [title, x, y] = match name {
            "roc" => ["ROC curves", "false positive rate", "true positive rate"],
            "precision_recall" => ["Precision and recall", "recall", "precision"],
            other => [other, "x", "y"],
        };
        CurveShape { title: title.to_owned(), x: x.to_owned(), y: y.to_owned() }
    }
}

/// Mean and spread of curves at the same places.
fn average(curves: &[&Points]) -> (Points, Points) {
    let ends = |of: fn(f64, f64) -> f64, start| {
        curves.iter().flat_map(|curve| curve.iter()).map(|(x, _)| *x).fold(start, of)
    };
    let (low, high) = (ends(f64::min, f64::INFINITY), ends(f64::max, f64::NEG_INFINITY));
    let (mut points, mut band) = (Vec::with_capacity(GRID), Vec::with_capacity(GRID));
    for i in 0..GRID {
        let x = low + (high - low) * i as f64 / (GRID - 1) as f64;
        let values: Vec<f64> = curves.iter().filter_map(|curve| at(curve, x)).collect();
        let Some(mean) = crate::statistics::mean(&values) else { continue };
        let spread = crate::statistics::deviation(&values).unwrap_or(0.0);
        points.push((x, mean));
        band.push((mean - spread, mean + spread));
    }
    (points, band)
}

/// The height of a curve at a place, by straight lines between its points.
fn at(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    // Where it rises straight up, the last point of the rise counts.
    let next = curve.partition_point(|(place, _)| *place <= x);
    let before = next.checked_sub(1).map(|i| curve[i]);
    match (before, curve.get(next)) {
        (Some((from, low)), Some((to, high))) => Some(low + (high - low) * (x - from) / (to - from)),
        (Some((_, y)), None) | (None, Some(&(_, y))) => Some(y),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_averaged_where_they_are_and_not_where_their_points_are() {
        let (a, b) = (vec![(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)], vec![(0.0, 0.0), (1.0, 1.0)]);
        let (points, band) = average(&[&a, &b]);
        assert_eq!(points.len(), GRID);
        assert!((points[50].1 - 0.75).abs() < 1e-12 && (points[25].1 - 0.375).abs() < 1e-12);
        assert!(band[50].0 < 0.75 && band[50].1 > 0.75);
        assert_eq!(at(&[(0.0, 0.0), (0.0, 0.4), (1.0, 1.0)], 0.0), Some(0.4));
        assert_eq!(at(&[], 0.3), None);
    }
}
