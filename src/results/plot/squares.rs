//! A square for each pair of names, darker where there is more.

use super::{open, put};
use crate::markup::escape;

/// The side of a square, and the space around the drawing.
const SIDE: f64 = 30.0;
const MARGIN: f64 = 8.0;
const CHARACTER: f64 = 7.0;
/// Longer names are cut.
const LONGEST: usize = 24;

/// Counts by row and column, which have the same names.
pub struct Squares {
    /// The title.
    pub title: String,
    /// A description in words.
    pub about: String,
    /// The names.
    pub names: Vec<String>,
    /// A row of counts for each name.
    pub counts: Vec<Vec<f64>>,
}

/// Draws the counts, each square as dark as its share of its row.
pub fn squares(chart: &Squares) -> String {
    let Squares { title, about, names, counts } = chart;
    let shown: Vec<String> = names.iter().map(|name| cut(name)).collect();
    let longest = shown.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = longest as f64 * CHARACTER + 2.0 * MARGIN;
    let size = SIDE * names.len() as f64;
    // Names of columns are numbers: the text of most types would not fit.
    let top = 2.0 * SIDE / 3.0;
    let mut svg = open(title, about, left + size + MARGIN, top + size + MARGIN);
    for (row, (name, counts)) in shown.iter().zip(counts).enumerate() {
        let (y, total) = (top + SIDE * row as f64, counts.iter().sum::<f64>());
        let middle = y + SIDE / 2.0 + 4.0;
        put(
            &mut svg,
            format_args!(
                "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\">{} {}</text>\n<text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>\n",
                left - MARGIN,
                escape(name),
                row + 1,
                left + SIDE * (row as f64 + 0.5),
                top - MARGIN,
                row + 1
            ),
        );
        for (column, count) in counts.iter().enumerate() {
            let x = left + SIDE * column as f64;
            let share = if total > 0.0 { count / total } else { 0.0 };
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"var(--c0)\" \
                     fill-opacity=\"{:.2}\" stroke=\"var(--faint)\"/>",
                    0.7 * share
                ),
            );
            if *count > 0.0 {
                put(
                    &mut svg,
                    format_args!(
                        "<text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"middle\">{count}</text>\n",
                        x + SIDE / 2.0
                    ),
                );
            }
        }
    }
    svg + "</svg>"
}

fn cut(name: &str) -> String {
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::{Squares, squares};

    #[test]
    fn a_square_is_as_dark_as_its_share_of_the_row() {
        let svg = squares(&Squares {
            title: "t".into(),
            about: "a".into(),
            names: vec!["B".into(), "a type whose name is long, and longer".into()],
            counts: vec![vec![3.0, 1.0], vec![0.0, 0.0]],
        });
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(svg.contains("fill-opacity=\"0.52\"") && svg.contains("fill-opacity=\"0.17\""), "{svg}");
        assert_eq!(svg.matches("fill-opacity=\"0.00\"").count(), 2);
        assert!(svg.contains(">a type whose name is lo… 2<") && svg.ends_with("</svg>"), "{svg}");
    }
}
