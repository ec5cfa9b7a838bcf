//! Curves over a common axis, one for each row: mean and spread over its runs.

use super::{Figure, MOST_BANDS, Part, Points, about, at, average, colours, legend};
use crate::compare::Block;
use crate::exhibit::Exhibit;
use crate::plot::{self, Lines, Reference, Series};
use crate::report::Report;
use indexmap::IndexMap;

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
                let (points, mut band) = average(curves, at);
                band.truncate(if rows.len() > MOST_BANDS { 0 } else { band.len() });
                Series { name: block.rows[*row].name.clone(), points, band, colour: colours[*row] }
            })
            .collect();
        let chance = match name {
            "roc" => vec![(0.0, 0.0), (1.0, 1.0)],
            // If every pair is predicted, precision equals the share of true pairs.
            "precision_recall" => {
                let ends = series.iter().filter_map(|series| series.points.last()).map(|(_, y)| *y);
                let (sum, count) = ends.fold((0.0, 0.0), |(sum, count), y| (sum + y, count + 1.0));
                if count > 0.0 { vec![(0.0, sum / count), (1.0, sum / count)] } else { Vec::new() }
            }
            _ => Vec::new(),
        };
        let chance = (!chance.is_empty()).then(|| Reference { name: "chance".to_owned(), points: chance });
        let references: Vec<Reference> = chance.into_iter().collect();
        let highest = series.iter().flat_map(|series| &series.points).map(|(_, y)| *y).fold(0.0, f64::max);
        let ranges = match name {
            "roc" => Some([(0.0, 1.0), (0.0, 1.0)]),
            "precision_recall" => Some([(0.0, 1.0), (0.0, (highest * 1.04).clamp(0.05, 1.0))]),
            _ => None,
        };
        let legend = legend(&series, &references);
        let said: Vec<String> = series.iter().map(|series| series.name.clone()).collect();
        let svg = plot::lines(&Lines {
            title: format!("{}{}", shape.title, about(block)),
            about: format!("{} against {} for {}.", shape.y, shape.x, said.join(", ")),
            x: shape.x,
            y: shape.y,
            series,
            ranges,
            references,
        });
        let several = rows.iter().any(|(_, curves)| curves.len() > 1);
        let how = match (several, rows.len() > MOST_BANDS) {
            (true, false) => ": mean and spread (one sd) over the runs of each row",
            (true, true) => ": mean over the runs of each row",
            (false, _) => "",
        };
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
