//! Times kinds beside what a user would use instead: `cargo bench -p stages`.
//!
//! Needs `python3` with scanpy, and with scikit-learn, pandas, pyarrow and arboreto; what is not there is left out. Each
//! measurement is a process of its own, ours and theirs in turns; given are the median and the extremes of the time, the
//! largest memory, and the ratios of the medians. Python's imports are not counted, what our kinds write is.

use contract::checkpoint::Checkpoints;
use contract::stage::{Device, Io, StopFlag};
use contract::warden::Wardens;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 5;

/// What runs took.
#[derive(Default)]
struct Costs {
    seconds: Vec<f64>,
    mebibytes: f64,
}

impl Costs {
    fn add(&mut self, mut run: Command) {
        let output = run.output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [seconds, mebibytes] = numbers[..] else { panic!("{}", String::from_utf8_lossy(&output.stderr)) };
        self.seconds.push(seconds);
        self.seconds.sort_by(f64::total_cmp);
        self.mebibytes = self.mebibytes.max(mebibytes);
    }

    fn median(&self) -> f64 {
        self.seconds[self.seconds.len() / 2]
    }
}

impl std::fmt::Display for Costs {
    fn fmt(&self, text: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (median, least, most) = (self.median(), self.seconds[0], self.seconds[self.seconds.len() - 1]);
        write!(text, "{median:.3} ({least:.3}–{most:.3}) s {:4.0} MiB", self.mebibytes)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [kind, params, inputs @ ..] => run_once(kind, params, inputs),
        _ => compare(),
    }
}

