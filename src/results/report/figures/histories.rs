//! What was measured during training or fitting.

use super::{Figure, MOST_BANDS, Part, Points, average, legend, thin, within};
use crate::exhibit::{Exhibit, History};
use crate::plot::{self, Lines, Reference, Series};
use crate::report::Report;
use crate::yardsticks;
use engine::graph::Step;
use engine::text::number;
use indexmap::IndexMap;
use petgraph::graph::NodeIndex;

/// The most lines in one figure.
const MOST_LINES: usize = 24;
/// The most figures.
const MOST: usize = 12;

/// One figure for each column of each stage's histories. Steps that differ only in the axes that rows are averaged over
/// share a line.
pub fn histories(report: &Report<'_>, figures: &mut Vec<Figure>) {
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
        let names = names(report, &steps.iter().map(|(node, _)| *node).collect::<Vec<_>>());
        let mut lines: IndexMap<String, Vec<Points>> = IndexMap::new();
        for (name, (_, history)) in names.into_iter().zip(&steps) {
            let Some(values) = history.columns.get(column) else { continue };
            let points = history.steps.iter().copied().zip(values.iter().copied());
            let points = points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
            lines.entry(name).or_default().push(points);
        }
        let several = lines.values().any(|runs| runs.len() > 1);
        let bands = lines.len() <= MOST_BANDS;
        let left_out = lines.len().saturating_sub(MOST_LINES);
        let series: Vec<Series> = lines
            .into_iter()
            .take(MOST_LINES)
            .enumerate()
            .map(|(colour, (name, mut runs))| {
                let (points, band) = match runs.len() {
                    1 => (thin(runs.remove(0)), Vec::new()),
                    _ => average(&runs.iter().collect::<Vec<_>>(), within),
                };
                let band = if bands { band } else { Vec::new() };
                Series { name, points, band, colour }
            })
            .collect();
        let ends: Vec<String> = series
            .iter()
            .filter_map(|series| Some(format!("{} ends at {}", series.name, number(series.points.last()?.1))))
            .collect();
        let along_all = || series.iter().flat_map(|series| &series.points).map(|(x, _)| *x);
        let ends_of_x =
            (along_all().fold(f64::INFINITY, f64::min), along_all().fold(f64::NEG_INFINITY, f64::max));
        let references = references(report, &steps, column, ends_of_x);
        let shown = series.len() + references.len() > 1;
        let legend = if shown { legend(&series, &references) } else { Vec::new() };
        let held = references
            .iter()
            .map(|reference| format!("{}: {}", reference.name, number(reference.points[0].1)));
        let ends: Vec<String> = ends.into_iter().chain(held).collect();
        let svg = plot::lines(&Lines {
            title: format!("{column} of {stage}"),
            about: format!("{}.", ends.join("; ")),
            x: along.clone(),
            y: column.to_owned(),
            series,
            ranges: None,
            references,
        });
        let how = match (several, bands) {
            (true, true) => ": mean and spread (one sd) over the runs of each line, as far as all of them go",
            (true, false) => ": mean over the runs of each line, as far as all of them go",
            (false, _) => "",
        };
        let more = if left_out > 0 { format!("; {left_out} more are not drawn") } else { String::new() };
        figures.push(Figure {
            part: Part::Fitting,
            name: format!("{stage}-{column}"),
            caption: format!("{column} of {stage} along {along}{how}{more}."),
            svg,
            legend,
            table: None,
            wide: false,
        });
    }
}

/// What simpler predictors reach, as a mean over all steps.
fn references(
    report: &Report<'_>,
    steps: &[(NodeIndex, &History)],
    column: &str,
    (from, to): (f64, f64),
) -> Vec<Reference> {
    let mut reached: IndexMap<String, Vec<f64>> = IndexMap::new();
    for (node, _) in steps {
        for (other, value) in yardsticks::of(column, report.exhibits.metrics_of(*node)) {
            reached.entry(other).or_default().push(value);
        }
    }
    let level = |(name, values): (String, Vec<f64>)| {
        let value = crate::statistics::mean(&values)?;
        let name = if values.len() > 1 { format!("{name} (mean)") } else { name };
        Some(Reference { name, points: vec![(from, value), (to, value)] })
    };
    reached.into_iter().filter_map(level).collect()
}

/// Names each step by what distinguishes it from the others of its stage, except the axes that rows are averaged over.
fn names(report: &Report<'_>, nodes: &[NodeIndex]) -> Vec<String> {
    let over = report.comparison.as_ref().map_or(&[][..], |comparison| &comparison.over[..]);
    let steps: Vec<&Step> = nodes.iter().map(|node| &report.graph.steps[*node]).collect();
    let of = |step: &Step| -> Vec<(String, String)> {
        let variants = (!step.variants.is_empty()).then(|| {
            let more = match step.variants.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            (String::new(), format!("{}{more}", step.variants[0]))
        });
        let axes = step.axes.iter().filter(|(axis, _)| !over.contains(axis));
        let axes = axes.map(|(axis, label)| (axis.clone(), format!("{axis} {label}")));
        variants.into_iter().chain(axes).collect()
    };
    let told: Vec<Vec<(String, String)>> = steps.iter().map(|step| of(step)).collect();
    let shared = |part: &(String, String)| told.iter().all(|parts| parts.contains(part));
    let name = |(parts, step): (&Vec<(String, String)>, &&Step)| {
        let parts: Vec<&str> =
            parts.iter().filter(|part| !shared(part)).map(|(_, text)| text.as_str()).collect();
        if parts.is_empty() { step.stage.clone() } else { parts.join(", ") }
    };
    told.iter().zip(&steps).map(name).collect()
}
