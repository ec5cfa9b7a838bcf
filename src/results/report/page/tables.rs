//! The tables of the comparison: the rows, their differences and their controls.

use super::{LISTED_STEPS, capital, heading, put, scroll};
use crate::compare::{Block, Cell, Comparison, Finding, Row};
use crate::markup::escape;
use crate::plot;
use crate::report::Report;
use crate::report::figures::colours;
use crate::statistics::Difference;
use engine::text::{count, number, signed};

/// A longer list of missing steps is folded.
const UNFOLDED_STEPS: usize = 10;

/// All tables of rows and of differences, with the notes that belong to them.
pub fn compared(report: &Report<'_>, comparison: &Comparison) -> String {
    let directions =
        comparison.metrics.iter().filter(|column| column.lower_is_better).map(|column| column.name.as_str());
    let lower: Vec<&str> = directions.collect();
    let lower =
        if lower.is_empty() { String::new() } else { format!(" Lower is better for {}.", lower.join(", ")) };
    let mut text = format!(
        "<p class=\"about\">{}; dots are single runs on the scale of their column. <span class=\"pill best\">best</span> marks what is \
         better than the next best: the 95 % interval of their paired difference excludes 0.{} Click a heading to sort.</p>",
        escape(&capital(&comparison.caption())),
        escape(&lower)
    );
    for block in &comparison.blocks {
        if !block.axes.is_empty() {
            put(&mut text, format_args!("<h3>{}</h3>", escape(&block.title())));
        }
        text.push_str(&block_table(comparison, block));
    }
    for block in &comparison.blocks {
        if let Some(table) = differences(comparison, block) {
            text.push_str(&table);
        }
    }
    for note in &comparison.notes {
        put(&mut text, format_args!("<p class=\"about\">{}.</p>", escape(&capital(note))));
    }
    if !comparison.missing.is_empty() {
        put(
            &mut text,
            format_args!(
                "<details{}><summary>{} without numbers</summary><ul>",
                if comparison.missing.len() <= UNFOLDED_STEPS { " open" } else { "" },
                count(comparison.missing.len(), "step")
            ),
        );
        for missing in comparison.missing.iter().take(LISTED_STEPS) {
            let name = &report.graph.steps[missing.node].name;
            put(&mut text, format_args!("<li><code>{}</code> {}</li>", escape(name), escape(&missing.why)));
        }
        text.push_str("</ul></details>");
    }
    text
}

