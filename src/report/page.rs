//! The report as one HTML file that needs nothing else.

use super::figures::{Figure, Part, colours};
use super::origins::{self, StageRow};
use super::{Report, summary};
use crate::clock;
use crate::compare::{Block, Cell, Comparison, Finding, Row};
use crate::markup::escape;
use crate::plot;
use crate::statistics::Difference;
use crate::text::{self, count, number, signed};
use std::fmt::Write;

/// Steps beyond these are counted, not listed.
const LISTED_STEPS: usize = 400;

/// The whole page.
pub fn page(report: &Report<'_>, figures: &[Figure]) -> String {
    let stages = origins::stages(report);
    let title = escape(&report.graph.name);
    let mut parts: Vec<(&str, &str, String)> = vec![("summary", "Summary", summarised(report))];
    if let Ok(comparison) = &report.comparison {
        parts.push(("comparison", "Comparison", compared(report, comparison)));
        if comparison.blocks.iter().any(|block| block.rows.iter().any(|row| row.control)) {
            parts.push(("controls", "Controls", controls(comparison)));
        }
    }
    for (part, id, heading, about) in [
        (
            Part::Results,
            "curves",
            "Behind the numbers",
            "What the means stand for: where rows differ, and for how many.",
        ),
        (Part::Fitting, "fitting", "Fitting", "What was measured while models were fitted."),
        (Part::Findings, "findings", "Findings", "What the leading row found, in its first run."),
    ] {
        let drawn: String = figures.iter().filter(|figure| figure.part == part).map(shown).collect();
        if !drawn.is_empty() {
            parts.push((
                id,
                heading,
                format!("<p class=\"about\">{about}</p><div class=\"figures\">{drawn}</div>"),
            ));
        }
    }
    parts.push(("pipeline", "Pipeline", pipeline(report, &stages)));
    parts.push(("origins", "Origins", came_from(report)));
    parts.push(("again", "Make it again", again(report)));

    let links: String =
        parts.iter().map(|(id, heading, _)| format!("<li><a href=\"#{id}\">{heading}</a></li>")).collect();
    let sections: String = parts
        .iter()
        .map(|(id, heading, body)| format!("<section id=\"{id}\" aria-labelledby=\"{id}-heading\"><h2 id=\"{id}-heading\">{heading}</h2>{body}</section>\n"))
        .collect();
    let newest =
        origins::newest(report).map_or_else(String::new, |date| format!(" · newest result of {date}"));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><link rel=\"icon\" href=\"data:,\"><style>{}{}</style></head>\n<body>\
         <a class=\"skip\" href=\"#summary\">To the summary</a>\
         <header><h1>{title}</h1><p class=\"meta\">{} · {}{newest}</p></header>\n\
         <nav aria-label=\"Parts of this page\"><ul>{links}</ul></nav>\n<main>\n{sections}</main>\n\
         <footer><p>Made by pipeline {} from the cache; nothing on this page was typed in.</p></footer>\
         <p id=\"told\" class=\"hidden\" role=\"status\"></p><script>{}</script></body></html>\n",
        super::PLOT_COLOURS,
        include_str!("page.css"),
        escape(&origins::file_name(report)),
        count(report.survey.plan.steps().count(), "step"),
        env!("CARGO_PKG_VERSION"),
        include_str!("page.js"),
    )
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all");
}

