//! The result in three sentences.

use super::{Leading, Report};
use crate::compare::{Comparison, Row};
use crate::statistics::Difference;
use engine::text::{count, number, signed};

/// Three sentences: which row leads, how certain that is, and what the controls and the gaps mean.
pub fn sentences(report: &Report<'_>) -> Vec<String> {
    let comparison = match &report.comparison {
        Ok(comparison) => comparison,
        Err(why) => return vec![format!("Nothing is compared here: {why}.")],
    };
    let Some(leading) = report.leading() else {
        return vec!["No row has a value yet that could be held against another one.".to_owned()];
    };
    vec![leads(comparison, leading), how_sure(comparison, leading), doubts(comparison, leading)]
}

fn leads(comparison: &Comparison, Leading { block, row, metric }: Leading<'_>) -> String {
    let column = &comparison.metrics[metric];
    let all = block.rows.iter().filter(|row| !row.control);
    let all: Vec<&Row> = all.collect();
    let others = all.iter().filter(|row| row.cells[metric].mean().is_some()).count();
    let without = all.len() - others;
    let best = if column.lower_is_better { "lowest" } else { "highest" };
    let within = if block.axes.is_empty() { String::new() } else { format!(" for {}", block.title()) };
    let what = match comparison.rows_by.as_str() {
        "variant" => count(others, "variant"),
        axis => format!("{} of {axis}", count(others, "value")),
    };
    let rest = match without {
        0 => String::new(),
        1 => " One more has no value yet.".to_owned(),
        without => format!(" {without} more have no value yet."),
    };
    if others == 1 {
        let value = value(comparison, row, metric);
        return format!("{}{within} reaches {}: {value}.{rest}", row.name, column.name);
    }
    format!(
        "Of {what}{within}, {} reaches the {best} {}: {}.{rest}",
        row.name,
        column.name,
        value(comparison, row, metric)
    )
}

/// The mean with its spread.
fn value(comparison: &Comparison, row: &Row, metric: usize) -> String {
    let cell = &row.cells[metric];
    let mean = cell.mean().map_or_else(|| "–".to_owned(), number);
    match cell.deviation() {
        Some(deviation) => {
            let over = comparison.over.join(" and ");
            format!("{mean} ± {} (mean ± sd over {over}, n = {})", number(deviation), cell.readings.len())
        }
        None => mean,
    }
}

fn how_sure(comparison: &Comparison, leading: Leading<'_>) -> String {
    let Some((next, difference)) = runner_up(comparison, leading) else {
        return "There is no other row that it could be held against.".to_owned();
    };
    let ahead = signed(difference.mean);
    let few = comparison.few(difference.pairs).map_or_else(String::new, |few| format!(" But {few}."));
    match difference.interval {
        None => format!(
            "It is {ahead} ahead of {next}, the next one; a single pair does not tell whether that is chance."
        ),
        Some((low, high)) if low > 0.0 => format!(
            "It is ahead of {next}, the next best, by {ahead} [{}, {}] in a paired comparison; the 95 % interval excludes 0.{few}",
            signed(low),
            signed(high)
        ),
        Some((low, high)) => format!(
            "It is ahead of {next}, the next best, by {ahead} [{}, {}] in a paired comparison; the 95 % interval includes 0, so these runs do not tell the two apart.",
            signed(low),
            signed(high)
        ),
    }
}

fn runner_up(
    comparison: &Comparison,
    Leading { block, row, metric }: Leading<'_>,
) -> Option<(String, Difference)> {
    let column = &comparison.metrics[metric];
    let sign = if column.lower_is_better { -1.0 } else { 1.0 };
    let others =
        block.rows.iter().filter(|other| other.name != row.name && !other.control && other.apart.is_none());
    let valued = others.filter_map(|other| Some((other, sign * other.cells[metric].mean()?)));
    let (next, _) = valued.rev().max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some((next.name.clone(), crate::compare::advantage(row, next, metric, column)?))
}

fn doubts(comparison: &Comparison, Leading { block, row, metric }: Leading<'_>) -> String {
    let name = &comparison.metrics[metric].name;
    let of_row =
        || block.controls.iter().filter(|finding| finding.row == row.name && finding.metric == *name);
    let gaps = match comparison.missing.len() {
        0 => String::new(),
        missing => format!(
            " {} without numbers: see below.",
            match missing {
                1 => "One step is".to_owned(),
                missing => format!("{missing} steps are"),
            }
        ),
    };
    let control = |finding: &&crate::compare::Finding| {
        let control = block.rows.iter().find(|row| row.name == finding.control);
        let reaches = control.map_or_else(String::new, |control| value(comparison, control, metric));
        (finding.control.clone(), reaches)
    };
    let said = if let Some((name, reaches)) = of_row().find(|finding| finding.explained).as_ref().map(control)
    {
        format!(
            "The control {name} does as well ({reaches}), so this score does not show the worth of what the control lacks."
        )
    } else if let Some((name, reaches)) =
        of_row().min_by(|a, b| a.difference.mean.total_cmp(&b.difference.mean)).as_ref().map(control)
    {
        format!("The control {name} reaches {reaches}, which does not explain it.")
    } else {
        "No control was run, so this report does not test what the score comes from.".to_owned()
    };
    format!("{said}{gaps}")
}
