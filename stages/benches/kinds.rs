//! Times kinds beside what a user would use instead: `cargo bench -p stages`.
//!
//! Needs `python3` with scanpy, and with scikit-learn, pandas, pyarrow and arboreto; what is not there is left out. Each
//! measurement is a process of its own, the median of three; Python's imports are not counted, what our kinds write is.

use serde_json::{Value, json};
use stages::checkpoint::Checkpoints;
use stages::stage::{Device, Io, StopFlag};
use stages::warden::Wardens;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const RUNS: usize = 3;

/// What one run took.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    mebibytes: f64,
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

fn median(mut run: impl FnMut() -> Command) -> Cost {
    let costs = (0..RUNS).map(|_| {
        let output = run().output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [seconds, mebibytes] = numbers[..] else { panic!("{}", String::from_utf8_lossy(&output.stderr)) };
        Cost { seconds, mebibytes }
    });
    let mut costs: Vec<Cost> = costs.collect();
    costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    costs[RUNS / 2]
}

fn ours(kind: &str, params: &Value, inputs: &[(&str, &Path)], out: &Path) -> Cost {
    median(|| {
        let _ = std::fs::remove_dir_all(out);
        std::fs::create_dir(out).expect("a folder for the output");
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.arg(kind).arg(params.to_string()).env("BENCH_OUT", out);
        command.args(inputs.iter().map(|(slot, path)| format!("{slot}={}", path.display())));
        command
    })
}

fn theirs(script: &str, what: &str, path: &Path) -> Cost {
    median(|| python(script, &[what.as_ref(), path.as_os_str()]))
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

fn row(name: &str, ours: Cost, theirs: Cost) {
    let cost = |cost: Cost| format!("{:.3} s {:5.0} MiB", cost.seconds, cost.mebibytes);
    let (time, memory) = (ours.seconds / theirs.seconds, ours.mebibytes / theirs.mebibytes);
    println!("{name:44} {:>17} {:>17} {time:6.2} {memory:6.2}", cost(ours), cost(theirs));
}

fn compare() {
    println!("{:44} {:>17} {:>17} {:>6} {:>6}", "", "ours", "theirs", "time", "memory");
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
        ours("dataset", &json!({"values": "counts"}), &[("data", &file("big.h5ad"))], &file("big")),
        theirs(SCRIPT, "read", &file("big.h5ad")),
    );
    row(
        "normalise, log, select of the same",
        ours(
            "preprocess",
            &selection,
            &[("data", &file("big")), ("tfs", &file("tfs.txt"))],
            &file("selected"),
        ),
        theirs(SCRIPT, "select", &file("big.h5ad")),
    );
    row(
        "read csv, 821 × 383",
        ours("dataset", &text, &[("data", &file("matrix.csv"))], &file("csv")),
        theirs(SCRIPT, "csv", &file("matrix.csv")),
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
            ours("evaluate", &json!({"replicates": replicates}), &judged, &file("numbers")),
            theirs(SCRIPT, "judge", folder),
        );
    }
    ours(
        "dataset",
        &json!({"orient": "genes_by_cells"}),
        &[("data", &file("expression.csv"))],
        &file("cells"),
    );
    for (name, what, params) in [
        ("GENIE3, 100 trees, 200 genes, 50 TFs", "forest", json!({"trees": 100})),
        ("GRNBoost2 of the same, ended as published", "published", json!({"method": "grnboost2"})),
        ("theirs ended by this scikit-learn", "boosting", json!({"method": "grnboost2"})),
    ] {
        let scored = file(what);
        let ours = ours("genie3", &params, &[("data", &file("cells")), ("tfs", &file("tfs.txt"))], &scored);
        row(name, ours, theirs(SCRIPT, what, folder));
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
