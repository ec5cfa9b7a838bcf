//! `compare`: shows variants side by side, straight from the cache.

use super::PipelineArgs;
use clap::Args;
use contract::stage::Kind;
use engine::error::{Error, Result};
use engine::plan::Selection;
use engine::record::Record;
use engine::survey::Survey;
use results::compare::{self, Layout, Request};
use results::output;

/// The options that choose what is compared.
#[derive(Args)]
pub struct Choice {
    /// Use the values of this axis as rows [default: the variants]
    #[arg(long, value_name = "AXIS")]
    rows: Option<String>,
    /// Compare only steps that have one of these values: `--where dataset=a,b`
    #[arg(long = "where", value_name = "AXIS=VALUES")]
    filters: Vec<String>,
    /// Sort rows by this metric, best first
    #[arg(long, value_name = "METRIC")]
    sort: Option<String>,
    /// Show these metrics, or `all` [default: those of `compare:`]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    metrics: Vec<String>,
    /// Show the paired difference of every row from this row
    #[arg(long, value_name = "ROW")]
    baseline: Option<String>,
}

impl Choice {
    /// Converts the options to a request.
    pub fn request(self) -> Result<Request> {
        let Choice { rows, filters, sort, metrics, baseline } = self;
        let filters = filters.iter().map(|filter| parse_filter(filter)).collect::<Result<_>>()?;
        Ok(Request { rows, filters, sort, metrics, baseline })
    }
}

/// Compare variants, or the values of an axis, by the metrics in their artifacts
#[derive(Args)]
pub struct Compare {
    #[command(flatten)]
    source: PipelineArgs,
    #[command(flatten)]
    choice: Choice,
    /// Show what has changed since this run; `last` is the newest run
    #[arg(long, value_name = "RUN")]
    against: Option<String>,
    /// Print JSON
    #[arg(long, group = "layout")]
    json: bool,
    /// Print comma-separated values
    #[arg(long, group = "layout")]
    csv: bool,
    /// Print a LaTeX table for the package booktabs
    #[arg(long, group = "layout")]
    latex: bool,
    /// Print Markdown
    #[arg(long, group = "layout")]
    markdown: bool,
}

impl Compare {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let run =
            self.against.as_ref().map(|run| Record::find(&store, run, Some(&graph.file))).transpose()?;
        let request = self.choice.request()?;
        let survey = Survey::new(graph, &store, &Selection::default())?;
        let comparison = compare::compare(&survey, &request)?;
        let layout = match (self.csv, self.latex, self.markdown) {
            (true, _, _) => Layout::Csv,
            (_, true, _) => Layout::Latex,
            (_, _, true) => Layout::Markdown,
            _ => Layout::Text,
        };
        let Some(run) = run else {
            match self.json {
                true => output::write_json(&comparison.to_json(graph))?,
                false => output::write(&comparison.lay_out(graph, layout))?,
            }
            return Ok(0);
        };
        let against = compare::against(&comparison, &survey, &run)?;
        if self.json {
            output::write_json(&against.to_json(&comparison))?;
            return Ok(0);
        }
        let mut text = against.grid(&comparison).lay_out(layout);
        if matches!(layout, Layout::Text | Layout::Markdown) {
            text.push_str(if against.notes.is_empty() { "" } else { "\n" });
            text.extend(against.notes.iter().map(|note| output::paragraph(&format!("note: {note}"))));
        }
        output::write(&text)?;
        Ok(0)
    }
}

fn parse_filter(filter: &str) -> Result<(String, Vec<String>)> {
    let (axis, values) =
        filter.split_once('=').filter(|(axis, values)| !axis.is_empty() && !values.is_empty()).ok_or_else(
            || Error::Usage(format!("--where {filter}: expected AXIS=VALUE, as in --where variant=a,b")),
        )?;
    Ok((axis.trim().to_owned(), values.split(',').map(|value| value.trim().to_owned()).collect()))
}
