//! `graph`: the steps of a pipeline as a picture.

use super::Source;
use crate::drawing;
use crate::error::Result;
use crate::output;
use crate::plan::Selection;
use crate::survey::{Survey, word};
use clap::{Args, ValueEnum};
use petgraph::graph::NodeIndex;
use serde_json::json;
use stages::stage::Kind;

/// Draw the steps of a pipeline, coloured by what is cached and what is due
#[derive(Args)]
pub struct Draw {
    #[command(flatten)]
    source: Source,
    /// The language of the picture
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// For Markdown
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
}

impl Draw {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let survey = Survey::new(&graph, &store, &Selection::default())?;
        if self.json {
            let name = |node: NodeIndex| graph.steps[node].name.as_str();
            let steps: Vec<_> = graph
                .order
                .iter()
                .map(|&node| json!({"step": name(node), "state": word(survey.plan.state(node))}))
                .collect();
            let ends = graph.steps.edge_indices().filter_map(|edge| graph.steps.edge_endpoints(edge));
            let edges: Vec<_> = ends.map(|(from, to)| json!([name(from), name(to)])).collect();
            output::write_json(&json!({"steps": steps, "edges": edges}))?;
            return Ok(0);
        }
        output::write(&match self.format {
            Format::Mermaid => drawing::mermaid(&survey),
            Format::Dot => drawing::dot(&survey),
            Format::Svg => drawing::svg(&survey),
        })?;
        Ok(0)
    }
}
