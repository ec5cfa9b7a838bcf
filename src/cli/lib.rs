//! The command line: one file per command.

mod absence; // summaries of absent steps
mod adopt;
mod compare;
mod completions;
mod console; // run progress on standard error
mod diff;
mod doctor;
mod estimate; // how long a run will still take
mod gc;
mod get;
mod graph;
mod init;
mod log;
mod man;
mod plan;
mod report;
mod run;
mod schema;
mod show;
mod status;
mod verify;
mod why;

use clap::{Args, CommandFactory, Parser, Subcommand};
use contract::stage::Kind;
use contract::warden;
use engine::complaint;
use engine::device::{self, Wanted};
use engine::error::{Error, Result};
use engine::graph::Graph;
use engine::parsed::Parsed;
use engine::plan::Selection;
use engine::store::Store;
use engine::yaml::PipelineText;
use results::output::may_colour;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// A workflow engine with cached stages.
///
/// The result of every step is stored under a hash of everything that it depends on. A run computes only the
/// steps for which something has changed.
#[derive(Parser)]
#[command(name = "pipeline", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 a stage failed, 2 the pipeline file or command line is wrong, 3 the machine \
(disk, device), 10 work is due (plan --exit-code), 130 and 143 stopped by SIGINT and SIGTERM.";

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Plan(plan::Plan),
    Why(why::Why),
    Status(status::Status),
    Show(show::Show),
    Get(get::Get),
    Diff(diff::Diff),
    Compare(compare::Compare),
    Report(report::Report),
    Log(log::Log),
    Graph(graph::Draw),
    Verify(verify::Verify),
    Gc(gc::Gc),
    Adopt(adopt::Adopt),
    Schema(schema::Schema),
    Init(init::Init),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Options that name the pipeline and its cache.
#[derive(Args)]
struct PipelineArgs {
    /// The pipeline file
    file: PathBuf,
    /// Override a param: `--set model.width=200`; paths are relative to the current folder
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// The cache folder [default: $PIPELINE_CACHE, else `cache` in the project's root]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Where kinds that support GPUs compute: auto, cpu, cuda or cuda:N; the choice is part of their keys
    #[arg(long, value_name = "DEVICE", default_value = "auto", hide_default_value = true)]
    device: Wanted,
}

impl PipelineArgs {
    /// Leaks the graph on purpose: the process ends with the command, and freeing a thousand steps takes longer than
    /// looking them up.
    fn load(&self, kinds: &[Kind]) -> Result<(&'static Graph, Store)> {
        let (graph, store, _) = self.load_new(kinds)?;
        Ok((graph, store))
    }

    /// The same, and the text of the pipeline file if its content was not in the cache.
    fn load_new(&self, kinds: &[Kind]) -> Result<(&'static Graph, Store, Option<PipelineText>)> {
        let here = current_folder()?;
        let source = PipelineText::read(&self.file)?;
        let store = find_cache(self.cache.as_deref(), Some(&here.join(&self.file)))?;
        let parsed = Parsed::remembered_or_of(&store.memos(), &source)?;
        let new = !parsed.remembered;
        let graph = Box::leak(Box::new(Graph::of(&source, parsed, kinds, &self.set, &here)?));
        graph.device = device::settle(graph, self.device);
        Ok((graph, store, new.then_some(source)))
    }
}

/// Options that name the cache, for commands that need no pipeline.
#[derive(Args)]
struct Cache {
    /// Use the cache of this pipeline file
    file: Option<PathBuf>,
    /// The cache folder [default: $PIPELINE_CACHE, else `cache` in the project's root]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Cache {
    fn find(&self) -> Result<Store> {
        let file = self.file();
        if let Some(file) = file.as_ref().filter(|file| !file.exists()) {
            return Err(Error::Usage(format!("there is no file {}", file.display())));
        }
        find_cache(self.cache.as_deref(), file.as_deref())
    }

