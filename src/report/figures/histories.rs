//! What was measured while something was fitted.

use super::{Figure, Part, legend, thin};
use crate::exhibit::{Exhibit, History};
use crate::plot::{self, Lines, Series};
use crate::report::Report;
use crate::text::number;
use indexmap::IndexMap;
use petgraph::graph::NodeIndex;

/// The most lines of one figure.
const MOST_LINES: usize = 24;

/// What tells a step from others of its stage.
fn label(report: &Report<'_>, node: NodeIndex) -> String {
    let name = &report.graph.steps[node].name;
    match name.split_once('[') {
        Some((_, inside)) => inside.trim_end_matches(']').replace(',', ", "),
        None => name.clone(),
    }
}

/// One figure for each column of each stage's histories, a line for each step.
pub fn histories(report: &Report<'_>, figures: &mut Vec<Figure>) {
    const MOST: usize = 12;
    let mut found: IndexMap<(&str, &str), Vec<(NodeIndex, &History)>> = IndexMap::new();
    for node in report.survey.plan.steps() {
        for (_, exhibit) in report.exhibits.of(node) {
            let Exhibit::History(history) = exhibit else { continue };
            for column in history.columns.keys() {
                let stage = report.graph.steps[node].stage.as_str();
                found.entry((stage, column)).or_default().push((node, history));
            }
        }
    }
    for ((stage, column), steps) in found.into_iter().take(MOST) {
        let along = steps.first().map_or_else(String::new, |(_, history)| history.along.clone());
        let series: Vec<Series> = steps
            .iter()
            .take(MOST_LINES)
            .enumerate()
            .filter_map(|(i, (node, history))| {
                let values = history.columns.get(column)?;
                let points = history.steps.iter().copied().zip(values.iter().copied());
                let points: Vec<(f64, f64)> =
                    points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
                Some(Series { name: label(report, *node), points: thin(points), band: Vec::new(), colour: i })
            })
            .collect();
        let ends: Vec<String> = series
            .iter()
            .filter_map(|series| Some(format!("{} ends at {}", series.name, number(series.points.last()?.1))))
            .collect();
        let legend = if series.len() > 1 { legend(&series, &[]) } else { Vec::new() };
        let svg = plot::lines(&Lines {
            title: format!("{column} of {stage}"),
            about: format!("{}.", ends.join("; ")),
            x: along.clone(),
            y: column.to_owned(),
            series,
            ranges: None,
            chance: Vec::new(),
        });
        let left_out = steps.len().saturating_sub(MOST_LINES);
        let more = if left_out > 0 { format!("; {left_out} more are not drawn") } else { String::new() };
        let caption = format!("{column} of {stage} along {along}{more}.");
        figures.push(Figure {
            part: Part::Fitting,
            name: format!("{stage}-{column}"),
            caption,
            svg,
            legend,
            table: None,
            wide: false,
        });
    }
}
