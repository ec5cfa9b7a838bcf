//! `graph`: draws the steps of a pipeline.

use super::PipelineArgs;
use clap::{Args, ValueEnum};
use contract::stage::Kind;
use engine::error::Result;
use engine::plan::Selection;
use engine::survey::Survey;
use petgraph::graph::NodeIndex;
use results::drawing;
use results::output;
use serde_json::json;

/// Draw the steps of a pipeline, coloured by their state, such as cached or due
#[derive(Args)]
pub struct Draw {
    #[command(flatten)]
    source: PipelineArgs,
    /// The output format: mermaid, dot (for Graphviz) or svg
    #[arg(long, value_enum, default_value_t = Format::Mermaid, hide_possible_values = true)]
    format: Format,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Mermaid, for Markdown
    Mermaid,
    /// DOT, for Graphviz
    Dot,
    /// An SVG picture
    Svg,
}

impl Draw {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let survey = Survey::new(graph, &store, &Selection::default())?;
        if self.json {
            let name = |node: NodeIndex| graph.steps[node].name.as_str();
            let step = |node: NodeIndex| {
                let step = &graph.steps[node];
                let axes: serde_json::Map<_, _> =
                    step.axes.iter().map(|(axis, label)| (axis.clone(), json!(label))).collect();
                json!({
                    "step": step.name, "stage": step.stage, "kind": step.kind.name, "axes": axes,
                    "variants": &*step.variants, "state": survey.plan.state(node).word(),
                })
            };
            let steps: Vec<_> = graph.order.iter().map(|&node| step(node)).collect();
            let ends = graph.steps.edge_indices().filter_map(|edge| graph.steps.edge_endpoints(edge));
            let edges: Vec<_> = ends.map(|(from, to)| json!([name(from), name(to)])).collect();
            output::write_json(&json!({
                "name": graph.name, "variants": graph.variants, "compare": graph.compare, "steps": steps, "edges": edges,
            }))?;
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
