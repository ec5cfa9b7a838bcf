//! Figures as SVG, small enough to stand in a page by the dozen.
//!
//! Colours are variables (`--ink`, `--faint`, `--paper`, `--c0` to `--c7`) that the page sets, for light and for
//! dark; [`standalone`] sets them within the file. A series is told from its neighbours by its dashes, too.

mod network;

pub use network::{Link, network};

use crate::markup::escape;
use crate::text::number;
use std::fmt::Write;

/// Units of the drawing; a figure is as wide as a phone's page.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// How many colours there are.
pub const COLOURS: usize = 8;
const DASHES: [&str; 4] = ["", "7 3", "2 3", "8 3 2 3"];

/// A line of a chart.
pub struct Series {
    /// What it stands for.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
    /// Below and above each point.
    pub band: Vec<(f64, f64)>,
    /// Which colour.
    pub colour: usize,
}

/// A chart of lines.
pub struct Lines {
    /// One line that says what is shown.
    pub title: String,
    /// The same in words, for who cannot see it.
    pub about: String,
    /// Below the horizontal axis.
    pub x: String,
    /// Beside the vertical one.
    pub y: String,
    /// The lines.
    pub series: Vec<Series>,
    /// The ranges of both axes, where they do not follow from the points.
    pub ranges: Option<[(f64, f64); 2]>,
    /// What chance would give, from left to right.
    pub chance: Vec<(f64, f64)>,
}

/// A chart with a row of dots for each of several names.
pub struct Strips {
    /// One line that says what is shown.
    pub title: String,
    /// The same in words.
    pub about: String,
    /// Below the horizontal axis.
    pub x: String,
    /// Name, values and colour.
    pub rows: Vec<(String, Vec<f64>, usize)>,
}

/// A chart of points.
pub struct Scatter {
    /// One line that says what is shown.
    pub title: String,
    /// The same in words.
    pub about: String,
    /// Below and beside the axes.
    pub axes: [String; 2],
    /// Place, name and group.
    pub points: Vec<(f64, f64, String, usize)>,
    /// The names of the groups.
    pub groups: Vec<String>,
}

/// Linear from values to units of the drawing.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn new((low, high): (f64, f64), from: f64, to: f64) -> Scale {
        let flat = (high - low).abs() < f64::EPSILON * low.abs().max(1.0);
        let (low, high) = if flat { (low - 0.5, high + 0.5) } else { (low, high) };
        Scale { low, high, from, to }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// Round numbers within the range, at most about `count`.
    fn ticks(&self, count: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / count as f64;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * magnitude);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last.min(first + 20)).map(|tick| tick as f64 * step).collect()
    }
}

/// The range of some values, a little wider than they are.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        return (0.0, 1.0);
    }
    let margin = (high - low) * 0.04;
    (low - margin, high + margin)
}

fn tick_label(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let plain = format!("{:.6}", value);
    let plain = plain.trim_end_matches('0').trim_end_matches('.');
    if plain.len() > 7 || value.abs() < 1e-4 { number(value) } else { plain.replace('-', "−") }
}

fn open(title: &str, about: &str, width: f64, height: f64) -> String {
    let (title, about) = (escape(title), escape(about));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" font-size=\"12\" \
         fill=\"var(--ink)\"><title>{title}</title><desc>{about}</desc>\n"
    )
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all");
}

fn axes(svg: &mut String, x: Scale, y: Option<Scale>, labels: [&str; 2]) {
    for tick in x.ticks(6) {
        let at = x.at(tick);
        put(svg, format_args!("<path d=\"M{at:.1} {TOP}V{:.1}\" stroke=\"var(--faint)\"/>", HEIGHT - BOTTOM));
        put(
            svg,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                HEIGHT - BOTTOM + 16.0,
                tick_label(tick)
            ),
        );
    }
    if let Some(y) = y {
        for tick in y.ticks(6) {
            let at = y.at(tick);
            put(
                svg,
                format_args!("<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"var(--faint)\"/>", WIDTH - RIGHT),
            );
            put(
                svg,
                format_args!(
                    "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 6.0,
                    at + 4.0,
                    tick_label(tick)
                ),
            );
        }
    }
    let [below, beside] = labels.map(escape);
    let (centre, middle) = ((LEFT + WIDTH - RIGHT) / 2.0, (TOP + HEIGHT - BOTTOM) / 2.0);
    put(
        svg,
        format_args!(
            "<text x=\"{centre:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{below}</text>",
            HEIGHT - 8.0
        ),
    );
    if !beside.is_empty() {
        put(
            svg,
            format_args!(
                "<text transform=\"translate(12 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{beside}</text>\n"
            ),
        );
    }
}

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.filter(|(x, y)| x.is_finite() && y.is_finite()).enumerate() {
        put(&mut path, format_args!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' }));
    }
    path
}