fn summarised(report: &Report<'_>) -> String {
    let mut text: String = summary::sentences(report)
        .iter()
        .map(|sentence| format!("<p class=\"lead\">{}</p>", escape(sentence)))
        .collect();
    if let Ok(comparison) = &report.comparison {
        for warning in &comparison.warnings {
            put(
                &mut text,
                format_args!(
                    "<p class=\"warning\" role=\"note\"><strong>Warning.</strong> {}.</p>",
                    escape(&capital(warning))
                ),
            );
        }
    }
    text
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn compared(report: &Report<'_>, comparison: &Comparison) -> String {
    let directions =
        comparison.metrics.iter().filter(|column| column.lower_is_better).map(|column| column.name.as_str());
    let lower: Vec<&str> = directions.collect();
    let lower =
        if lower.is_empty() { String::new() } else { format!(" Of {} less is better.", lower.join(", ")) };
    let mut text = format!(
        "<p class=\"about\">{}; dots are single runs on the scale of their column. <span class=\"pill best\">best</span> marks what is better than \
         the next one by more than the error of their paired difference (95 %).{} Headings sort.</p>",
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
                "<details open><summary>{} without numbers</summary><ul>",
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

fn scroll(label: &str, table: &str) -> String {
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">{table}</div>",
        escape(label)
    )
}

fn heading(name: &str, first: &str) -> String {
    format!("<th scope=\"col\" data-first=\"{first}\"><button type=\"button\">{}</button></th>", escape(name))
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
    let label = if block.axes.is_empty() {
        "Comparison".to_owned()
    } else {
        format!("Comparison, {}", block.title())
    };
    scroll(&label, &table)
}

fn row_heading(row: &Row) -> String {
    let control = if row.control { "<span class=\"pill control\">control</span>" } else { "" };
    let differs: String = row
        .differs
        .iter()
        .map(|(what, value)| format!("<span class=\"differs\">{} = {}</span>", escape(what), escape(value)))
        .collect();
    let apart = row.apart.as_ref().map_or_else(String::new, |why| {
        format!("<span class=\"differs\">not compared: {}</span>", escape(why))
    });
    let missing = match row.missing {
        0 => String::new(),
        missing => format!("<span class=\"differs\">{missing} of {} missing</span>", row.steps.len()),
    };
    format!("<th scope=\"row\">{}{control}{differs}{apart}{missing}</th>", escape(&row.name))
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
                    "<td class=\"number\" data-value=\"{}\"><span class=\"mean\">{}</span> <span class=\"spread\">{interval}</span>{drawn}{test}</td>",
                    found.mean,
                    signed(found.mean)
                ),
            );
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table>");
    let within = if block.axes.is_empty() { String::new() } else { format!(", {}", block.title()) };
    Some(format!(
        "<h3>Difference from {}{}</h3><p class=\"about\">Paired, run by run: mean and 95 % interval (Student's t); p of a permutation test of the signs, and \
         the same after Holm's correction for all tests shown.</p>{}",
        escape(baseline),
        escape(&within),
        scroll(&format!("Difference from {baseline}{within}"), &table)
    ))
}

fn controls(comparison: &Comparison) -> String {
    let mut text = String::from(
        "<p class=\"about\">A control lacks the very thing whose worth is asked. Shown is row minus control, paired run by run, the better the larger. A row that is no better than its control by more than the error owes \
         its score to something else.</p>",
    );
    for block in &comparison.blocks {
        if block.controls.is_empty() {
            continue;
        }
        let mut table = String::from("<table><thead><tr>");
        for name in ["row", "control"] {
            table.push_str(&heading(name, "ascending"));
        }
        let metrics = block.metrics();
        let columns = || metrics.iter().map(|metric| &comparison.metrics[*metric]);
        columns().for_each(|column| table.push_str(&heading(&column.name, "descending")));
        table.push_str("</tr></thead><tbody>");
        let mut pairs: Vec<(&str, &str)> =
            block.controls.iter().map(|finding| (finding.row.as_str(), finding.control.as_str())).collect();
        pairs.dedup();
        for (row, control) in pairs {
            put(
                &mut table,
                format_args!("<tr><th scope=\"row\">{}</th><td>{}</td>", escape(row), escape(control)),
            );
            for column in columns() {
                let of = |finding: &&Finding| {
                    finding.row == row && finding.control == control && finding.metric == column.name
                };
                table.push_str(&verdict(block.controls.iter().find(of)));
            }
            table.push_str("</tr>");
        }
        table.push_str("</tbody></table>");
        if !block.axes.is_empty() {
            put(&mut text, format_args!("<h3>{}</h3>", escape(&block.title())));
        }
        text.push_str(&scroll("Controls", &table));
    }
    text
}

fn verdict(finding: Option<&Finding>) -> String {
    let Some(Finding { difference, explained, .. }) = finding else {
        return "<td class=\"number\" data-value=\"\">–</td>".to_owned();
    };
    let interval = difference
        .interval
        .map_or_else(String::new, |(low, high)| format!("[{}, {}]", signed(low), signed(high)));
    let verdict = match (explained, difference.interval) {
        (true, _) => "<strong class=\"bad\">explained by the control</strong>",
        (false, None) => "<span class=\"small\">ahead, in one run</span>",
        (false, Some(_)) => "<span class=\"small\">more than the control</span>",
    };
    format!(
        "<td class=\"number\" data-value=\"{}\"><span class=\"mean\">{}</span> <span class=\"spread\">{interval}</span><br>{verdict}</td>",
        difference.mean,
        signed(difference.mean)
    )
}

