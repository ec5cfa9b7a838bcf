//! `status`: counts the cached, due, waiting and absent steps of each stage, and tells what they warned of.

use super::PipelineArgs;
use clap::Args;
use contract::stage::Kind;
use engine::error::Result;
use engine::event::Ended;
use engine::plan::Selection;
use engine::record::{Record, Standing};
use engine::runlog;
use engine::state::State;
use engine::survey::Survey;
use engine::text;
use indexmap::IndexMap;
use results::output::{self, table};
use results::warned;
use serde::Serialize;
use serde_json::Value;

/// Show the state of a pipeline, stage by stage
#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    source: PipelineArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Default, Serialize)]
struct Row {
    steps: usize,
    cached: usize,
    due: usize,
    waiting: usize,
    absent: usize,
    warnings: Vec<Value>,
}

impl Status {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let survey = Survey::new(graph, &store, &Selection::default())?;
        let mut stages: IndexMap<&str, Row> = IndexMap::new();
        for node in survey.plan.steps() {
            let row = stages.entry(graph.steps[node].stage.as_str()).or_default();
            row.steps += 1;
            match survey.plan.state(node) {
                State::Due(_) => row.due += 1,
                State::Waiting(_) => row.waiting += 1,
                State::Absent(_) => row.absent += 1,
                _ => row.cached += 1,
            }
        }
        let warned = warned::of(&survey, survey.plan.steps())?;
        for warned in &warned {
            if let Some(row) = stages.get_mut(warned.stage.as_str()) {
                row.warnings.push(warned.to_json(graph));
            }
        }
        if self.json {
            output::write_json(&stages)?;
            return Ok(0);
        }
        let heading = ["stage", "steps", "cached", "due", "waiting", "absent"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for (stage, Row { steps, cached, due, waiting, absent, warnings: _ }) in &stages {
            let numbers = [steps, cached, due, waiting, absent];
            rows.push(std::iter::once((*stage).to_owned()).chain(numbers.map(ToString::to_string)).collect());
        }
        let mut report = table(&rows);
        for warned in &warned {
            report.push_str(&output::paragraph(&format!("warning: {}: {}", warned.who(graph), warned.text)));
        }
        if let Some(run) = runlog::runs(&store)?.last() {
            let how = match Record::read(&store, run)?.standing(&store)? {
                Standing::Ended(ended) => {
                    let Ended { computed, failed, seconds, .. } = ended;
                    format!("{computed} computed, {failed} failed in {}", text::seconds(seconds))
                }
                Standing::InProgress => "in progress".to_owned(),
                Standing::Killed => "killed".to_owned(),
            };
            report.push_str(&format!("last run on this cache: {run}, {how}\n"));
        }
        output::write(&report)?;
        Ok(0)
    }
}
