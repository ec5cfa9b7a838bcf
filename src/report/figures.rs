//! The figures of a report, from what the artifacts can show.

use super::{Leading, Report, around};
use crate::compare::{Block, Row};
use crate::exhibit::{Exhibit, History, Plane, principal_places};
use crate::plot::{self, COLOURS, Lines, Link, Scatter, Series, Strips};
use crate::text::number;
use indexmap::{IndexMap, IndexSet};
use petgraph::graph::NodeIndex;
use std::collections::HashMap;

/// The colours of figures that are files of their own; the page has the same.
pub const PLOT_COLOURS: &str = include_str!("colours.css");

/// Of this many rows each has a colour; controls share the last one.
const ROW_COLOURS: usize = COLOURS - 1;
/// The most lines of one figure.
const MOST_LINES: usize = 24;
/// Of a network this much can be drawn so that one sees something.
const DRAWN_LINKS: usize = 50;
const LISTED_LINKS: usize = 20;
/// Points at which curves are averaged.
const GRID: usize = 101;

type Points = Vec<(f64, f64)>;
/// The values of each name, one for each run.
type ByName<'a> = IndexMap<&'a str, Vec<f64>>;

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
            curves(report, block, &mut figures);
            measures(report, block, &names, &mut figures);
        }
    }
    histories(report, &mut figures);
    findings(report, &mut figures);
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

