//! Draws boxes in layers from top to bottom; long arrows pass the boxes between (Sugiyama, Tagawa and Toda 1981).

use super::{open, put};
use crate::markup::escape;
use std::collections::{HashMap, HashSet};

const HEIGHT: f64 = 46.0;
const GAP: f64 = 38.0;
const BESIDE: f64 = 16.0;
const MARGIN: f64 = 6.0;
/// The width that an arrow takes in a layer that it passes through.
const PASSING: f64 = 6.0;
/// The approximate width of a character.
const CHARACTER: f64 = 7.0;
/// Rounds of ordering, and of moving boxes towards their neighbours.
const ROUNDS: usize = 12;

/// The look of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Everything is present.
    Whole,
    /// Something is missing.
    Partial,
    /// It is absent.
    Absent,
}

/// A box.
pub struct Node {
    /// What it is called.
    pub name: String,
    /// One line below the name.
    pub about: String,
    /// Its look.
    pub look: Look,
}

/// A place in a layer: a box, or an arrow that passes through.
struct Slot {
    layer: usize,
    node: Option<usize>,
    width: f64,
    /// The horizontal centre.
    x: f64,
    above: Vec<usize>,
    below: Vec<usize>,
}

/// Draws boxes and the arrows between them.
pub fn layers(title: &str, about: &str, nodes: &[Node], links: &[(usize, usize)]) -> String {
    let (mut slots, mut layers, routes) = slots(nodes, &without_circles(nodes.len(), links));
    order(&mut layers, &slots);
    place(&mut slots, &layers);
    let left = slots.iter().map(|slot| slot.x - slot.width / 2.0).fold(f64::INFINITY, f64::min);
    slots.iter_mut().for_each(|slot| slot.x += MARGIN - left);
    let right = slots.iter().map(|slot| slot.x + slot.width / 2.0).fold(0.0, f64::max);
    let (width, height) =
        ((right + MARGIN).ceil(), layers.len() as f64 * (HEIGHT + GAP) - GAP + 2.0 * MARGIN);
    let top = |layer: usize| MARGIN + layer as f64 * (HEIGHT + GAP);
    let mut svg = open(title, about, width, height).replacen("<svg ", &format!("<svg width=\"{width}\" "), 1);
    for route in routes {
        let mut path = String::new();
        for pair in route.windows(2) {
            let [from, to] = [&slots[pair[0]], &slots[pair[1]]];
            let (y, to_y) = (top(from.layer) + HEIGHT, top(to.layer));
            let start = if path.is_empty() { 'M' } else { 'L' };
            put(
                &mut path,
                format_args!(
                    "{start}{:.1} {y}C{:.1} {} {:.1} {} {:.1} {to_y}",
                    from.x,
                    from.x,
                    (y + to_y) / 2.0,
                    to.x,
                    (y + to_y) / 2.0,
                    to.x
                ),
            );
        }
        put(
            &mut svg,
            format_args!("<path d=\"{path}\" fill=\"none\" stroke=\"var(--muted)\" opacity=\".6\"/>\n"),
        );
    }
    for slot in &slots {
        let Some(Node { name, about, look }) = slot.node.map(|node| &nodes[node]) else { continue };
        let (stroke, dashes) = match look {
            Look::Whole => ("var(--c2)", ""),
            Look::Partial => ("var(--c1)", " stroke-dasharray=\"5 3\""),
            Look::Absent => ("var(--muted)", " stroke-dasharray=\"1 3\""),
        };
        let (x, y) = (slot.x, top(slot.layer));
        put(
            &mut svg,
            format_args!(
                "<g text-anchor=\"middle\"><rect x=\"{:.1}\" y=\"{y}\" width=\"{}\" height=\"{HEIGHT}\" rx=\"6\" fill=\"var(--canvas)\" \
                 stroke=\"{stroke}\"{dashes}/><text x=\"{x:.1}\" y=\"{}\" font-weight=\"600\">{}</text>\
                 <text x=\"{x:.1}\" y=\"{}\" font-size=\"11\" fill=\"var(--muted)\">{}</text></g>\n",
                x - slot.width / 2.0,
                slot.width,
                y + 19.0,
                escape(name),
                y + 36.0,
                escape(about),
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The links without those that would close a cycle.
fn without_circles(count: usize, links: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut kept = Vec::new();
    for &(from, to) in links {
        let mut reached = HashSet::from([to]);
        let mut next = vec![to];
        while let Some(node) = next.pop() {
            next.extend(below[node].iter().copied().filter(|node| reached.insert(*node)));
        }
        if !reached.contains(&from) {
            below[from].push(to);
            kept.push((from, to));
        }
    }
    kept
}

/// The layers as lists of slots, and the slots that each link passes through.
fn slots(nodes: &[Node], links: &[(usize, usize)]) -> (Vec<Slot>, Vec<Vec<usize>>, Vec<Vec<usize>>) {
    let mut depth = vec![0; nodes.len()];
    for _ in nodes {
        for &(from, to) in links {
            depth[to] = depth[to].max(depth[from] + 1);
        }
    }
    let slot = |layer, node, width| Slot { layer, node, width, x: 0.0, above: Vec::new(), below: Vec::new() };
    let wide = |node: &Node| {
        let characters = node.name.chars().count().max(node.about.chars().count());
        characters as f64 * CHARACTER + 20.0
    };
    let mut slots: Vec<Slot> =
        nodes.iter().enumerate().map(|(i, node)| slot(depth[i], Some(i), wide(node))).collect();
    let mut routes = Vec::new();
    for &(from, to) in links {
        let mut route = vec![from];
        for layer in depth[from] + 1..depth[to] {
            route.push(slots.len());
            slots.push(slot(layer, None, PASSING));
        }
        route.push(to);
        for pair in route.windows(2) {
            slots[pair[0]].below.push(pair[1]);
            slots[pair[1]].above.push(pair[0]);
        }
        routes.push(route);
    }
    let mut layers = vec![Vec::new(); depth.iter().max().map_or(0, |deepest| deepest + 1)];
    slots.iter().enumerate().for_each(|(i, slot)| layers[slot.layer].push(i));
    (slots, layers, routes)
}

/// Orders each layer by the mean position of its slots' neighbours, alternating between downward and upward passes.
/// Keeps the order with the fewest crossings.
fn order(layers: &mut Vec<Vec<usize>>, slots: &[Slot]) {
    let mut best = (crossings(layers, slots), layers.clone());
    for round in 0..ROUNDS {
        let downward = round % 2 == 0;
        for step in 1..layers.len() {
            let layer = if downward { step } else { layers.len() - 1 - step };
            let beside = &layers[if downward { layer - 1 } else { layer + 1 }];
            let at: HashMap<usize, usize> = beside.iter().enumerate().map(|(i, slot)| (*slot, i)).collect();
            let mut placed: Vec<(f64, usize)> = layers[layer]
                .iter()
                .enumerate()
                .map(|(i, slot)| {
                    let ends = if downward { &slots[*slot].above } else { &slots[*slot].below };
                    let mean = mean(ends.iter().map(|end| at[end] as f64));
                    (mean.unwrap_or(i as f64), *slot)
                })
                .collect();
            placed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            layers[layer] = placed.into_iter().map(|(_, slot)| slot).collect();
        }
        let found = crossings(layers, slots);
        if found < best.0 {
            best = (found, layers.clone());
        }
    }
    *layers = best.1;
}

fn crossings(layers: &[Vec<usize>], slots: &[Slot]) -> usize {
    let between = |pair: &[Vec<usize>]| {
        let at: HashMap<usize, usize> = pair[1].iter().enumerate().map(|(i, slot)| (*slot, i)).collect();
        let ends = pair[0]
            .iter()
            .enumerate()
            .flat_map(|(i, slot)| slots[*slot].below.iter().map(move |end| (i, end)));
        let ends: Vec<(usize, usize)> = ends.map(|(i, end)| (i, at[end])).collect();
        let crossed =
            |(i, (a, b)): (usize, &(usize, usize))| ends[i..].iter().filter(|(c, d)| a < c && b > d).count();
        ends.iter().enumerate().map(crossed).sum::<usize>()
    };
    layers.windows(2).map(between).sum()
}

/// Moves every slot towards the mean of its neighbours, as far as there is room.
fn place(slots: &mut [Slot], layers: &[Vec<usize>]) {
    for _ in 0..ROUNDS {
        for layer in layers {
            let wanted: Vec<f64> = layer
                .iter()
                .map(|slot| {
                    let Slot { x, above, below, .. } = &slots[*slot];
                    mean(above.iter().chain(below).map(|end| slots[*end].x)).unwrap_or(*x)
                })
                .collect();
            let apart = |a: usize, b: usize| (slots[layer[a]].width + slots[layer[b]].width) / 2.0 + BESIDE;
            // Resolve overlaps once by pushing right and once by pushing left: the mean of the two never overlaps.
            let (mut left, mut right) = (wanted.clone(), wanted);
            for i in 1..layer.len() {
                left[i] = left[i].max(left[i - 1] + apart(i - 1, i));
            }
            for i in (1..layer.len()).rev() {
                right[i - 1] = right[i - 1].min(right[i] - apart(i - 1, i));
            }
            for (i, slot) in layer.iter().enumerate() {
                slots[*slot].x = (left[i] + right[i]) / 2.0;
            }
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<Node> {
        let node = |i| Node { name: format!("n{i}"), about: String::new(), look: Look::Whole };
        (0..count).map(node).collect()
    }

    #[test]
    fn arrows_do_not_cross_where_they_need_not() {
        // Two chains whose second halves are in reverse order.
        let links = [(0, 3), (1, 2), (2, 4), (3, 5)];
        let (slots, mut layers, _) = slots(&nodes(6), &links);
        assert_eq!(crossings(&layers, &slots), 1);
        order(&mut layers, &slots);
        assert_eq!(crossings(&layers, &slots), 0);
    }

    #[test]
    fn nothing_overlaps_and_a_long_arrow_has_room_of_its_own() {
        let links = [(0, 1), (1, 2), (0, 2), (0, 3), (3, 2)];
        let (mut slots, mut layers, routes) = slots(&nodes(4), &links);
        assert_eq!(routes[2].len(), 3, "past the layer between");
        order(&mut layers, &slots);
        place(&mut slots, &layers);
        for pair in layers.iter().flat_map(|layer| layer.windows(2)) {
            let [a, b] = [&slots[pair[0]], &slots[pair[1]]];
            assert!(b.x - a.x >= (a.width + b.width) / 2.0, "{} {}", a.x, b.x);
        }
    }

    #[test]
    fn circles_are_cut() {
        assert_eq!(without_circles(3, &[(0, 1), (1, 2), (2, 0), (2, 2)]), [(0, 1), (1, 2)]);
        assert!(
            layers("t", "a", &nodes(1), &[]).ends_with("</svg>")
                && layers("t", "a", &[], &[]).contains("<svg")
        );
    }
}
