//! Fixtures: a project in its own folder, and the result of running the program there.

mod transcript;

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
pub use transcript::reads;

/// A project folder that is removed afterwards.
pub struct Project {
    folder: tempfile::TempDir,
    /// The program that runs there.
    program: PathBuf,
}

/// The result of running the program.
pub struct Ran {
    /// The exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A program that was built beside the running test.
fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(name);
    assert!(program.exists(), "{} is missing; build it first: cargo build --workspace", program.display());
    program
}

/// The program as it is shipped.
pub fn program() -> PathBuf {
    built("pipeline")
}

/// The program with toy kinds.
pub fn toys() -> PathBuf {
    built("toys")
}

impl Project {
    /// A project with one pipeline file, `p.yaml`.
    pub fn new(yaml: &str) -> Project {
        Project::with(program(), yaml)
    }

    /// A project that uses the program with toy kinds.
    pub fn of_toys(yaml: &str) -> Project {
        Project::with(toys(), yaml)
    }

    /// A project that uses any program.
    pub fn with(program: PathBuf, yaml: &str) -> Project {
        let project = Project { folder: tempfile::tempdir().unwrap(), program };
        project.write("p.yaml", yaml);
        project
    }

    /// A path in the project's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of the project.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Reads a file of the project.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Replaces text in `p.yaml`, which must contain it.
    pub fn edit(&self, old: &str, new: &str) {
        let yaml = self.read("p.yaml");
        assert!(yaml.contains(old), "{old:?} is not in the pipeline file");
        self.write("p.yaml", &yaml.replace(old, new));
    }

    /// A command that runs the program in the project's folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("PIPELINE_CACHE").env_remove("PIPELINE_LOG").env_remove("NO_COLOR");
        // Here GPU leases are shared only by the runs of one project, not by the whole machine.
        command.env_remove("CUDA_VISIBLE_DEVICES").env("XDG_RUNTIME_DIR", self.folder.path());
        command
    }

    /// Runs the program to its end.
    pub fn cli(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// `run p.yaml` with further arguments.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.cli(&[&["run", "p.yaml"], arguments].concat())
    }

    /// Runs `run`, which must succeed.
    pub fn run_well(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Starts `run p.yaml` and leaves it running.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(&[&["run", "p.yaml"], arguments].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The JSON that a command prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.cli(&[arguments, &["--json"]].concat());
        serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", ran.stdout, ran.stderr))
    }

    /// The folder of a step's artifact.
    pub fn artifact(&self, step: &str) -> PathBuf {
        PathBuf::from(self.json(&["show", "p.yaml", step])["folder"].as_str().unwrap())
    }

    /// The content of a file of a step's artifact.
    pub fn output(&self, step: &str, file: &str) -> String {
        std::fs::read_to_string(self.artifact(step).join(file)).unwrap()
    }

    /// Every file below a folder of the project.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        files_below(&self.path(folder))
    }
}

/// Every file below a folder, sorted.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    files
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The steps that were computed, sorted.
    pub fn computed(&self) -> Vec<&str> {
        let mut steps: Vec<&str> =
            self.stderr.lines().filter_map(|line| line.strip_prefix("computed ")).collect();
        steps.sort_unstable();
        steps
    }

    /// The counts in the last line: computed, cached, skipped, failed.
    pub fn counts(&self) -> [usize; 4] {
        let line = self.stdout.lines().last().unwrap_or_else(|| panic!("no summary; {}", self.stderr));
        let (_, counts) = line.split_once(": ").unwrap();
        let numbers: Vec<usize> =
            counts.split([' ', ',']).filter_map(|word| word.parse().ok()).take(4).collect();
        numbers.try_into().unwrap()
    }

    /// Asserts that standard error contains a text.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Ran {
        assert!(self.stderr.contains(text), "{text:?} is not in:\n{}", self.stderr);
        self
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Ran {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }
}

/// The root of this repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The quickstart pipeline and a cache in which it has run, shared by all tests.
pub fn quickstart() -> (PathBuf, PathBuf) {
    static CACHE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let file = root().join("pipelines/quickstart.yaml");
    let cache = CACHE.get_or_init(|| {
        let cache = tempfile::tempdir().unwrap();
        let output =
            Command::new(program()).arg("run").arg(&file).arg("--cache").arg(cache.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cache
    });
    (file, cache.path().to_owned())
}

/// Waits until a file exists: the known moment at which a test acts.
#[track_caller]
pub fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal by name.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(status.success());
}
