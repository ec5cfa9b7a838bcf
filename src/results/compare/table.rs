//! A comparison as a table for the terminal, Markdown, LaTeX and spreadsheets.

use super::{Block, Cell, Comparison, Missing, Row};
use crate::output;
use crate::statistics::Difference;
use engine::graph::Graph;
use engine::text::{number, signed};

/// The format of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Aligned columns.
    Text,
    /// A table with pipes.
    Markdown,
    /// `tabular` with the rules of booktabs.
    Latex,
    /// Comma-separated values, one number per cell.
    Csv,
}

/// Rows of text below a heading.
pub struct Grid {
    /// The line above the table; may be empty.
    pub title: String,
    /// The columns.
    pub heading: Vec<String>,
    /// Each cell, and whether it is emphasised.
    pub rows: Vec<Vec<(String, bool)>>,
}

impl Comparison {
    /// The whole comparison in a layout.
    pub fn lay_out(&self, graph: &Graph, layout: Layout) -> String {
        let mut text = match layout {
            Layout::Text => output::paragraph(&format!("{}: {}", graph.name, self.caption())),
            Layout::Markdown => format!("**{}**: {}\n", markdown_escape(&graph.name), self.caption()),
            Layout::Latex => format!("% {}: {}\n", graph.name, self.caption()),
            Layout::Csv => return self.csv().lay_out(Layout::Csv),
        };
        for block in &self.blocks {
            text.push('\n');
            text.push_str(&self.grid(block).lay_out(layout));
        }
        for block in &self.blocks {
            if let Some(grid) = self.differences(block) {
                text.push('\n');
                text.push_str(&grid.lay_out(layout));
            }
        }
        let comment = if layout == Layout::Latex { "% " } else { "" };
        let said = self.remarks(graph);
        if !said.is_empty() {
            text.push('\n');
        }
        for line in said {
            text.push_str(&match layout {
                Layout::Text => output::paragraph(&line),
                Layout::Markdown => format!("- {}\n", markdown_escape(&line)),
                _ => format!("{comment}{line}\n"),
            });
        }
        text
    }

    /// Explains the numbers.
    pub fn caption(&self) -> String {
        match self.over.is_empty() {
            true => "one value for each row".to_owned(),
            false => format!("mean ± sd over {}", self.over.join(", ")),
        }
    }

    /// The notes, warnings and other remarks below the table, one per line.
    pub fn remarks(&self, graph: &Graph) -> Vec<String> {
        let rows = || self.blocks.iter().flat_map(|block| &block.rows);
        let mut lines = Vec::new();
        if rows().any(|row| row.cells.iter().any(|cell| cell.best)) {
            let what = "better than the next best: the 95 % interval of their paired difference excludes 0";
            lines.push(format!("* {what}"));
        }
        if rows().any(|row| row.control) {
            lines.push("† a control: only what exceeds its score is evidence for a method".to_owned());
        }
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines.extend(self.upstream.iter().map(|upstream| format!("warning: {}", upstream.sentence(graph))));
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        const SHOWN: usize = 20;
        for Missing { node, why } in self.missing.iter().take(SHOWN) {
            lines.push(format!("missing: {} {why}", graph.steps[*node].name));
        }
        if self.missing.len() > SHOWN {
            lines.push(format!("missing: {} more; --json names them all", self.missing.len() - SHOWN));
        }
        lines
    }

    fn grid(&self, block: &Block) -> Grid {
        let metrics = block.metrics();
        let n = block.rows.iter().any(|row| row.counts() != "1");
        let differs = block.rows.iter().any(|row| !row.differs.is_empty());
        let warned = block.rows.iter().any(|row| !row.warned.is_empty());
        let mut heading = vec![self.rows_by.clone()];
        heading.extend(n.then(|| "n".to_owned()));
        heading.extend(metrics.iter().map(|metric| self.metrics[*metric].name.clone()));
        heading.extend(warned.then(|| "warnings".to_owned()));
        heading.extend(differs.then(|| "differs in".to_owned()));
        let row = |row: &Row| {
            let mark = if row.control { "†" } else { "" };
            let mut cells = vec![(format!("{}{mark}", row.name), false)];
            cells.extend(n.then(|| (row.counts(), false)));
            cells.extend(metrics.iter().map(|metric| (shown(&row.cells[*metric]), row.cells[*metric].best)));
            cells.extend(warned.then(|| (row.warnings(), false)));
            let differs_in = || {
                let parts = row.differs.iter().map(|(what, value)| format!("{what} = {value}"));
                (parts.collect::<Vec<_>>().join("; "), false)
            };
            cells.extend(differs.then(differs_in));
            cells
        };
        Grid { title: block.title(), heading, rows: block.rows.iter().map(row).collect() }
    }