/// Draws lines.
pub fn lines(chart: &Lines) -> String {
    let Lines { title, about, x, y, series, ranges, chance } = chart;
    let points = || series.iter().flat_map(|series| &series.points).chain(chance);
    let bands = || series.iter().flat_map(|series| &series.band).flat_map(|(low, high)| [*low, *high]);
    let [x_range, y_range] = ranges.unwrap_or_else(|| {
        let ends = points()
            .map(|(x, _)| *x)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        [if ends.0 <= ends.1 { ends } else { (0.0, 1.0) }, range(points().map(|(_, y)| *y).chain(bands()))]
    });
    let (across, up) = (Scale::new(x_range, LEFT, WIDTH - RIGHT), Scale::new(y_range, HEIGHT - BOTTOM, TOP));
    let mut svg = open(title, about, WIDTH, HEIGHT);
    axes(&mut svg, across, Some(up), [x, y]);
    let place = |(x, y): &(f64, f64)| (across.at(*x), up.at(y.clamp(up.low, up.high)));
    if !chance.is_empty() {
        let line = path(chance.iter().map(place));
        put(
            &mut svg,
            format_args!(
                "<path d=\"{line}\" fill=\"none\" stroke=\"var(--muted)\" stroke-dasharray=\"2 4\"><title>chance</title></path>\n"
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

/// The dashes of a colour, so that colour is not the only difference.
fn dashes(colour: usize) -> &'static str {
    DASHES[colour % DASHES.len()]
}

/// A short line as a legend shows it.
pub fn swatch(colour: usize) -> String {
    format!(
        "<svg class=\"swatch\" viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path d=\"M1 4H27\" stroke=\"var(--c{})\" \
         stroke-width=\"2.4\" stroke-dasharray=\"{}\"/></svg>",
        colour % COLOURS,
        dashes(colour)
    )
}

/// Draws rows of dots, each with the box of its quartiles and its median.
pub fn strips(chart: &Strips) -> String {
    const ROW: f64 = 34.0;
    let Strips { title, about, x, rows } = chart;
    let height = TOP + ROW * rows.len() as f64 + BOTTOM;
    let longest = rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
    let left = (longest as f64 * 7.6 + 12.0).clamp(40.0, 172.0);
    let scale =
        Scale::new(range(rows.iter().flat_map(|(_, values, _)| values.iter().copied())), left, WIDTH - RIGHT);
    let mut svg = open(title, about, WIDTH, height);
    let floor = height - BOTTOM;
    for tick in scale.ticks(5) {
        let at = scale.at(tick);
        put(&mut svg, format_args!("<path d=\"M{at:.1} {TOP}V{floor:.1}\" stroke=\"var(--faint)\"/>"));
        put(
            &mut svg,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                floor + 16.0,
                tick_label(tick)
            ),
        );
    }
    put(
        &mut svg,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            (left + WIDTH - RIGHT) / 2.0,
            height - 8.0,
            escape(x)
        ),
    );
    for (i, (name, values, colour)) in rows.iter().enumerate() {
        let middle = TOP + ROW * (i as f64 + 0.5);
        let colour = colour % COLOURS;
        let shown: String = if name.chars().count() > 21 {
            name.chars().take(20).chain(['…']).collect()
        } else {
            name.clone()
        };
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                middle + 4.0,
                escape(&shown)
            ),
        );
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        if sorted.is_empty() {
            continue;
        }
        sorted.sort_by(f64::total_cmp);
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(&sorted, share));
        put(
            &mut svg,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\" rx=\"3\" fill=\"var(--c{colour})\" opacity=\".16\"/>",
                scale.at(low),
                middle - 9.0,
                (scale.at(high) - scale.at(low)).max(1.0)
            ),
        );
        for (j, value) in sorted.iter().enumerate() {
            // Spread up and down in a fixed pattern, so that equal values are seen.
            let aside = [0.0, 4.0, -4.0, 2.0, -2.0, 6.0, -6.0][j % 7];
            put(
                &mut svg,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.2\" fill=\"var(--c{colour})\" opacity=\".65\"/>",
                    scale.at(*value),
                    middle + aside
                ),
            );
        }
        put(
            &mut svg,
            format_args!(
                "<path d=\"M{0:.1} {1:.1}v20\" stroke=\"var(--ink)\" stroke-width=\"2\"><title>{2}: median {3}</title></path>\n",
                scale.at(median),
                middle - 10.0,
                escape(name),
                number(median)
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A quantile of sorted values, between two of them where it falls between.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let next = sorted[(low + 1).min(sorted.len() - 1)];
    sorted[low] + (next - sorted[low]) * part
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

/// The values of one cell of a table on the scale of its column: dots, and a tick at their mean.
pub fn dots(values: &[f64], within: (f64, f64), colour: usize) -> String {
    let scale = Scale::new(within, 4.0, 92.0);
    let mut svg = String::from(
        "<svg class=\"dots\" viewBox=\"0 0 96 14\" aria-hidden=\"true\"><path d=\"M2 7H94\" stroke=\"var(--faint)\"/>",
    );
    for value in values {
        put(
            &mut svg,
            format_args!(
                "<circle cx=\"{:.1}\" cy=\"7\" r=\"2.6\" fill=\"var(--c{})\" opacity=\".7\"/>",
                scale.at(*value),
                colour % COLOURS
            ),
        );
    }
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if !values.is_empty() {
        put(
            &mut svg,
            format_args!(
                "<path d=\"M{:.1} 1v12\" stroke=\"var(--ink)\" stroke-width=\"1.6\"/>",
                scale.at(mean)
            ),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// An interval on the scale of its column, with zero marked.
pub fn interval(low: f64, mean: f64, high: f64, within: (f64, f64)) -> String {
    let scale = Scale::new(within, 4.0, 92.0);
    let colour = if low > 0.0 || high < 0.0 { 0 } else { COLOURS - 1 };
    let (zero, from, to, at) = (scale.at(0.0), scale.at(low), scale.at(high), scale.at(mean));
    format!(
        "<svg class=\"dots\" viewBox=\"0 0 96 14\" aria-hidden=\"true\"><path d=\"M{zero:.1} 0v14\" stroke=\"var(--muted)\" \
         stroke-dasharray=\"2 2\"/><path d=\"M{from:.1} 7H{to:.1}\" stroke=\"var(--c{colour})\" stroke-width=\"2\"/>\
         <circle cx=\"{at:.1}\" cy=\"7\" r=\"3\" fill=\"var(--c{colour})\"/></svg>"
    )
}

/// The range that the dots of a column share.
pub fn shared_range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    range(values)
}

/// A figure as a file of its own.
pub fn standalone(svg: &str, colours: &str) -> String {
    let style =
        format!("><style>{colours} svg{{background:var(--paper);font-family:system-ui,sans-serif}}</style>");
    svg.replacen('>', &style, 1)
}

/// A line of a terminal: each value as one of eight heights.
pub fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let columns = width.min(values.len());
    let column = |i: usize| {
        let part = &values[i * values.len() / columns
            ..((i + 1) * values.len() / columns).max(i * values.len() / columns + 1)];
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        match mean.is_finite() {
            true if high > low => BLOCKS[(((mean - low) / (high - low) * 7.0).round() as usize).min(7)],
            true => BLOCKS[0],
            false => ' ',
        }
    };
    (0..columns).map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Scale::new((0.0, 1.0), 0.0, 1.0).ticks(6), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(Scale::new((-3.0, 12.0), 0.0, 1.0).ticks(4), [0.0, 5.0, 10.0]);
        assert_eq!(
            [0.6000000000000001, 1500.0, 0.00002, -0.5].map(tick_label),
            ["0.6", "1500", "2.0e-5", "−0.5"]
        );
    }

    #[test]
    fn a_sparkline_is_as_wide_as_asked_and_rises_with_its_values() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 7.0], 10), "▁▂▃█");
        assert_eq!(sparkline(&(0..80).map(f64::from).collect::<Vec<_>>(), 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, 1.0], 8), "▁▁");
        assert_eq!(sparkline(&[], 8), "");
    }

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
            chance: Vec::new(),
        };
        let svg = lines(&chart);
        assert_eq!(svg.matches("</svg>").count(), 1);
        assert!(!svg.contains("<script>") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn quantiles_lie_between() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0], 0.9), 1.0);
    }
}