fn shown(figure: &Figure) -> String {
    let legend: String = figure
        .legend
        .iter()
        .map(|(colour, name)| {
            let swatch = match *colour {
                usize::MAX => "<svg class=\"swatch\" viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path d=\"M1 4H27\" stroke=\"var(--muted)\" stroke-width=\"2\" stroke-dasharray=\"2 4\"/></svg>".to_owned(),
                colour => plot::swatch(colour),
            };
            format!("<li>{swatch}{}</li>", escape(name))
        })
        .collect();
    let legend = if legend.is_empty() { legend } else { format!("<ul class=\"legend\">{legend}</ul>") };
    let table = figure.table.as_ref().map_or_else(String::new, |(heading, rows)| {
        let head: String =
            heading.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
        let body: String = rows
            .iter()
            .map(|row| {
                format!(
                    "<tr>{}</tr>",
                    row.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect::<String>()
                )
            })
            .collect();
        format!("<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    });
    let drawing = format!("<div class=\"drawing\">{}</div>", figure.svg);
    let caption = format!("<figcaption>{}</figcaption>", escape(&figure.caption));
    match (figure.wide, table.is_empty()) {
        (true, false) => format!(
            "<figure class=\"wide\"><div class=\"beside\">{drawing}{table}</div>{legend}{caption}</figure>\n"
        ),
        (true, true) => format!("<figure class=\"wide\">{drawing}{legend}{caption}</figure>\n"),
        (false, true) => format!("<figure>{drawing}{legend}{caption}</figure>\n"),
        (false, false) => format!(
            "<figure>{drawing}{legend}{caption}<details><summary>As a table</summary>{table}</details></figure>\n"
        ),
    }
}

fn pipeline(report: &Report<'_>, stages: &[StageRow]) -> String {
    let mut text = String::from(
        "<p class=\"about\">Each box is a stage; solid where all of its steps have artifacts. Times are what making them took, whenever that was.</p>",
    );
    put(
        &mut text,
        format_args!(
            "<div class=\"graph\" role=\"region\" aria-label=\"Stages\" tabindex=\"0\">{}</div>",
            origins::drawing(report, stages)
        ),
    );
    let mut table = String::from("<table><thead><tr>");
    for (name, first) in [
        ("stage", "ascending"),
        ("kind", "ascending"),
        ("steps", "descending"),
        ("computed by the newest run", "descending"),
        ("time", "descending"),
        ("size", "descending"),
        ("device", "ascending"),
        ("version", "ascending"),
    ] {
        table.push_str(&heading(name, first));
    }
    table.push_str("</tr></thead><tbody>");
    let list =
        |names: &indexmap::IndexSet<String>| escape(&names.iter().cloned().collect::<Vec<_>>().join(", "));
    for row in stages {
        let adopted = if row.adopted > 0 {
            format!(" <span class=\"small\">{} adopted</span>", row.adopted)
        } else {
            String::new()
        };
        put(
            &mut table,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td data-value=\"{}\">{}{adopted}</td><td data-value=\"{}\">{}</td><td class=\"number\" data-value=\"{}\">{}</td><td class=\"number\" data-value=\"{}\">{}</td><td>{}</td><td>{}</td></tr>",
                escape(&row.name),
                list(&row.kinds),
                row.there,
                if row.there == row.steps {
                    row.steps.to_string()
                } else {
                    format!("{} of {}", row.there, row.steps)
                },
                row.computed,
                row.computed,
                row.seconds,
                text::seconds(row.seconds),
                row.bytes,
                text::bytes(row.bytes),
                list(&row.devices),
                list(&row.versions)
            ),
        );
    }
    table.push_str("</tbody></table>");
    text.push_str(&scroll("Stages", &table));
    text
}

fn came_from(report: &Report<'_>) -> String {
    let mut text = String::from("<dl>");
    let mut line =
        |name: &str, value: &str| put(&mut text, format_args!("<dt>{name}</dt><dd>{}</dd>", escape(value)));
    if let Some(run) = &report.last_run {
        let ended = run.ended.as_ref().map_or_else(
            || "did not end".to_owned(),
            |ended| {
                format!(
                    "{} computed, {} cached, {} failed, in {}",
                    ended.computed,
                    ended.cached,
                    ended.failed,
                    text::seconds(ended.seconds)
                )
            },
        );
        line(
            "newest run",
            &format!("{} on {}, {}; {ended}", run.begun.run, run.begun.host, clock::date(run.begun.at)),
        );
        line("program", &format!("pipeline {}", run.begun.version));
        line("command line", &run.begun.arguments.join(" "));
    }
    let axes: indexmap::IndexMap<&str, indexmap::IndexSet<&str>> =
        report.survey.plan.steps().fold(indexmap::IndexMap::new(), |mut axes, node| {
            for (axis, label) in &report.graph.steps[node].axes {
                axes.entry(axis.as_str()).or_insert_with(indexmap::IndexSet::new).insert(label.as_str());
            }
            axes
        });
    for (axis, labels) in axes {
        line(&escape(axis), &labels.into_iter().collect::<Vec<_>>().join(", "));
    }
    text.push_str("</dl>");
    let inputs = origins::inputs(report);
    if !inputs.is_empty() {
        text.push_str("<h3>Inputs</h3>");
        let mut table = String::from(
            "<table><thead><tr><th scope=\"col\">file</th><th scope=\"col\">blake3</th><th scope=\"col\">read by</th></tr></thead><tbody>",
        );
        for (file, digest, stages) in inputs {
            let digest = digest.map_or_else(|| "unknown".to_owned(), |digest| digest.to_string());
            put(
                &mut table,
                format_args!(
                    "<tr><th scope=\"row\">{}</th><td class=\"wide\"><code>{digest}</code></td><td>{}</td></tr>",
                    escape(&file),
                    escape(&stages.join(", "))
                ),
            );
        }
        table.push_str("</tbody></table>");
        text.push_str(&scroll("Inputs", &table));
    }
    text.push_str(&steps(report));
    for why in &report.exhibits.unreadable {
        put(
            &mut text,
            format_args!("<p class=\"about\">Not shown, because it cannot be read: {}</p>", escape(why)),
        );
    }
    text
}

fn steps(report: &Report<'_>) -> String {
    let nodes: Vec<_> = report.survey.plan.steps().collect();
    let mut table = String::from("<table><thead><tr>");
    for (name, first) in [
        ("step", "ascending"),
        ("state", "ascending"),
        ("made", "ascending"),
        ("time", "descending"),
        ("key", "ascending"),
    ] {
        table.push_str(&heading(name, first));
    }
    table.push_str("</tr></thead><tbody>");
    for node in nodes.iter().take(LISTED_STEPS) {
        let name = &report.graph.steps[*node].name;
        let (made, seconds, key) = match report.manifests.get(node) {
            Some(manifest) => (clock::date(manifest.at), Some(manifest.seconds), manifest.key.short()),
            None => ("–".to_owned(), None, "–".to_owned()),
        };
        put(
            &mut table,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{made}</td><td class=\"number\" data-value=\"{}\">{}</td><td><code>{key}</code></td></tr>",
                escape(name),
                origins::standing(report, *node),
                seconds.map_or_else(String::new, |seconds| seconds.to_string()),
                seconds.map_or_else(|| "–".to_owned(), text::seconds)
            ),
        );
    }
    table.push_str("</tbody></table>");
    let more = nodes.len().saturating_sub(LISTED_STEPS);
    let more = if more > 0 {
        format!("<p class=\"about\">{more} more steps are not listed.</p>")
    } else {
        String::new()
    };
    format!(
        "<details><summary>{}, one by one</summary>{}{more}</details>",
        capital(&count(nodes.len(), "step")),
        scroll("Steps", &table)
    )
}

fn again(report: &Report<'_>) -> String {
    format!(
        "<p class=\"about\">With the same files this gives the same numbers; what is in the cache is not computed again.</p><pre><code>{}</code></pre>\
         <p class=\"about\">What any step depended on, component by component: <code>pipeline why {} STEP</code>.</p>",
        escape(&report.command),
        escape(&origins::file_name(report))
    )
}
