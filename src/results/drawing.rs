//! Draws the graph of a pipeline as Mermaid, Graphviz or SVG.

use crate::markup::escape;
use engine::graph::Graph;
use engine::state::State;
use engine::survey::Survey;
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use std::fmt::Write;

/// In pixels.
const BOX_HEIGHT: usize = 34;
const ROW_GAP: usize = 14;
const COLUMN_GAP: usize = 56;
const MARGIN: usize = 20;
/// The approximate width of a character in the label's font.
const CHARACTER_WIDTH: usize = 8;

/// Fill and border of a state; black text is readable on either.
fn colours(state: &State) -> (&'static str, &'static str) {
    match state {
        State::Cached(_) | State::Computed(_) => ("#d8f0dc", "#2f8f46"),
        State::Due(_) | State::Later(..) | State::Ready | State::Running(..) => ("#ffe6b8", "#b97900"),
        State::Waiting(_) => ("#fff6df", "#cfa64f"),
        State::Failed => ("#fbd5d5", "#c03030"),
        State::Absent(_) | State::Skipped(_) | State::Out => ("#ececec", "#8a8a8a"),
    }
}

/// A Mermaid flowchart, as Markdown viewers render it.
pub fn mermaid(survey: &Survey<'_>) -> String {
    let graph = survey.plan.graph();
    let mut text = String::from("flowchart LR\n");
    for &node in &graph.order {
        let (fill, border) = colours(survey.plan.state(node));
        let name = graph.steps[node].name.replace('"', "#quot;");
        put(&mut text, format_args!("  s{}[\"{name}\"]\n", node.index()));
        put(&mut text, format_args!("  style s{} fill:{fill},stroke:{border},color:#000\n", node.index()));
    }
    for edge in graph.steps.edge_indices() {
        let (from, to) = graph.steps.edge_endpoints(edge).expect("an edge has ends");
        put(&mut text, format_args!("  s{} --> s{}\n", from.index(), to.index()));
    }
    text
}

/// A graph in Graphviz's DOT language.
pub fn dot(survey: &Survey<'_>) -> String {
    let graph = survey.plan.graph();
    let mut text = String::from("digraph pipeline {\n  rankdir=LR;\n  node [shape=box, style=filled];\n");
    for &node in &graph.order {
        let (fill, border) = colours(survey.plan.state(node));
        let name = graph.steps[node].name.escape_default();
        put(
            &mut text,
            format_args!(
                "  s{} [label=\"{name}\", fillcolor=\"{fill}\", color=\"{border}\"];\n",
                node.index()
            ),
        );
    }
    for edge in graph.steps.edge_indices() {
        let (from, to) = graph.steps.edge_endpoints(edge).expect("an edge has ends");
        put(&mut text, format_args!("  s{} -> s{};\n", from.index(), to.index()));
    }
    text.push_str("}\n");
    text
}

/// A self-contained SVG: columns by distance from the inputs, rows ordered to keep arrows short.
pub fn svg(survey: &Survey<'_>) -> String {
    let graph = survey.plan.graph();
    let columns = columns(graph);
    let mut place = vec![(0, 0, 0); graph.steps.node_count()]; // left, top, width
    let mut left = MARGIN;
    let mut bottom = 0;
    for column in &columns {
        let longest = column.iter().map(|node| graph.steps[*node].name.chars().count()).max().unwrap_or(0);
        let width = longest * CHARACTER_WIDTH + 2 * CHARACTER_WIDTH;
        for (row, node) in column.iter().enumerate() {
            let top = MARGIN + row * (BOX_HEIGHT + ROW_GAP);
            place[node.index()] = (left, top, width);
            bottom = bottom.max(top + BOX_HEIGHT);
        }
        left += width + COLUMN_GAP;
    }
    let (width, height) = (left - COLUMN_GAP + MARGIN, bottom + MARGIN);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, monospace\" font-size=\"13\" role=\"img\">\n<title>{}</title>\n",
        escape(&graph.name)
    );
    text.push_str("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
    for edge in graph.steps.edge_indices() {
        let (from, to) = graph.steps.edge_endpoints(edge).expect("an edge has ends");
        let ((x, y, width), (to_x, to_y, _)) = (place[from.index()], place[to.index()]);
        let (x, y, to_y) = (x + width, y + BOX_HEIGHT / 2, to_y + BOX_HEIGHT / 2);
        let bend = (to_x - x) / 2;
        put(
            &mut text,
            format_args!(
                "<path d=\"M{x} {y} C{} {y} {} {to_y} {to_x} {to_y}\" fill=\"none\" stroke=\"#777777\"/>\n",
                x + bend,
                to_x - bend
            ),
        );
    }
    for &node in &graph.order {
        let (left, top, width) = place[node.index()];
        let state = survey.plan.state(node);
        let (fill, border) = colours(state);
        let name = escape(&graph.steps[node].name);
        put(
            &mut text,
            format_args!(
                "<g><title>{name}: {}</title><rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{BOX_HEIGHT}\" \
                 rx=\"5\" fill=\"{fill}\" stroke=\"{border}\"/><text x=\"{}\" y=\"{}\">{name}</text></g>\n",
                state.word(),
                left + CHARACTER_WIDTH,
                top + BOX_HEIGHT / 2 + 4
            ),
        );
    }
    text.push_str("</svg>\n");
    text
}

/// Groups steps by their longest path from a step without inputs. Within a column they are sorted by the mean row of
/// their producers (one pass of the barycentre method of Sugiyama et al., 1981).
fn columns(graph: &Graph) -> Vec<Vec<NodeIndex>> {
    let mut depth = vec![0; graph.steps.node_count()];
    let mut row = vec![0.0; graph.steps.node_count()];
    let mut columns: Vec<Vec<NodeIndex>> = Vec::new();
    for &node in &graph.order {
        let producers = graph.steps.neighbors_directed(node, Direction::Incoming);
        depth[node.index()] = producers.map(|producer| depth[producer.index()] + 1).max().unwrap_or(0);
        if columns.len() <= depth[node.index()] {
            columns.push(Vec::new());
        }
        columns[depth[node.index()]].push(node);
    }
    for column in &mut columns {
        let mean = |node: &NodeIndex| {
            let producers: Vec<NodeIndex> =
                graph.steps.neighbors_directed(*node, Direction::Incoming).collect();
            producers.iter().map(|producer| row[producer.index()]).sum::<f64>()
                / producers.len().max(1) as f64
        };
        let mut placed: Vec<(f64, NodeIndex)> = column.iter().map(|node| (mean(node), *node)).collect();
        placed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        *column = placed.into_iter().map(|(_, node)| node).collect();
        for (place, node) in column.iter().enumerate() {
            row[node.index()] = place as f64;
        }
    }
    columns
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all");
}
