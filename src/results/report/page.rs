//! The report as one self-contained HTML file.

mod provenance;
mod tables;

use super::figures::{Figure, Part};
use super::{Report, origins, summary};
use crate::compare::Upstream;
use crate::markup::escape;
use crate::plot;
use engine::text::count;
use std::fmt::Write;

/// At most this many steps are listed; the others are only counted.
const LISTED_STEPS: usize = 400;

/// The whole page.
pub fn page(report: &Report<'_>, figures: &[Figure]) -> String {
    let stages = origins::stages(report);
    let title = escape(&report.graph.name);
    let mut parts: Vec<(&str, &str, String)> = vec![("summary", "Summary", summarised(report))];
    if let Ok(comparison) = &report.comparison {
        parts.push(("comparison", "Comparison", tables::compared(report, comparison)));
        if comparison.blocks.iter().any(|block| !block.controls.is_empty()) {
            parts.push(("controls", "Controls", tables::controls(report, comparison)));
        }
    }
    for (part, id, heading, about) in [
        (
            Part::Results,
            "curves",
            "Behind the numbers",
            "The curves and the scores of single groups behind the means.",
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
    if !report.warned.is_empty() {
        parts.push(("warnings", "Warnings", warnings(report)));
    }
    parts.push(("pipeline", "Pipeline", provenance::pipeline(report, &stages)));
    parts.push(("origins", "Origins", provenance::came_from(report)));
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
    let mut warn = |warning: &str| {
        put(
            &mut text,
            format_args!(
                "<p class=\"warning\" role=\"note\"><strong>Warning.</strong> {}.</p>",
                escape(&capital(warning))
            ),
        );
    };
    if let Ok(comparison) = &report.comparison {
        comparison.warnings.iter().for_each(|warning| warn(warning));
        if let Some(leading) = report.leading() {
            let name = &leading.row.name;
            let behind = comparison.upstream.iter().filter(|upstream| upstream.rows.contains(name));
            let stages: indexmap::IndexSet<&str> =
                behind.map(|upstream| upstream.warned.stage.as_str()).collect();
            let stages: Vec<&str> = stages.into_iter().collect();
            if !stages.is_empty() {
                warn(&format!(
                    "{name} is computed from steps that warned, of {}: see Warnings",
                    stages.join(", ")
                ));
            }
        }
    }
    text
}

/// What steps warned of, and which rows are computed from them.
fn warnings(report: &Report<'_>) -> String {
    let mut table = String::from("<table><thead><tr>");
    let mut titles = vec!["steps", "warning"];
    titles.extend(report.comparison.is_ok().then_some("rows computed from them"));
    titles.iter().for_each(|name| table.push_str(&heading(name, "ascending")));
    table.push_str("</tr></thead><tbody>");
    for warned in &report.warned {
        put(
            &mut table,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"wide\">{}</td>",
                escape(&warned.who(report.graph)),
                escape(&warned.text)
            ),
        );
        if let Ok(comparison) = &report.comparison {
            let same = comparison.upstream.iter().find(|upstream| {
                upstream.warned.text == warned.text && upstream.warned.stage == warned.stage
            });
            let rows = same.map_or_else(|| "none".to_owned(), Upstream::shown_rows);
            put(&mut table, format_args!("<td>{}</td>", escape(&rows)));
        }
        table.push_str("</tr>");
    }
    table.push_str("</tbody></table>");
    format!(
        "<p class=\"about\">What steps said about their results when they were computed.</p>{}",
        scroll("Table of warnings", &table)
    )
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
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

fn shown(figure: &Figure) -> String {
    let legend: String = figure
        .legend
        .iter()
        .map(|(mark, name)| format!("<li>{}{}</li>", plot::swatch(*mark), escape(name)))
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
        let name = format!("Table of {}", figure.name);
        scroll(&name, &format!("<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"))
    });
    // Content that may be wider than the page must be scrollable with the keyboard too.
    let scrolled = if figure.wide { " role=\"group\" aria-label=\"Drawing\" tabindex=\"0\"" } else { "" };
    let drawing = format!("<div class=\"drawing\"{scrolled}>{}</div>", figure.svg);
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

fn again(report: &Report<'_>) -> String {
    format!(
        "<p class=\"about\">With the same files this gives the same numbers; what is in the cache is not computed again.</p><pre><code>{}</code></pre>\
         <p class=\"about\">What any step depended on, component by component: <code>pipeline why {} STEP</code>.</p>",
        escape(&report.command),
        escape(&origins::file_name(report))
    )
}
