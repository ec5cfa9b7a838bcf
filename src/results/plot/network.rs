//! Draws a network with forces: links pull, all nodes repel each other (Fruchterman and Reingold 1991).

use super::{open, put};
use crate::markup::escape;
use engine::text::number;
use indexmap::IndexMap;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 600.0;
const MARGIN: f64 = 46.0;
const ROUNDS: usize = 300;

/// One arrow.
pub struct Link {
    /// Where it starts.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// Its strength; negative links are dashed.
    pub weight: f64,
}

/// Draws arrows between named nodes; nodes with outgoing arrows are emphasised.
pub fn network(title: &str, about: &str, links: &[Link]) -> String {
    let mut nodes: IndexMap<&str, bool> = IndexMap::new();
    for link in links {
        *nodes.entry(&link.from).or_default() = true;
        nodes.entry(&link.to).or_default();
    }
    let ends: Vec<(usize, usize)> = links
        .iter()
        .filter_map(|link| {
            Some((nodes.get_index_of(link.from.as_str())?, nodes.get_index_of(link.to.as_str())?))
        })
        .collect();
    let places = spread(nodes.len(), &ends);
    let strongest = links.iter().map(|link| link.weight.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = open(title, about, WIDTH, HEIGHT);
    svg.push_str(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8Z\" fill=\"var(--muted)\"/></marker></defs>\n",
    );
    for (link, (from, to)) in links.iter().zip(&ends) {
        let ((x, y), (to_x, to_y)) = (places[*from], places[*to]);
        let length = (to_x - x).hypot(to_y - y).max(1.0);
        // The arrow ends at the edge of its node's circle.
        let (end_x, end_y) = (to_x - (to_x - x) / length * 8.0, to_y - (to_y - y) / length * 8.0);
        let dashes = if link.weight < 0.0 { " stroke-dasharray=\"4 3\"" } else { "" };
        put(
            &mut svg,
            format_args!(
                "<path d=\"M{x:.1} {y:.1}L{end_x:.1} {end_y:.1}\" stroke=\"var(--muted)\" stroke-width=\"{:.2}\" \
                 marker-end=\"url(#tip)\"{dashes}><title>{} → {}: {}</title></path>\n",
                0.6 + 1.8 * link.weight.abs() / strongest,
                escape(&link.from),
                escape(&link.to),
                number(link.weight)
            ),
        );
    }
    for ((name, starts), (x, y)) in nodes.iter().zip(&places) {
        let (radius, colour, weight) = if *starts { (6.0, 0, "600") } else { (4.0, 1, "400") };
        let name = escape(name);
        put(
            &mut svg,
            format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"var(--c{colour})\" stroke=\"var(--paper)\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" font-weight=\"{weight}\" \
                 stroke=\"var(--paper)\" stroke-width=\"3\" paint-order=\"stroke\">{name}</text>\n",
                y - radius - 3.0
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Finds a position for each node. Nothing is random: the same network always gives the same picture.
fn spread(count: usize, links: &[(usize, usize)]) -> Vec<(f64, f64)> {
    let golden = std::f64::consts::PI * (3.0 - 5f64.sqrt());
    let mut places: Vec<(f64, f64)> = (0..count)
        .map(|i| {
            let radius = ((i as f64 + 0.5) / count as f64).sqrt();
            (radius * (golden * i as f64).cos(), radius * (golden * i as f64).sin())
        })
        .collect();
    let distance = 1.6 / (count.max(1) as f64).sqrt();
    for round in 0..ROUNDS {
        let reach = 0.15 * (1.0 - round as f64 / ROUNDS as f64) + 0.002;
        let mut moves = vec![(0.0, 0.0); count];
        let away = |a: (f64, f64), b: (f64, f64)| {
            let (x, y) = (a.0 - b.0, a.1 - b.1);
            (x, y, x.hypot(y).max(1e-3))
        };
        for i in 0..count {
            for j in 0..i {
                let (x, y, apart) = away(places[i], places[j]);
                let force = distance * distance / (apart * apart);
                moves[i] = (moves[i].0 + x * force, moves[i].1 + y * force);
                moves[j] = (moves[j].0 - x * force, moves[j].1 - y * force);
            }
            // A weak pull towards the centre keeps separate components on the page.
            moves[i] = (moves[i].0 - places[i].0 * 0.9, moves[i].1 - places[i].1 * 1.0);
        }
        for &(a, b) in links.iter().filter(|(a, b)| a != b) {
            let (x, y, apart) = away(places[a], places[b]);
            let force = apart / distance * 0.5;
            moves[a] = (moves[a].0 - x * force, moves[a].1 - y * force);
            moves[b] = (moves[b].0 + x * force, moves[b].1 + y * force);
        }
        for (place, (x, y)) in places.iter_mut().zip(moves) {
            let length = x.hypot(y).max(1e-9);
            let step = length.min(reach) / length;
            *place = (place.0 + x * step, place.1 + y * step);
        }
    }
    let bounds = |of: fn(&(f64, f64)) -> f64| {
        places
            .iter()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (across, down) = (bounds(|place| place.0), bounds(|place| place.1));
    let fit = |value: f64, (low, high): (f64, f64), size: f64| {
        if high - low < 1e-9 {
            size / 2.0
        } else {
            MARGIN + (value - low) / (high - low) * (size - 2.0 * MARGIN)
        }
    };
    places.iter().map(|(x, y)| (fit(*x, across, WIDTH), fit(*y, down, HEIGHT))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_lie_apart_and_within_the_picture() {
        let links: Vec<(usize, usize)> = (1..30).map(|i| (i % 4, i)).collect();
        let places = spread(30, &links);
        for (i, a) in places.iter().enumerate() {
            assert!((0.0..=WIDTH).contains(&a.0) && (0.0..=HEIGHT).contains(&a.1));
            for b in &places[..i] {
                assert!((a.0 - b.0).hypot(a.1 - b.1) > 8.0, "{a:?} {b:?}");
            }
        }
        assert_eq!(places, spread(30, &links));
        assert_eq!(spread(1, &[]), [(WIDTH / 2.0, HEIGHT / 2.0)]);
    }
}
