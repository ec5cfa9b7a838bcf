//! `get`: copies a step's results out of the cache.

use super::PipelineArgs;
use clap::Args;
use contract::disk;
use contract::stage::Kind;
use engine::error::{Error, Result};
use engine::store::FileRecord;
use engine::survey::Survey;
use results::output;
use std::path::{Path, PathBuf};

/// Copy a step's results out of the cache, as files of your own that may be changed
#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    source: PipelineArgs,
    /// The step, for example `top[order=up]`
    step: String,
    /// A folder for all files of the step or, with an extension, a name for the one file that has it
    /// [default: the step's name, in the folder `results` beside the pipeline file]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

impl Get {
    pub fn run(self, kinds: &[Kind]) -> Result<u8> {
        let (graph, store) = self.source.load(kinds)?;
        let node = graph.find(&self.step)?;
        let survey = Survey::until(graph, &store, node)?;
        let step = &graph.steps[node].name;
        let artifact = survey.plan.state(node).artifact().ok_or_else(|| {
            let file = self.source.file.display();
            Error::Usage(format!(
                "{step} has no artifact (it is {}); compute it with: pipeline run {file} --until '{step}'",
                survey.plan.state(node).word()
            ))
        })?;
        let files = artifact.manifest()?.map(|manifest| manifest.files).unwrap_or_default();
        let targets = match &self.output {
            Some(output) => targets(step, &files, output)?,
            None => below(&files, &graph.root.join("results").join(output::file_name(step))),
        };
        let mut written = Vec::new();
        for (file, to) in targets {
            copy(&artifact.file(&file.path), &to)?;
            written.push(to);
        }
        if self.json {
            output::write_json(&written)?;
            return Ok(0);
        }
        let lines: String =
            written.iter().map(|path| format!("wrote {}\n", output::from_here(path))).collect();
        output::write(&lines)?;
        Ok(0)
    }
}

/// All files below a folder.
fn below<'f>(files: &'f [FileRecord], folder: &Path) -> Vec<(&'f FileRecord, PathBuf)> {
    files.iter().map(|file| (file, folder.join(&file.path))).collect()
}

/// Where each file goes: one file under a given name, or all of them below a folder.
fn targets<'f>(step: &str, files: &'f [FileRecord], output: &Path) -> Result<Vec<(&'f FileRecord, PathBuf)>> {
    let extension = output.extension().filter(|_| !output.is_dir());
    let Some(extension) = extension else { return Ok(below(files, output)) };
    let fits = |file: &&FileRecord| Path::new(&file.path).extension() == Some(extension);
    match files.iter().filter(fits).collect::<Vec<_>>()[..] {
        [file] => Ok(vec![(file, output.to_owned())]),
        ref several => {
            let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
            let count = if several.is_empty() { "no file" } else { "several files" };
            Err(Error::Usage(format!(
                "-o {}: {step} holds {count} of this extension: `{}`; give a folder to get all of them",
                output.display(),
                names.join("`, `")
            )))
        }
    }
}

/// Copies a file, in place of an older one, with the permissions of any new file: artifacts are read-only.
fn copy(from: &Path, to: &Path) -> Result<()> {
    output::replace_with(to, |draft| {
        let fault = |error| disk::fault("copying", from, error);
        let mut source = std::fs::File::open(from).map_err(fault)?;
        let mut copy = std::fs::File::options().write(true).create_new(true).open(draft).map_err(fault)?;
        std::io::copy(&mut source, &mut copy).map_err(fault)?;
        disk::close(copy, draft)
    })
}
