//! Figures as SVG, small enough for a page with dozens of them.
//!
//! Colours are variables (`--ink`, `--faint`, `--paper`, `--c0` to `--c7`) that the page sets, for light and for
//! dark; [`standalone`] sets them within the file. Series also differ in their dashes.

mod layers;
mod lines;
mod network;
mod scatter;
mod small;
mod squares;
mod strips;

pub use layers::{Look, Node, layers};
pub use lines::{Lines, Reference, Series, lines};
pub use network::{Link, network};
pub use scatter::{Scatter, scatter};
pub use small::{Mark, dots, interval, sparkline, swatch};
pub use squares::{Squares, squares};
pub use strips::{Strips, strips};

use crate::markup::escape;
use engine::text::number;
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

/// Maps values to units of the drawing, linearly or logarithmically.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    powers: bool,
}

impl Scale {
    fn new((low, high): (f64, f64), from: f64, to: f64) -> Scale {
        let flat = (high - low).abs() < f64::EPSILON * low.abs().max(1.0);
        let (low, high) = if flat { (low - 0.5, high + 0.5) } else { (low, high) };
        Scale { low, high, from, to, powers: false }
    }

    /// A logarithmic scale for positive values.
    fn of_powers((low, high): (f64, f64), from: f64, to: f64) -> Scale {
        Scale { powers: true, ..Scale::new((low, high), from, to) }
    }

    fn at(&self, value: f64) -> f64 {
        let share = match self.powers {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from + share * (self.to - self.from)
    }

    /// Round numbers within the range, at most about `count`.
    fn ticks(&self, count: usize) -> Vec<f64> {
        if self.powers {
            let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            let step = ((last - first) as usize / count + 1) as i32;
            return (0..)
                .map(|i| first + i * step)
                .take_while(|power| *power <= last)
                .map(|power| 10f64.powi(power))
                .collect();
        }
        let rough = (self.high - self.low) / count as f64;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * magnitude).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * magnitude);
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last.min(first + 20)).map(|tick| tick as f64 * step).collect()
    }
}

/// The range of some values, slightly widened.
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
    match value.abs() {
        size if size >= 1e6 => format!("{value:.0e}").replace('-', "−"),
        size if size < 1e-4 || plain.len() > 7 => number(value),
        _ => plain.replace('-', "−"),
    }
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

/// The dashes for a colour, so that colour is not the only difference; repeated colours get other dashes.
fn dashes(colour: usize) -> &'static str {
    DASHES[(colour % COLOURS + colour / COLOURS) % DASHES.len()]
}

/// The dashes of a reference line, which all have the same colour.
fn reference_dashes(number: usize) -> &'static str {
    ["2 4", "7 4", "1 2", "9 3 2 3"][number % 4]
}

/// A quantile of sorted values, interpolated linearly.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let next = sorted[(low + 1).min(sorted.len() - 1)];
    sorted[low] + (next - sorted[low]) * part
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        assert_eq!(Scale::new((0.0, 1.0), 0.0, 1.0).ticks(6), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(Scale::new((-3.0, 12.0), 0.0, 1.0).ticks(4), [0.0, 5.0, 10.0]);
        let powers = Scale::of_powers((0.02, 2000.0), 0.0, 1.0);
        assert_eq!(powers.ticks(6), [0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert!((powers.at(2.0) - 0.4).abs() < 1e-12);
        assert_eq!(
            [0.6000000000000001, 1500.0, 0.00002, -0.5, 3e10].map(tick_label),
            ["0.6", "1500", "2.0e-5", "−0.5", "3e10"]
        );
    }

    #[test]
    fn quantiles_lie_between() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        assert_eq!(quantile(&[1.0], 0.9), 1.0);
    }
}