fn curves(report: &Report<'_>, block: &Block, figures: &mut Vec<Figure>) {
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

fn legend(series: &[Series], chance: &[(f64, f64)]) -> Vec<(usize, String)> {
    let mut legend: Vec<(usize, String)> =
        series.iter().map(|series| (series.colour, series.name.clone())).collect();
    if !chance.is_empty() {
        legend.push((usize::MAX, "chance".to_owned()));
    }
    legend
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

fn measures(report: &Report<'_>, block: &Block, metrics: &[&str], figures: &mut Vec<Figure>) {
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
            "{column}, {stem}{}: a dot for each of up to {items}, mean over runs; box from quartile to quartile, line at the median.",
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

/// What tells a step from others of its stage.
fn label(report: &Report<'_>, node: NodeIndex) -> String {
    let name = &report.graph.steps[node].name;
    match name.split_once('[') {
        Some((_, inside)) => inside.trim_end_matches(']').replace(',', ", "),
        None => name.clone(),
    }
}

fn histories(report: &Report<'_>, figures: &mut Vec<Figure>) {
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

/// What the leading row's first run found: links, vectors, weights.
fn findings(report: &Report<'_>, figures: &mut Vec<Figure>) {
    let nodes: Vec<NodeIndex> = match report.leading() {
        Some(Leading { row, .. }) => {
            row.steps.iter().take(1).flat_map(|node| around(report.graph, *node, &row.name)).collect()
        }
        None => report.survey.plan.steps().collect(),
    };
    let shown = || {
        nodes
            .iter()
            .flat_map(|node| report.exhibits.of(*node).iter().map(|(file, exhibit)| (*node, file, exhibit)))
    };
    let mut labels: HashMap<&str, &str> = HashMap::new();
    let mut sources: IndexSet<&str> = IndexSet::new();
    for (_, _, exhibit) in shown() {
        match exhibit {
            Exhibit::Labels(rows) => {
                labels.extend(rows.iter().map(|(name, label)| (name.as_str(), label.as_str())))
            }
            Exhibit::Links(links, _) => sources.extend(links.iter().map(|(from, ..)| from.as_str())),
            _ => {}
        }
    }
    for (node, file, exhibit) in shown() {
        let step = report.graph.steps[node].name.as_str();
        match exhibit {
            Exhibit::Links(strongest, all) if !strongest.is_empty() => {
                links(step, file, strongest, *all, figures)
            }
            Exhibit::Vectors(names, vectors) => {
                places(step, file, names, vectors, &labels, &sources, figures)
            }
            Exhibit::Weights(weights) => shares(step, file, weights, &labels, figures),
            _ => {}
        }
    }
}

fn links(step: &str, file: &str, strongest: &[(String, String, f64)], all: usize, figures: &mut Vec<Figure>) {
    let drawn: Vec<Link> = strongest
        .iter()
        .take(DRAWN_LINKS)
        .map(|(from, to, weight)| Link { from: from.clone(), to: to.clone(), weight: *weight })
        .collect();
    let title = format!("The {} strongest links of {step}", drawn.len());
    let first: Vec<String> = strongest
        .iter()
        .take(5)
        .map(|(from, to, weight)| format!("{from} to {to}, {}", number(*weight)))
        .collect();
    let svg = plot::network(&title, &format!("The strongest are {}.", first.join("; ")), &drawn);
    let heading = ["", "from", "to", "weight"].map(str::to_owned).to_vec();
    let rows =
        strongest.iter().take(LISTED_LINKS).enumerate().map(|(i, (from, to, weight))| {
            vec![(i + 1).to_string(), from.clone(), to.clone(), number(*weight)]
        });
    let caption = format!(
        "{title}, of {all} in {file}. Thicker is stronger, dashes are negative, larger nodes are where links start."
    );
    figures.push(Figure {
        part: Part::Findings,
        name: format!("links-{step}"),
        caption,
        svg,
        legend: Vec::new(),
        table: Some((heading, rows.collect())),
        wide: true,
    });
}

fn places(
    step: &str,
    file: &str,
    names: &[String],
    vectors: &[Vec<f32>],
    labels: &HashMap<&str, &str>,
    sources: &IndexSet<&str>,
    figures: &mut Vec<Figure>,
) {
    let Some(Plane { places, shares }) = principal_places(vectors) else { return };
    let labelled = names.iter().filter(|name| labels.contains_key(name.as_str())).count();
    let known = names.iter().filter(|name| sources.contains(name.as_str())).count();
    let group = |name: &str| -> &str {
        if labelled * 2 > names.len() {
            labels.get(name).copied().unwrap_or("without a label")
        } else if known > 0 {
            if sources.contains(name) { "where links start" } else { "others" }
        } else {
            "all"
        }
    };
    let mut counts: IndexMap<&str, usize> = IndexMap::new();
    names.iter().for_each(|name| *counts.entry(group(name)).or_default() += 1);
    counts.sort_by(|_, a, _, b| b.cmp(a));
    let mut groups: Vec<String> = counts.keys().take(COLOURS).map(|name| (*name).to_owned()).collect();
    if counts.len() > COLOURS {
        groups.truncate(COLOURS - 1);
        groups.push("others".to_owned());
    }
    let points = names.iter().zip(places).map(|(name, (x, y))| {
        let of = group(name);
        (x, y, name.clone(), groups.iter().position(|group| group == of).unwrap_or(groups.len() - 1))
    });
    let [first, second] = shares.map(|share| format!("{:.0} %", share * 100.0));
    let said: Vec<String> =
        counts.iter().take(COLOURS).map(|(name, count)| format!("{count} {name}")).collect();
    let svg = plot::scatter(&Scatter {
        title: format!("Vectors of {step}"),
        about: format!("{} points: {}.", names.len(), said.join(", ")),
        axes: [format!("first component, {first}"), format!("second component, {second}")],
        points: points.collect(),
        groups: groups.clone(),
    });
    let legend = if groups.len() > 1 { groups.into_iter().enumerate().collect() } else { Vec::new() };
    let caption = format!(
        "The {} vectors in {file} of {step}, along the two directions in which they spread most (PCA).",
        names.len()
    );
    figures.push(Figure {
        part: Part::Findings,
        name: format!("vectors-{step}"),
        caption,
        svg,
        legend,
        table: None,
        wide: false,
    });
}

/// How evenly a weight lies on many: the share of the weight on the heaviest, as Lorenz drew it.
fn shares(
    step: &str,
    file: &str,
    weights: &[(String, f64)],
    labels: &HashMap<&str, &str>,
    figures: &mut Vec<Figure>,
) {
    let mut sorted: Vec<(&str, f64)> = weights
        .iter()
        .filter(|(_, weight)| *weight >= 0.0)
        .map(|(name, weight)| (name.as_str(), *weight))
        .collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    if sorted.len() < 2 || total <= 0.0 {
        return;
    }
    let count = sorted.len() as f64;
    let mut sum = 0.0;
    let along = sorted.iter().enumerate().map(|(i, (_, weight))| {
        sum += weight / total;
        ((i + 1) as f64 / count, sum)
    });
    let points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0)).chain(along).collect();
    let half = points.iter().find(|(_, share)| *share >= 0.5).map_or(1.0, |(part, _)| *part);
    // Where the names have labels, what each label gets beside what an even weight would give it.
    let mut by_label: IndexMap<&str, (usize, f64)> = IndexMap::new();
    for (name, weight) in &sorted {
        if let Some(label) = labels.get(name) {
            let of_label = by_label.entry(label).or_default();
            *of_label = (of_label.0 + 1, of_label.1 + weight);
        }
    }
    by_label.sort_by(|_, a, _, b| b.1.total_cmp(&a.1));
    let said = format!("Half of the weight lies on {:.0} % of the {} names", half * 100.0, sorted.len());
    let svg = plot::lines(&Lines {
        title: format!("Weights of {step}"),
        about: format!("{said}."),
        x: "share of names, the heaviest first".to_owned(),
        y: "share of the weight".to_owned(),
        series: vec![Series { name: file.to_owned(), points: thin(points), band: Vec::new(), colour: 0 }],
        ranges: Some([(0.0, 1.0), (0.0, 1.0)]),
        chance: vec![(0.0, 0.0), (1.0, 1.0)],
    });
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let table = match by_label.is_empty() {
        true => (
            ["name", "share of the weight"].map(str::to_owned).to_vec(),
            sorted
                .iter()
                .take(10)
                .map(|(name, weight)| vec![(*name).to_owned(), percent(weight / total)])
                .collect(),
        ),
        false => (
            ["label", "share of the weight", "share of names"].map(str::to_owned).to_vec(),
            by_label
                .iter()
                .map(|(label, (names, weight))| {
                    vec![(*label).to_owned(), percent(weight / total), percent(*names as f64 / count)]
                })
                .collect(),
        ),
    };
    let caption = format!("{said} in {file} of {step}; the dotted line would be the same weight for all.");
    figures.push(Figure {
        part: Part::Findings,
        name: format!("weights-{step}"),
        caption,
        svg,
        legend: Vec::new(),
        table: Some(table),
        wide: false,
    });
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
    fn curves_are_averaged_where_they_are_and_not_where_their_points_are() {
        let (a, b) = (vec![(0.0, 0.0), (0.5, 1.0), (1.0, 1.0)], vec![(0.0, 0.0), (1.0, 1.0)]);
        let (points, band) = average(&[&a, &b]);
        assert_eq!(points.len(), GRID);
        assert!((points[50].1 - 0.75).abs() < 1e-12 && (points[25].1 - 0.375).abs() < 1e-12);
        assert!(band[50].0 < 0.75 && band[50].1 > 0.75);
        assert_eq!(at(&[(0.0, 0.0), (0.0, 0.4), (1.0, 1.0)], 0.0), Some(0.4));
        assert_eq!(at(&[], 0.3), None);
    }

    #[test]
    fn long_histories_are_thinned_to_what_can_be_seen() {
        let points: Vec<(f64, f64)> = (0..5000).map(|i| (f64::from(i), 1.0)).collect();
        let thinned = thin(points);
        assert!(thinned.len() <= 400 && thinned.iter().all(|(_, y)| *y == 1.0));
    }
}
