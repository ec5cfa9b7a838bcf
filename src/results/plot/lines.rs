//! A line chart, with lines to hold the curves against: the level of chance, a yardstick.

use super::{
    BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, axes, dashes, open, path, put, range,
    reference_dashes,
};
use crate::markup::escape;

/// A chart of lines.
pub struct Lines {
    /// The title.
    pub title: String,
    /// A description in words, for readers who cannot see it.
    pub about: String,
    /// The label of the horizontal axis.
    pub x: String,
    /// The label of the vertical axis.
    pub y: String,
    /// The lines.
    pub series: Vec<Series>,
    /// The ranges of both axes; computed from the points if `None`.
    pub ranges: Option<[(f64, f64); 2]>,
    /// What the lines are to be held against.
    pub references: Vec<Reference>,
}

/// A line that was not measured along the way, such as the level of chance.
pub struct Reference {
    /// Its name in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// A line of a chart.
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// The lower and upper limit at each point.
    pub band: Vec<(f64, f64)>,
    /// The index of its colour.
    pub colour: usize,
}

/// The vertical axis is logarithmic if the highest value is this many times the lowest one.
const POWERS: f64 = 3000.0;

/// Draws lines.
pub fn lines(chart: &Lines) -> String {
    let Lines { title, about, x, y, series, ranges, references } = chart;
    let references_points = || references.iter().flat_map(|reference| &reference.points);
    let points = || series.iter().flat_map(|series| &series.points).chain(references_points());
    let bands = || series.iter().flat_map(|series| &series.band).flat_map(|(low, high)| [*low, *high]);
    let [x_range, y_range] = ranges.unwrap_or_else(|| {
        let ends = points()
            .map(|(x, _)| *x)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        [if ends.0 <= ends.1 { ends } else { (0.0, 1.0) }, range(points().map(|(_, y)| *y).chain(bands()))]
    });
    let across = Scale::new(x_range, LEFT, WIDTH - RIGHT);
    // On a linear axis, a curve that spans several powers of ten would flatten all others.
    let heights = || points().map(|(_, y)| *y).filter(|y| y.is_finite());
    let (lowest, highest) = (heights().fold(f64::INFINITY, f64::min), heights().fold(0.0, f64::max));
    let up = match ranges.is_none() && lowest > 0.0 && highest / lowest > POWERS {
        true => Scale::of_powers((lowest, highest), HEIGHT - BOTTOM, TOP),
        false => Scale::new(y_range, HEIGHT - BOTTOM, TOP),
    };
    let mut svg = open(title, about, WIDTH, HEIGHT);
    axes(&mut svg, across, Some(up), [x, y]);
    let place = |(x, y): &(f64, f64)| (across.at(*x), up.at(y.clamp(up.low, up.high)));
    for (i, Reference { name, points }) in references.iter().enumerate() {
        let line = path(points.iter().map(place));
        put(
            &mut svg,
            format_args!(
                "<path d=\"{line}\" fill=\"none\" stroke=\"var(--muted)\" stroke-dasharray=\"{}\"><title>{}</title></path>\n",
                reference_dashes(i),
                escape(name)
            ),
        );
    }
    for Series { name: _, points, band, colour } in series {
        if band.len() == points.len() && band.iter().any(|(low, high)| high > low) {
            let above = points.iter().zip(band).map(|((x, _), (_, high))| place(&(*x, *high)));
            let below = points.iter().zip(band).rev().map(|((x, _), (low, _))| place(&(*x, *low)));
            let area = path(above.chain(below));
            put(
                &mut svg,
                format_args!("<path d=\"{area}Z\" fill=\"var(--c{})\" opacity=\".15\"/>", colour % COLOURS),
            );
        }
    }
    for Series { name, points, band: _, colour } in series {
        let line = path(points.iter().map(place));
        put(
            &mut svg,
            format_args!(
                "<path d=\"{line}\" fill=\"none\" stroke=\"var(--c{})\" stroke-width=\"1.8\" stroke-linejoin=\"round\" \
                 stroke-dasharray=\"{}\"><title>{}</title></path>\n",
                colour % COLOURS,
                dashes(*colour),
                escape(name)
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_a_figure() {
        let series = Series {
            name: "</svg><script>".into(),
            points: vec![(0.0, 1.0), (1.0, f64::NAN)],
            band: Vec::new(),
            colour: 9,
        };
        let chart = Lines {
            title: "<t>".into(),
            about: String::new(),
            x: "\"".into(),
            y: "&".into(),
            series: vec![series],
            ranges: None,
            references: Vec::new(),
        };
        let svg = lines(&chart);
        assert_eq!(svg.matches("</svg>").count(), 1);
        assert!(!svg.contains("<script>") && !svg.contains("NaN"), "{svg}");
    }
}
