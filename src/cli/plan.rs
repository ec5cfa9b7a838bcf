//! `plan`: what would run, and why.

use super::{PipelineArgs, Steps};
use crate::absence::Absences;
use clap::Args;
use contract::gpu;
use contract::stage::Kind;
use engine::device::{self, Wanted};
use engine::error::{Error, Result};
use engine::run;
use engine::state::State;
use engine::survey::Survey;
use results::output;
use serde_json::json;
use std::fmt::Write;

/// The exit code if work is due.
const WORK_IS_DUE: u8 = 10;

/// Show what would run, and why
#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    source: PipelineArgs,
    #[command(flatten)]
    steps: Steps,
    /// Show every step, also cached ones and every absent one
    #[arg(long)]
    all: bool,
    /// Exit with code 10 if work is due
    #[arg(long)]
    exit_code: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let survey = Survey::new(graph, &store, &self.steps.select(graph)?)?;
        let (mut due, mut waiting, mut cached, mut absent, mut skipped) = (0, 0, 0, 0, 0);
        let mut for_the_program = 0;
        let mut absences = Absences::default();
        let mut lines = Vec::new();
        let mut rows = Vec::new();
        for node in survey.plan.steps() {
            let step = &graph.steps[node].name;
            let state = survey.plan.state(node);
            let (mut reason, mut named) = (None, true);
            let about = match state {
                State::Due(_) => {
                    due += 1;
                    for_the_program += usize::from(survey.program_alone_changed(node)?);
                    let why = survey.reason(node)?;
                    let text = why.to_string();
                    reason = Some(why);
                    text
                }
                State::Waiting(_) => {
                    waiting += 1;
                    let next = survey.waits_next(node).map(|node| graph.steps[node].name.as_str());
                    format!("for {}", next.unwrap_or_default())
                }
                State::Absent(hint) => {
                    absent += 1;
                    named = absences.count(hint);
                    hint.clone()
                }
                State::Skipped(why) => {
                    skipped += 1;
                    why.clone()
                }
                _ => {
                    cached += 1;
                    String::new()
                }
            };
            if self.json {
                let key = state.key();
                rows.push(
                    json!({"step": step, "state": state.word(), "key": key, "reason": reason, "about": about}),
                );
            } else if self.all || (named && state.artifact().is_none()) {
                lines.push((state.word(), step, about));
            }
        }
        match self.json {
            true => output::write_json(&rows)?,
            false => {
                let mut text = aligned(&lines);
                for line in absences.rest().filter(|_| !self.all) {
                    writeln!(text, "{line}").expect("a string takes all");
                }
                let skipped = if skipped > 0 { format!(", {skipped} skipped") } else { String::new() };
                writeln!(text, "{due} due, {waiting} waiting, {cached} cached, {absent} absent{skipped}")
                    .expect("a string takes all");
                if for_the_program > 0 {
                    writeln!(
                        text,
                        "{for_the_program} due only because the program changed; `pipeline adopt FILE --all` reuses their \
                         earlier artifacts"
                    )
                    .expect("a string takes all");
                }
                output::write(&text)?;
            }
        }
        if due > 0 {
            // As `run` would.
            if let Some(refusal) = device::refusal(graph, self.source.device) {
                return Err(Error::Device(refusal));
            }
            let offered = match self.source.device {
                Wanted::Cuda(Some(_)) => 1,
                _ => gpu::ids().len(),
            };
            run::check_gpus(&survey.plan, offered)?;
        }
        Ok(if self.exit_code && due > 0 { WORK_IS_DUE } else { 0 })
    }
}

/// The widest step name that makes the reasons line up; longer ones push theirs to the right.
const WIDEST: usize = 40;

/// One line for each step: its state, its name and the reason.
fn aligned(lines: &[(&str, &String, String)]) -> String {
    let widths = lines.iter().map(|(_, step, _)| step.chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let line = |(state, step, about): &(&str, &String, String)| {
        format!("{state:<7}  {step:<width$}  {about}").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}
