//! A row of dots for each of several names, with quartiles and median.

use super::{BOTTOM, COLOURS, RIGHT, Scale, TOP, WIDTH, open, put, quantile, range, tick_label};
use crate::markup::escape;
use engine::text::number;

/// A chart with a row of dots for each of several names.
pub struct Strips {
    /// The title.
    pub title: String,
    /// A description in words.
    pub about: String,
    /// The label of the horizontal axis.
    pub x: String,
    /// Name, values and colour.
    pub rows: Vec<(String, Vec<f64>, usize)>,
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
            // Spread vertically in a fixed pattern, so that equal values do not hide each other.
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