    fn differences(&self, block: &Block) -> Option<Grid> {
        let baseline = block.baseline.as_ref()?;
        let metrics = block.metrics();
        let mut heading = vec![self.rows_by.clone()];
        heading.extend(metrics.iter().map(|metric| self.metrics[*metric].name.clone()));
        let rows = block.rows.iter().filter(|row| row.name != *baseline).map(|row| {
            let of = |metric: &usize| {
                let Cell { difference: found, holm, .. } = &row.cells[*metric];
                (found.as_ref().map_or_else(|| "–".to_owned(), |found| difference(found, *holm)), false)
            };
            std::iter::once((row.name.clone(), false)).chain(metrics.iter().map(of)).collect()
        });
        let about = if block.axes.is_empty() { String::new() } else { format!(", {}", block.title()) };
        let title = format!(
            "difference from {baseline}{about}: mean [95 % interval], permutation p, p after Holm's correction for all tests shown"
        );
        Some(Grid { title, heading, rows: rows.collect() })
    }

    /// One line for each row and one number for each cell.
    fn csv(&self) -> Grid {
        let mut axes: Vec<&str> = Vec::new();
        for (axis, _) in self.blocks.iter().flat_map(|block| &block.axes) {
            if !axes.contains(&axis.as_str()) {
                axes.push(axis);
            }
        }
        let with_baseline = self.blocks.iter().any(|block| block.baseline.is_some());
        let mut heading: Vec<String> = axes.iter().map(|axis| (*axis).to_owned()).collect();
        heading.extend([self.rows_by.clone(), "control".into(), "differs_in".into(), "missing".into()]);
        for column in &self.metrics {
            let name = &column.name;
            heading.extend([name.clone(), format!("{name}_sd"), format!("{name}_n"), format!("{name}_best")]);
            if with_baseline {
                let more = ["difference", "low", "high", "p", "p_holm"];
                heading.extend(more.map(|suffix| format!("{name}_{suffix}")));
            }
        }
        heading.push("warnings".to_owned());
        let plain = |value: Option<f64>| (value.map_or_else(String::new, |value| value.to_string()), false);
        let row = |block: &Block, row: &Row| {
            let value =
                |axis: &&str| block.axes.iter().find(|(name, _)| name == axis).map_or("", |(_, value)| value);
            let mut cells: Vec<(String, bool)> =
                axes.iter().map(|axis| (value(axis).to_owned(), false)).collect();
            let differs: Vec<String> =
                row.differs.iter().map(|(what, value)| format!("{what}={value}")).collect();
            let about =
                [row.name.clone(), row.control.to_string(), differs.join("; "), row.missing.to_string()];
            cells.extend(about.map(|text| (text, false)));
            for cell in &row.cells {
                cells.extend([plain(cell.mean()), plain(cell.deviation())]);
                cells.extend(
                    [cell.readings.len().to_string(), cell.best.to_string()].map(|text| (text, false)),
                );
                if with_baseline {
                    let found = cell.difference.as_ref();
                    let interval = found.and_then(|found| found.interval);
                    cells.extend([
                        plain(found.map(|found| found.mean)),
                        plain(interval.map(|(low, _)| low)),
                        plain(interval.map(|(_, high)| high)),
                        plain(found.filter(|found| found.pairs > 1).map(|found| found.p)),
                        plain(cell.holm),
                    ]);
                }
            }
            cells.push((row.warnings(), false));
            cells
        };
        let rows = self.blocks.iter().flat_map(|block| block.rows.iter().map(move |of| (block, of)));
        Grid { title: String::new(), heading, rows: rows.map(|(block, of)| row(block, of)).collect() }
    }
}

impl Block {
    /// The axis values that distinguish it from other blocks.
    pub fn title(&self) -> String {
        let parts: Vec<String> = self.axes.iter().map(|(axis, value)| format!("{axis} {value}")).collect();
        parts.join(", ")
    }
}

impl Row {
    /// Which stages behind it warned, and how many of their steps, as far as not every row has the same behind it.
    pub fn warnings(&self) -> String {
        let stages = self.warned.iter().map(|(stage, steps)| format!("{steps} of {stage}"));
        stages.collect::<Vec<_>>().join(", ")
    }

    /// How many values its means are taken over, for every metric that it has.
    pub fn counts(&self) -> String {
        let counts = || self.cells.iter().map(|cell| cell.readings.len()).filter(|count| *count > 0);
        match (counts().min(), counts().max()) {
            (Some(least), Some(most)) if least != most => format!("{least}–{most}"),
            (Some(least), _) => least.to_string(),
            _ => "0".to_owned(),
        }
    }
}