fn block_table(comparison: &Comparison, block: &Block) -> String {
    let colours = colours(block);
    let mut table = format!(
        "<table class=\"compared\"><thead><tr>{}{}",
        heading(&comparison.rows_by, "ascending"),
        heading("n", "descending")
    );
    let metrics = block.metrics();
    for column in metrics.iter().map(|metric| &comparison.metrics[*metric]) {
        table.push_str(&heading(
            &column.name,
            if column.lower_is_better { "ascending" } else { "descending" },
        ));
    }
    table.push_str("</tr></thead><tbody>");
    let range =
        |metric: usize| plot::shared_range(block.rows.iter().flat_map(|row| row.cells[metric].values()));
    let ranges: Vec<(usize, (f64, f64))> = metrics.iter().map(|metric| (*metric, range(*metric))).collect();
    for (row, colour) in block.rows.iter().zip(colours) {
        put(&mut table, format_args!("<tr>{}<td class=\"number\">{}</td>", row_heading(row), row.counts()));
        for (metric, range) in &ranges {
            table.push_str(&value(&row.cells[*metric], *range, colour));
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table>");
    scroll(&within("Comparison by row", block), &table)
}

/// A label with the axis values that tell the block from other blocks.
fn within(label: &str, block: &Block) -> String {
    if block.axes.is_empty() { label.to_owned() } else { format!("{label}, {}", block.title()) }
}

fn row_heading(row: &Row) -> String {
    let control = if row.control { "<span class=\"pill control\">control</span>" } else { "" };
    let differs = differing(row);
    let apart = row.apart.as_ref().map_or_else(String::new, |why| {
        format!("<span class=\"differs\">not compared: {}</span>", escape(why))
    });
    let missing = match row.missing {
        0 => String::new(),
        missing => format!("<span class=\"differs\">{missing} of {} missing</span>", row.steps.len()),
    };
    let warned = match row.warned.is_empty() {
        true => String::new(),
        false => format!("<span class=\"bad\">warnings: {}</span>", escape(&row.warnings())),
    };
    format!("<th scope=\"row\">{}{control}{differs}{apart}{missing}{warned}</th>", escape(&row.name))
}

/// What a row differs in; a long list is collapsed.
fn differing(row: &Row) -> String {
    const SHOWN: usize = 4;
    let line = |(what, value): &(String, String)| {
        let text = escape(&format!("{what} = {value}"));
        // Allows long names to break between their parts.
        format!("<span class=\"differs\">{}</span>", text.replace('.', ".<wbr>").replace('_', "_<wbr>"))
    };
    let lines = |part: &[(String, String)]| part.iter().map(line).collect::<String>();
    match row.differs.split_at_checked(SHOWN) {
        Some((first, rest)) if rest.len() > 1 => format!(
            "{}<details class=\"differs\"><summary>{} more</summary>{}</details>",
            lines(first),
            rest.len(),
            lines(rest)
        ),
        _ => lines(&row.differs),
    }
}

fn value(cell: &Cell, range: (f64, f64), colour: usize) -> String {
    let Some(mean) = cell.mean() else { return "<td class=\"number\" data-value=\"\">–</td>".to_owned() };
    let spread = match (cell.deviation(), &cell.readings[..]) {
        (Some(deviation), _) => format!("± {}", number(deviation)),
        (None, [reading]) => reading
            .interval
            .map_or_else(String::new, |(low, high)| format!("[{}, {}]", number(low), number(high))),
        (None, _) => String::new(),
    };
    let best = if cell.best { "<span class=\"pill best\">best</span>" } else { "" };
    format!(
        "<td class=\"number\" data-value=\"{mean}\"><span class=\"mean\">{}</span> <span class=\"spread\">{spread}</span>{best}{}</td>",
        number(mean),
        plot::dots(&cell.values(), range, colour)
    )
}

fn differences(comparison: &Comparison, block: &Block) -> Option<String> {
    let baseline = block.baseline.as_ref()?;
    let found =
        |metric: usize| block.rows.iter().filter_map(move |row| row.cells[metric].difference.as_ref());
    let metrics = block.metrics();
    if metrics.iter().all(|metric| found(*metric).next().is_none()) {
        return None;
    }
    let ends_of = |found: &Difference| found.interval.map_or([found.mean; 2], |(low, high)| [low, high]);
    let range = |metric: usize| plot::shared_range(found(metric).flat_map(ends_of).chain([0.0]));
    let ranges: Vec<(usize, (f64, f64))> = metrics.iter().map(|metric| (*metric, range(*metric))).collect();
    let mut table = format!("<table><thead><tr>{}", heading(&comparison.rows_by, "ascending"));
    metrics
        .iter()
        .for_each(|metric| table.push_str(&heading(&comparison.metrics[*metric].name, "descending")));
    table.push_str("</tr></thead><tbody>");
    for row in block.rows.iter().filter(|row| row.name != *baseline) {
        put(&mut table, format_args!("<tr><th scope=\"row\">{}</th>", escape(&row.name)));
        for (metric, range) in &ranges {
            let cell = &row.cells[*metric];
            let Some(found) = &cell.difference else {
                table.push_str("<td class=\"number\" data-value=\"\">–</td>");
                continue;
            };
            let (interval, drawn) = match found.interval {
                Some((low, high)) => (
                    format!("[{}, {}]", signed(low), signed(high)),
                    plot::interval(low, found.mean, high, *range),
                ),
                None => (String::new(), String::new()),
            };
            let test = cell.holm.map_or_else(String::new, |holm| {
                format!("<span class=\"small\">p {:.2}, corrected {holm:.2}</span>", found.p)
            });
            put(
                &mut table,
                format_args!(
                    "<td class=\"number\" data-value=\"{}\"><span class=\"mean\">{}</span> <span class=\"spread below\">{interval}</span>{drawn}{test}</td>",
                    found.mean,
                    signed(found.mean)
                ),
            );
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table>");
    let title = within(&format!("Difference from {baseline}"), block);
    Some(format!(
        "<h3>{}</h3><p class=\"about\">Paired, run by run: mean and 95 % interval (Student's t); p of a permutation test of the signs, and \
         the same after Holm's correction for all tests shown.</p>{}",
        escape(&title),
        scroll(&format!("{title}, as a table"), &table)
    ))
}

/// The controls for the rows in question; those for the other rows are collapsed.
pub fn controls(report: &Report<'_>, comparison: &Comparison) -> String {
    let mut text = String::from(
        "<p class=\"about\">A control lacks what is being tested, for example the labels. Shown is each row minus its control, paired run by run; larger is better. If the 95 % interval \
         includes 0, the row is no better than its control, so its score does not come from what the control lacks.</p>",
    );
    for block in comparison.blocks.iter().filter(|block| !block.controls.is_empty()) {
        if !block.axes.is_empty() {
            put(&mut text, format_args!("<h3>{}</h3>", escape(&block.title())));
        }
        let leading = report.leading().filter(|leading| std::ptr::eq(leading.block, block));
        let asked = [block.baseline.as_deref(), leading.map(|leading| leading.row.name.as_str())];
        let mut pairs: Vec<(&str, &str)> =
            block.controls.iter().map(|finding| (finding.row.as_str(), finding.control.as_str())).collect();
        pairs.dedup();
        let (mut first, others): (Vec<_>, Vec<_>) = pairs
            .into_iter()
            .partition(|(row, _)| asked.iter().all(Option::is_none) || asked.contains(&Some(row)));
        first.sort_by_key(|(row, _)| asked.iter().position(|asked| *asked == Some(row)));
        text.push_str(&beside_controls(comparison, block, &first, "Rows beside controls"));
        if !others.is_empty() {
            put(
                &mut text,
                format_args!(
                    "<details class=\"long\"><summary>Every other row beside the controls</summary>{}</details>",
                    beside_controls(comparison, block, &others, "Other rows beside controls")
                ),
            );
        }
    }
    text
}

fn beside_controls(comparison: &Comparison, block: &Block, pairs: &[(&str, &str)], label: &str) -> String {
    let mut table = String::from("<table><thead><tr>");
    for name in ["row", "control"] {
        table.push_str(&heading(name, "ascending"));
    }
    let metrics = block.metrics();
    let columns = || metrics.iter().map(|metric| &comparison.metrics[*metric]);
    columns().for_each(|column| table.push_str(&heading(&column.name, "descending")));
    table.push_str("</tr></thead><tbody>");
    for (row, control) in pairs {
        put(
            &mut table,
            format_args!("<tr><th scope=\"row\">{}</th><td>{}</td>", escape(row), escape(control)),
        );
        for column in columns() {
            let of = |finding: &&Finding| {
                finding.row == *row && finding.control == *control && finding.metric == column.name
            };
            table.push_str(&verdict(block.controls.iter().find(of)));
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table>");
    scroll(&within(label, block), &table)
}

fn verdict(finding: Option<&Finding>) -> String {
    let Some(Finding { difference, explained, .. }) = finding else {
        return "<td class=\"number\" data-value=\"\">–</td>".to_owned();
    };
    let interval = difference
        .interval
        .map_or_else(String::new, |(low, high)| format!("[{}, {}]", signed(low), signed(high)));
    let verdict = match (explained, difference.interval) {
        (true, _) => "<strong class=\"bad\">no better than the control</strong>",
        (false, None) => "<span class=\"small\">ahead, in one run</span>",
        (false, Some(_)) => "<span class=\"small\">more than the control</span>",
    };
    format!(
        "<td class=\"number\" data-value=\"{}\"><span class=\"mean\">{}</span> <span class=\"spread below\">{interval}</span>{verdict}</td>",
        difference.mean,
        signed(difference.mean)
    )
}
