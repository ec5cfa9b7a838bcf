//! Points on a plane, coloured by group.

use super::{BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, axes, open, put, range};
use crate::markup::escape;

/// A chart of points.
pub struct Scatter {
    /// The title.
    pub title: String,
    /// A description in words.
    pub about: String,
    /// The labels of the horizontal and the vertical axis.
    pub axes: [String; 2],
    /// Position, name and group.
    pub points: Vec<(f64, f64, String, usize)>,
    /// The names of the groups.
    pub groups: Vec<String>,
}

/// Draws points.
pub fn scatter(chart: &Scatter) -> String {
    let Scatter { title, about, axes: [below, beside], points, groups } = chart;
    let across = Scale::new(range(points.iter().map(|point| point.0)), LEFT, WIDTH - RIGHT);
    let up = Scale::new(range(points.iter().map(|point| point.1)), HEIGHT - BOTTOM, TOP);
    let mut svg = open(title, about, WIDTH, HEIGHT);
    axes(&mut svg, across, Some(up), [below, beside]);
    let named = points.len() <= 400;
    for (group, _) in groups.iter().enumerate() {
        put(&mut svg, format_args!("<g fill=\"var(--c{})\" opacity=\".7\">", group % COLOURS));
        for (x, y, name, _) in points.iter().filter(|point| point.3 == group) {
            let (x, y) = (across.at(*x), up.at(*y));
            match named {
                true => put(
                    &mut svg,
                    format_args!(
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{}</title></circle>",
                        escape(name)
                    ),
                ),
                false => put(&mut svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.8\"/>")),
            }
        }
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>");
    svg
}
