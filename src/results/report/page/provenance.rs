//! Where the numbers came from: stages, runs, inputs, steps.

use super::{LISTED_STEPS, capital, heading, put, scroll};
use crate::markup::escape;
use crate::report::Report;
use crate::report::origins::{self, StageRow};
use engine::clock;
use engine::text::{self, count};

/// The stages: drawn, and as a table.
pub fn pipeline(report: &Report<'_>, stages: &[StageRow]) -> String {
    let mut text = String::from(
        "<p class=\"about\">Each box is a stage, drawn below the stages that it reads from: solid if all of its steps have artifacts, dashed if some lack one, dotted if it is absent. Times are those of the runs that computed the artifacts.</p>",
    );
    put(
        &mut text,
        format_args!(
            "<div class=\"graph\" role=\"region\" aria-label=\"Stages, drawn\" tabindex=\"0\">{}</div>",
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
        let aside = |count: usize, what: &str| match count {
            0 => String::new(),
            count => format!(" <span class=\"small\">{count} {what}</span>"),
        };
        let asked = row.steps - row.absent;
        let steps = if row.there == asked { asked.to_string() } else { format!("{} of {asked}", row.there) };
        let made = |text: String| if row.there == 0 { "–".to_owned() } else { text };
        put(
            &mut table,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\" data-value=\"{}\">{steps}{}{}</td><td data-value=\"{}\">{}</td><td class=\"number\" data-value=\"{}\">{}</td><td class=\"number\" data-value=\"{}\">{}</td><td>{}</td><td>{}</td></tr>",
                escape(&row.name),
                list(&row.kinds),
                row.there,
                aside(row.absent, "absent"),
                aside(row.adopted, "adopted"),
                row.computed,
                row.computed,
                row.seconds,
                made(text::seconds(row.seconds)),
                row.bytes,
                made(text::bytes(row.bytes)),
                list(&row.devices),
                list(&row.versions)
            ),
        );
    }
    table.push_str("</tbody></table>");
    text.push_str(&scroll("Stages, as a table", &table));
    text
}

/// The newest run, the axes, the inputs and every step.
pub fn came_from(report: &Report<'_>) -> String {
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
        "<details class=\"long\"><summary>{}, one by one</summary>{}{more}</details>",
        capital(&count(nodes.len(), "step")),
        scroll("Steps", &table)
    )
}
