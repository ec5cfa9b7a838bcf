//! What the leading row found in its first run: links, vectors, weights.

use super::plane::{Plane, principal_places};
use super::{Figure, Part, thin};
use crate::exhibit::Exhibit;
use crate::plot::{self, COLOURS, Lines, Link, Mark, Reference, Scatter, Series, Squares};
use crate::report::{Leading, Report, around};
use engine::text::number;
use indexmap::{IndexMap, IndexSet};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use std::collections::HashMap;

/// Drawings of networks show only this many links, so that they remain readable.
const DRAWN_LINKS: usize = 50;
const LISTED_LINKS: usize = 20;

/// One figure for each file that can be drawn.
pub fn findings(report: &Report<'_>, figures: &mut Vec<Figure>) {
    let judge = report.leading().and_then(|Leading { row, .. }| Some((*row.steps.first()?, row)));
    let nodes: Vec<NodeIndex> = match judge {
        Some((node, row)) => around(report.graph, node, &row.name),
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
    // If there are several networks, the evaluated one is meant.
    let is_links = |node: NodeIndex| {
        report
            .exhibits
            .of(node)
            .iter()
            .any(|(_, exhibit)| matches!(exhibit, Exhibit::Links(links, _) if !links.is_empty()))
    };
    let judged: Vec<NodeIndex> = judge
        .iter()
        .flat_map(|(node, _)| report.graph.steps.neighbors_directed(*node, Direction::Incoming))
        .filter(|node| is_links(*node))
        .collect();
    for (node, file, exhibit) in shown() {
        let step = report.graph.steps[node].name.as_str();
        match exhibit {
            Exhibit::Links(strongest, all)
                if !strongest.is_empty() && (judged.is_empty() || judged.contains(&node)) =>
            {
                links(step, file, strongest, *all, figures)
            }
            Exhibit::Vectors(names, vectors) => {
                places(step, file, names, vectors, &labels, &sources, figures)
            }
            Exhibit::Weights(weights) => shares(step, file, weights, &labels, figures),
            Exhibit::Confusion(names, counts) => confusion(step, file, names, counts, figures),
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
    let heading = ["rank", "from", "to", "weight"].map(str::to_owned).to_vec();
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

fn confusion(step: &str, file: &str, names: &[String], counts: &[Vec<f64>], figures: &mut Vec<Figure>) {
    let title = format!("What {step} took for what");
    let right: f64 = (0..names.len()).map(|place| counts[place][place]).sum();
    let all: f64 = counts.iter().flatten().sum();
    let about = format!("{right} of {all} are on the diagonal.");
    let svg = plot::squares(&Squares {
        title: title.clone(),
        about,
        names: names.to_vec(),
        counts: counts.to_vec(),
    });
    let heading = std::iter::once("type".to_owned()).chain(names.iter().cloned()).collect();
    let row = |(name, counts): (&String, &Vec<f64>)| {
        std::iter::once(name.clone()).chain(counts.iter().map(|count| number(*count))).collect()
    };
    figures.push(Figure {
        part: Part::Findings,
        name: format!("confusion-{step}"),
        caption: format!(
            "{title}, from {file}: a row for each type, a column for each prediction, in the same order; darker is a \
             larger share of the row."
        ),
        svg,
        legend: Vec::new(),
        table: Some((heading, names.iter().zip(counts).map(row).collect())),
        wide: false,
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
    let legend = if groups.len() > 1 {
        groups.into_iter().enumerate().map(|(i, group)| (Mark::Dot(i), group)).collect()
    } else {
        Vec::new()
    };
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

/// How evenly a weight is distributed: the share of the total that the heaviest names hold (a Lorenz curve).
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
    // If the names have labels, compare each label's share with its share under even weights.
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
        references: vec![Reference {
            name: "equal weight for all".to_owned(),
            points: vec![(0.0, 0.0), (1.0, 1.0)],
        }],
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
    let caption = format!("{said} in {file} of {step}; the dotted line shows equal weight for all.");
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