    /// The pipeline file as the records of runs name it.
    fn file(&self) -> Option<PathBuf> {
        self.file.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()))
    }
}

/// Options that select steps.
#[derive(Args, Default)]
struct Steps {
    /// Only this stage or step; the artifacts that it needs must exist
    #[arg(long, value_name = "STAGE")]
    only: Vec<String>,
    /// This stage or step and everything that it needs
    #[arg(long, value_name = "STAGE")]
    until: Vec<String>,
    /// Compute this stage or step even if it has an artifact
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
}

impl Steps {
    fn select(&self, graph: &Graph) -> Result<Selection> {
        let nodes = |names: &[String]| -> Result<Vec<_>> {
            Ok(names.iter().map(|name| graph.steps_of(name)).collect::<Result<Vec<_>>>()?.concat())
        };
        Ok(Selection { only: nodes(&self.only)?, until: nodes(&self.until)?, force: nodes(&self.force)? })
    }
}

fn current_folder() -> Result<PathBuf> {
    std::env::current_dir()
        .map_err(|error| Error::Usage(format!("the current folder cannot be read: {error}")))
}

/// `--cache`, else `PIPELINE_CACHE`, else `cache` in the nearest folder above that holds `pipelines`, else
/// `cache` beside the pipeline file.
fn find_cache(given: Option<&Path>, file: Option<&Path>) -> Result<Store> {
    let variable = std::env::var_os("PIPELINE_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from);
    let here = current_folder()?;
    let root = match given.map(Path::to_owned).or(variable) {
        Some(root) => here.join(root),
        None => {
            let start = file.and_then(Path::parent).unwrap_or(&here);
            let project = start.ancestors().find(|folder| folder.join("pipelines").is_dir());
            project.unwrap_or(start).join("cache")
        }
    };
    Ok(Store::at(&root))
}

/// Runs the program with these kinds of stage.
pub fn main(kinds: &[Kind]) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == warden::ARGUMENT) {
        return warden::main();
    }
    let cli = Cli::parse();
    let shown: Option<Targets> = std::env::var("PIPELINE_LOG").ok().and_then(|shown| shown.parse().ok());
    let shown = shown.unwrap_or_else(|| Targets::new().with_default(LevelFilter::ERROR));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(layer.with_filter(shown)).init();
    let result = match cli.command {
        Command::Run(command) => command.run(kinds),
        Command::Plan(command) => command.run(kinds),
        Command::Why(command) => command.run(kinds),
        Command::Status(command) => command.run(kinds),
        Command::Show(command) => command.run(kinds),
        Command::Get(command) => command.run(kinds),
        Command::Diff(command) => command.run(kinds),
        Command::Compare(command) => command.run(kinds),
        Command::Report(command) => command.run(kinds),
        Command::Log(command) => command.run(),
        Command::Graph(command) => command.run(kinds),
        Command::Verify(command) => command.run(),
        Command::Gc(command) => command.run(),
        Command::Adopt(command) => command.run(kinds),
        Command::Schema(command) => command.run(kinds),
        Command::Init(command) => command.run(),
        Command::Doctor(command) => command.run(kinds),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            complain(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints the error to standard error. If that fails, the exit code alone reports it.
fn complain(error: &Error) {
    use std::io::Write;
    let stderr = std::io::stderr();
    let text = match error {
        Error::Pipeline(complaint) if may_colour(&stderr) => complaint.styled(),
        Error::Pipeline(complaint) => complaint.to_string(),
        Error::NobodyReads => return,
        Error::Signal(_) => format!("{error}; finished steps are kept, run again to continue"),
        Error::Stage { .. } => {
            format!("error: {error}; finished steps are kept, fix the cause and run again")
        }
        other => format!("error: {}", complaint::harmless(&other.to_string())),
    };
    let _ = writeln!(stderr.lock(), "{}", text.trim_end());
}

/// The command line as clap sees it, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}