/// Mean and spread; for a single value, its own interval if it has one.
fn shown(cell: &Cell) -> String {
    let Some(mean) = cell.mean() else { return "–".to_owned() };
    let spread = match (cell.deviation(), &cell.readings[..]) {
        (Some(deviation), _) => format!(" ± {}", number(deviation)),
        (None, [reading]) => reading
            .interval
            .map_or_else(String::new, |(low, high)| format!(" [{}, {}]", number(low), number(high))),
        (None, _) => String::new(),
    };
    format!("{}{spread}", number(mean))
}

/// A paired difference in a cell.
pub fn difference(found: &Difference, holm: Option<f64>) -> String {
    let Difference { pairs, mean, interval, p } = found;
    let interval =
        interval.map_or_else(String::new, |(low, high)| format!(" [{}, {}]", signed(low), signed(high)));
    let test = match holm {
        Some(holm) => format!(", p {p:.2}, Holm {holm:.2}"),
        None if *pairs > 1 => format!(", p {p:.2}"),
        None => String::new(),
    };
    format!("{}{interval}{test}", signed(*mean))
}

impl Grid {
    /// The table in a layout.
    pub fn lay_out(&self, layout: Layout) -> String {
        match layout {
            Layout::Text => self.text(),
            Layout::Markdown => self.markdown(),
            Layout::Latex => self.latex(),
            Layout::Csv => self.csv(),
        }
    }

    fn text(&self) -> String {
        let mut rows = vec![self.heading.iter().map(|name| output::strong(name)).collect::<Vec<_>>()];
        let marked = |(text, stands_out): &(String, bool)| match stands_out {
            true => output::strong(&format!("{text} *")),
            false => text.clone(),
        };
        rows.extend(self.rows.iter().map(|row| row.iter().map(marked).collect::<Vec<_>>()));
        let title = if self.title.is_empty() { String::new() } else { output::paragraph(&self.title) };
        title + &output::table(&rows)
    }

    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = if self.title.is_empty() {
            String::new()
        } else {
            format!("{}\n\n", markdown_escape(&self.title))
        };
        text.push_str(&line(self.heading.iter().map(|cell| markdown_escape(cell)).collect()));
        let rules =
            (0..self.heading.len()).map(|i| if i == 0 { "---".to_owned() } else { "---:".to_owned() });
        text.push_str(&line(rules.collect()));
        for row in &self.rows {
            let cell = |(text, stands_out): &(String, bool)| match stands_out {
                true => format!("**{}** \\*", markdown_escape(text)),
                false => markdown_escape(text),
            };
            text.push_str(&line(row.iter().map(cell).collect()));
        }
        text
    }

    fn latex(&self) -> String {
        let columns = "r".repeat(self.heading.len().saturating_sub(1));
        let title = if self.title.is_empty() { String::new() } else { format!("% {}\n", self.title) };
        let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
        let mut text = format!("{title}\\begin{{tabular}}{{l{columns}}}\n\\toprule\n");
        text.push_str(&line(self.heading.iter().map(|cell| latex_escape(cell)).collect()));
        text.push_str("\\midrule\n");
        for row in &self.rows {
            let cell = |(text, stands_out): &(String, bool)| match stands_out {
                true => format!("\\textbf{{{}}}", latex_escape(text)),
                false => latex_escape(text),
            };
            text.push_str(&line(row.iter().map(cell).collect()));
        }
        text.push_str("\\bottomrule\n\\end{tabular}\n");
        text
    }

    fn csv(&self) -> String {
        let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let line = |cells: Vec<String>| format!("{}\n", cells.join(","));
        let mut text = line(self.heading.iter().map(|cell| quoted(cell)).collect());
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|(cell, _)| quoted(cell)).collect()));
        }
        text
    }
}

/// Text that Markdown shows as it is.
fn markdown_escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '|' | '*' | '_' | '`' | '<' | '[' | ']' | '\\') {
            shown.push('\\');
        }
        shown.push(c);
    }
    shown
}

fn latex_escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => shown.extend(['\\', c]),
            '\\' => shown.push_str("\\textbackslash{}"),
            '~' => shown.push_str("\\textasciitilde{}"),
            '^' => shown.push_str("\\textasciicircum{}"),
            '±' => shown.push_str("$\\pm$"),
            '−' => shown.push_str("$-$"),
            '–' => shown.push_str("--"),
            '†' => shown.push_str("$^\\dagger$"),
            '…' => shown.push_str("\\ldots{}"),
            c => shown.push(c),
        }
    }
    shown
}