/// Runs a kind in this process and prints what it took.
fn run_once(kind: &str, params: &str, inputs: &[String]) {
    let kind = stages::KINDS.iter().find(|known| known.name == kind).expect("a kind of this name");
    let params: Value = serde_json::from_str(params).expect("params in JSON");
    let prepared = (kind.prepare)(&params).unwrap_or_else(|error| panic!("{error:?}"));
    let out = PathBuf::from(std::env::var_os("BENCH_OUT").expect("BENCH_OUT"));
    let inputs = inputs
        .iter()
        .filter_map(|input| input.split_once('='))
        .map(|(slot, path)| (slot.into(), path.into()));
    let io = Io {
        step: kind.name.to_owned(),
        root: out.clone(),
        inputs: inputs.collect(),
        work: out.clone(),
        checkpoints: Checkpoints::in_folder(out.clone()),
        wardens: Wardens::default(),
        out,
        device: Device::Cpu,
        gpus: Vec::new(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        stop: StopFlag::default(),
        limit: None,
        began: Instant::now(),
        listener: Box::new(|_| {}),
    };
    let began = Instant::now();
    prepared.stage.run(&io).unwrap_or_else(|error| panic!("{error:#}"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    println!("{} {}", began.elapsed().as_secs_f64(), peak.unwrap_or(f64::NAN) / 1024.0);
}

fn ours(kind: &str, params: &Value, inputs: &[(&str, &Path)], out: &Path) -> Command {
    let _ = std::fs::remove_dir_all(out);
    std::fs::create_dir(out).expect("a folder for the output");
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.arg(kind).arg(params.to_string()).env("BENCH_OUT", out);
    command.args(inputs.iter().map(|(slot, path)| format!("{slot}={}", path.display())));
    command
}

fn theirs(script: &str, what: &str, path: &Path) -> Command {
    python(script, &[what.as_ref(), path.as_os_str()])
}

fn python(script: &str, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new("python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(script);
    command.args(["-W", "ignore"]).arg(script).args(arguments);
    command
}

/// Whether the script has what it needs, and has made its data.
fn made(script: &str, folder: &Path) -> bool {
    let made = python(script, &["make".as_ref(), folder.as_os_str()]).stderr(Stdio::null()).status();
    made.is_ok_and(|status| status.success())
}

fn row(name: &str, ours: impl Fn() -> Command, theirs: impl Fn() -> Command) {
    let (mut cost, mut their_cost) = (Costs::default(), Costs::default());
    for _ in 0..RUNS {
        cost.add(ours());
        their_cost.add(theirs());
    }
    let (time, memory) = (cost.median() / their_cost.median(), cost.mebibytes / their_cost.mebibytes);
    println!("{name:46} {cost} {their_cost} {time:6.2} {memory:6.2}");
}

fn compare() {
    println!("{:46} {:30} {:30} {:>6} {:>6}", "", "ours", "theirs", "time", "memory");
    let folder = tempfile::tempdir().expect("a temporary folder");
    compare_with_scanpy(folder.path());
    let folder = tempfile::tempdir().expect("a temporary folder");
    compare_with_scikit_learn(folder.path());
}

fn compare_with_scanpy(folder: &Path) {
    const SCRIPT: &str = "scanpy_does.py";
    if !made(SCRIPT, folder) {
        println!("skipped: no python3 with scanpy");
        return;
    }
    let file = |name: &str| folder.join(name);
    let text = json!({"orient": "genes_by_cells"});
    let selection = json!({"select": {"genes": 2000, "tfs": "all"}});
    row(
        "read h5ad, 20 million values",
        || ours("dataset", &json!({"values": "counts"}), &[("data", &file("big.h5ad"))], &file("big")),
        || theirs(SCRIPT, "read", &file("big.h5ad")),
    );
    let (big, tfs) = (file("big"), file("tfs.txt"));
    let inputs = [("data", &*big), ("tfs", &*tfs)];
    row(
        "normalise, log, select of the same",
        || ours("preprocess", &selection, &inputs, &file("selected")),
        || theirs(SCRIPT, "select", &file("big.h5ad")),
    );
    row(
        "read csv, 821 × 383",
        || ours("dataset", &text, &[("data", &file("matrix.csv"))], &file("csv")),
        || theirs(SCRIPT, "csv", &file("matrix.csv")),
    );
}

fn compare_with_scikit_learn(folder: &Path) {
    const SCRIPT: &str = "sklearn_does.py";
    if !made(SCRIPT, folder) {
        println!("skipped: no python3 with scikit-learn, pandas, pyarrow and arboreto");
        return;
    }
    let file = |name: &str| folder.join(name);
    let judged = [("scores", &*file("scored")), ("split", &*file("judged"))];
    for (name, replicates) in
        [("evaluate 100,000 pairs", 0), ("the same with 1,000 replicates, theirs without", 1000)]
    {
        row(
            name,
            || ours("evaluate", &json!({"replicates": replicates}), &judged, &file("numbers")),
            || theirs(SCRIPT, "judge", folder),
        );
    }
    let (cells, tfs) = (file("cells"), file("tfs.txt"));
    let params = json!({"orient": "genes_by_cells"});
    Costs::default().add(ours("dataset", &params, &[("data", &file("expression.csv"))], &cells));
    for (name, what, params) in [
        ("GENIE3, 100 trees, 200 genes, 50 TFs", "forest", json!({"trees": 100})),
        ("GRNBoost2 of the same, ended as published", "published", json!({"method": "grnboost2"})),
        ("theirs ended by this scikit-learn", "boosting", json!({"method": "grnboost2"})),
    ] {
        let scored = file(what);
        let inputs = [("data", &*cells), ("tfs", &*tfs)];
        row(name, || ours("genie3", &params, &inputs, &scored), || theirs(SCRIPT, what, folder));
        let scores = scored.join("scores.parquet");
        let arguments: [&OsStr; 4] =
            ["agree".as_ref(), folder.as_os_str(), what.as_ref(), scores.as_os_str()];
        let output = python(SCRIPT, &arguments).output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<&str> = text.split_whitespace().collect();
        let [with_theirs, among_theirs] = numbers[..] else {
            panic!("{}", String::from_utf8_lossy(&output.stderr))
        };
        println!(
            "  rank correlation with theirs {with_theirs:.5}, of theirs with another seed {among_theirs:.5}"
        );
    }
}
