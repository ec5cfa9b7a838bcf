//! `report`: one page with all results for people, and the same results in formats for other programs.

use super::PipelineArgs;
use super::compare::Choice;
use clap::Args;
use contract::stage::Kind;
use engine::error::{Error, Result};
use engine::plan::Selection;
use engine::survey::Survey;
use results::output;
use results::plot;
use results::report::{self, PLOT_COLOURS, Report as Told};
use std::path::{Path, PathBuf};

/// Write the results, their uncertainty and their provenance as one HTML page
#[derive(Args)]
pub struct Report {
    #[command(flatten)]
    source: PipelineArgs,
    #[command(flatten)]
    choice: Choice,
    /// The page's file; `-` for standard output [default: the pipeline's name with .html]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write each figure as an SVG file
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Also write an RO-Crate: recipes, digests of inputs and outputs, versions and the page
    #[arg(long, value_name = "DIR")]
    ro_crate: Option<PathBuf>,
    /// Also write training histories as TensorBoard event files
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    /// Also write the comparison as MultiQC custom content, for example `results_mqc.json`
    #[arg(long, value_name = "FILE")]
    multiqc: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

impl Report {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let Report { source, choice, output: page_path, plots, ro_crate, tensorboard, multiqc, json } = self;
        let (graph, store) = source.load(kinds)?;
        let survey = Survey::new(graph, &store, &Selection::default())?;
        let told = Told::gather(&survey, &choice.request()?, again(&source))?;
        let figures = report::figures(&told);
        let page = report::page(&told, &figures);
        let mut written: Vec<PathBuf> = Vec::new();
        let path = page_path.unwrap_or_else(|| default_name(&graph.name));
        let to_stdout = path == Path::new("-");
        if !to_stdout {
            output::replace(&path, page.as_bytes())?;
            written.push(path);
        }
        if let Some(folder) = &plots {
            for figure in &figures {
                let path = folder.join(format!("{}.svg", figure.name));
                output::replace(&path, plot::standalone(&figure.svg, PLOT_COLOURS).as_bytes())?;
                written.push(path);
            }
        }
        if let Some(folder) = &ro_crate {
            report::write_research_object(&told, &page, folder)?;
            written.push(folder.join("ro-crate-metadata.json"));
        }
        if let Some(folder) = &tensorboard {
            let files = report::tensorboard(&told, folder)?;
            if files.is_empty() {
                return Err(Error::Usage(
                    "--tensorboard: no artifact of this pipeline holds a history".to_owned(),
                ));
            }
            written.extend(files);
        }
        if let Some(path) = &multiqc {
            let comparison =
                told.comparison.as_ref().map_err(|why| Error::Usage(format!("--multiqc: {why}")))?;
            let text = serde_json::to_string_pretty(&report::multiqc(&told, comparison))
                .expect("plain data with text keys");
            output::replace(path, text.as_bytes())?;
            written.push(path.clone());
        }
        match (to_stdout, json) {
            (true, _) => output::write(&page)?,
            (false, true) => output::write_json(&written)?,
            (false, false) => {
                let lines: String =
                    written.iter().map(|path| format!("wrote {}\n", path.display())).collect();
                output::write(&lines)?;
            }
        }
        Ok(0)
    }
}

fn default_name(name: &str) -> PathBuf {
    PathBuf::from(format!("{}.html", output::file_name(name)))
}

/// The command line that computes the artifacts again.
fn again(source: &PipelineArgs) -> String {
    let quoted = |text: &str| {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '=' | ',' | ':');
        if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let sets: String = source.set.iter().map(|set| format!(" --set {}", quoted(set))).collect();
    format!("pipeline run {}{sets}", quoted(&source.file.display().to_string()))
}
