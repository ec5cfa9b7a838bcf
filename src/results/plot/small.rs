//! Drawings that fit in a line: of a table cell, a legend or a terminal.

use super::{COLOURS, Scale, dashes, put, reference_dashes};

/// The mark of a legend entry.
#[derive(Debug, Clone, Copy)]
pub enum Mark {
    /// A line of this colour.
    Line(usize),
    /// A dot of this colour.
    Dot(usize),
    /// The reference line of this number.
    Reference(usize),
}

/// A mark as a legend shows it.
pub fn swatch(mark: Mark) -> String {
    let drawn = match mark {
        Mark::Line(colour) => format!(
            "<path d=\"M1 4H27\" stroke=\"var(--c{})\" stroke-width=\"2.4\" stroke-dasharray=\"{}\"/>",
            colour % COLOURS,
            dashes(colour)
        ),
        Mark::Dot(colour) => {
            format!("<circle cx=\"14\" cy=\"4\" r=\"4\" fill=\"var(--c{})\"/>", colour % COLOURS)
        }
        Mark::Reference(number) => format!(
            "<path d=\"M1 4H27\" stroke=\"var(--muted)\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>",
            reference_dashes(number)
        ),
    };
    format!("<svg class=\"swatch\" viewBox=\"0 0 28 8\" aria-hidden=\"true\">{drawn}</svg>")
}

/// The values of one table cell on the scale of its column: dots, and a tick at their mean.
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

/// A line for a terminal that shows each value as one of eight heights.
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
    fn a_sparkline_is_as_wide_as_asked_and_rises_with_its_values() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 7.0], 10), "▁▂▃█");
        assert_eq!(sparkline(&(0..80).map(f64::from).collect::<Vec<_>>(), 8), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, 1.0], 8), "▁▁");
        assert_eq!(sparkline(&[], 8), "");
    }
}
