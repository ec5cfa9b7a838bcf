//! `show`: what a step's artifact contains and where it came from.

use super::PipelineArgs;
use clap::Args;
use contract::stage::Kind;
use engine::clock;
use engine::error::{Error, Result};
use engine::key::Recipe;
use engine::store::Manifest;
use engine::survey::Survey;
use engine::text;
use results::output::{self, table};
use results::preview;
use serde_json::json;
use std::fmt::Write;

/// Show what a step's artifact contains and where it came from
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    source: PipelineArgs,
    /// The step, for example `top[order=up]`
    step: String,
    /// How many rows or lines to show of each file
    #[arg(long, default_value_t = 5)]
    rows: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let node = graph.find(&self.step)?;
        let survey = Survey::until(graph, &store, node)?;
        let step = &graph.steps[node].name;
        let Some(artifact) = survey.plan.state(node).artifact() else {
            let state = survey.plan.state(node).word();
            return Err(Error::Usage(format!(
                "{step} has no artifact (it is {state}); compute it with: pipeline run {} --until '{step}'",
                self.source.file.display()
            )));
        };
        let made_from = survey.recipe(node).expect("a step with an artifact has a recipe");
        let manifest = artifact.manifest()?.ok_or_else(|| gone(step))?;
        if self.json {
            output::write_json(&json!({
                "step": step, "key": artifact.key(), "folder": artifact.folder(), "manifest": manifest, "recipe": made_from,
            }))?;
            return Ok(0);
        }
        let mut report = origin(step, &manifest, &artifact.folder().display().to_string());
        report.push_str(&recipe(&made_from));
        for file in &manifest.files {
            writeln!(report, "\n{}  {}  {}", file.path, text::bytes(file.size), file.digest.short())
                .expect("a string takes all");
            report.push_str(&preview::file(&artifact.file(&file.path), self.rows)?);
        }
        output::write(&report)?;
        Ok(0)
    }
}

fn gone(step: &str) -> Error {
    Error::Usage(format!("the artifact of {step} was removed a moment ago; run the pipeline again"))
}

fn origin(step: &str, manifest: &Manifest, folder: &str) -> String {
    let Manifest {
        format: _,
        key,
        output,
        files,
        step: made_for,
        run,
        at,
        seconds,
        version,
        warnings,
        adopted,
    } = manifest;
    let mut rows = vec![
        vec!["step".to_owned(), step.to_owned()],
        vec!["key".to_owned(), key.to_string()],
        vec!["output".to_owned(), output.to_string()],
        vec![
            "files".to_owned(),
            format!("{}, {}", text::count(files.len(), "file"), text::bytes(manifest.bytes())),
        ],
        vec![
            "made".to_owned(),
            format!("{} in {}, run {run}, version {version}", clock::date(*at), text::seconds(*seconds)),
        ],
        vec!["folder".to_owned(), folder.to_owned()],
    ];
    if made_for != step {
        rows.push(vec!["made for".to_owned(), made_for.clone()]);
    }
    rows.extend(warnings.iter().map(|warning| vec!["warning".to_owned(), warning.clone()]));
    if let Some(adopted) = adopted {
        let changes: Vec<String> = adopted.changes.iter().map(ToString::to_string).collect();
        rows.push(vec![
            "adopted".to_owned(),
            format!("from {} although: {}", adopted.from.short(), changes.join("; ")),
        ]);
    }
    table(&rows)
}

fn recipe(recipe: &Recipe) -> String {
    let Recipe { format: _, kind, code, params, device, inputs, platform } = recipe;
    let mut rows = vec![vec!["kind".to_owned(), kind.clone()]];
    rows.extend(device.iter().map(|device| vec!["device".to_owned(), device.to_string()]));
    for (name, value) in params.as_object().into_iter().flatten() {
        rows.push(vec![
            format!("param {name}"),
            value.as_str().map_or_else(|| value.to_string(), |text| text.trim_end().replace('\n', "⏎ ")),
        ]);
    }
    rows.extend(inputs.iter().map(|(slot, digest)| vec![format!("input {slot}"), digest.short()]));
    rows.extend(platform.iter().map(|(name, value)| vec![format!("platform {name}"), value.clone()]));
    let crates = code.keys().filter(|name| name.starts_with("crate ")).count();
    let files = code.len() - crates;
    let parts = [(files, "file"), (crates, "crate")].into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, what)| text::count(count, what)).collect();
    if !parts.is_empty() {
        rows.push(vec!["code".to_owned(), format!("{} (listed with --json)", parts.join(" and "))]);
    }
    format!("\n{}", table(&rows))
}
