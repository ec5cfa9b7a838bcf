//! Times kinds beside what a user would use instead: `cargo bench -p stages`.
//!
//! Needs `python3` with scanpy. Each measurement is a process of its own, best of three; Python's
//! imports are not counted, what our kinds write is.

use serde_json::{Value, json};
use stages::checkpoint::Checkpoints;
use stages::stage::{Device, Io, StopFlag};
use stages::warden::Wardens;
use std::path::{Path, PathBuf};
use std::process::Command;
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

fn best(mut run: impl FnMut() -> Command) -> Cost {
    let costs = (0..RUNS).map(|_| {
        let output = run().output().expect("the program starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [seconds, mebibytes] = numbers[..] else { panic!("{}", String::from_utf8_lossy(&output.stderr)) };
        Cost { seconds, mebibytes }
    });
    costs.min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("there are runs")
}

fn ours(kind: &str, params: &Value, inputs: &[(&str, &Path)], out: &Path) -> Cost {
    best(|| {
        let _ = std::fs::remove_dir_all(out);
        std::fs::create_dir(out).expect("a folder for the output");
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.arg(kind).arg(params.to_string()).env("BENCH_OUT", out);
        command.args(inputs.iter().map(|(slot, path)| format!("{slot}={}", path.display())));
        command
    })
}

fn theirs(what: &str, path: &Path) -> Cost {
    best(|| {
        let mut command = Command::new("python3");
        command.arg("-W").arg("ignore").arg(script()).arg(what).arg(path);
        command
    })
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/scanpy_does.py")
}

fn compare() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made =
        Command::new("python3").arg("-W").arg("ignore").arg(script()).arg("make").arg(folder.path()).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no python3 with scanpy");
        return;
    }
    let file = |name: &str| folder.path().join(name);
    let text = json!({"orient": "genes_by_cells"});
    let selection = json!({"select": {"genes": 2000, "tfs": "all"}});
    println!("{:44} {:>17} {:>17} {:>6} {:>6}", "", "ours", "theirs", "time", "memory");
    let row = |name: &str, ours: Cost, theirs: Cost| {
        let cost = |cost: Cost| format!("{:.3} s {:5.0} MiB", cost.seconds, cost.mebibytes);
        let (time, memory) = (ours.seconds / theirs.seconds, ours.mebibytes / theirs.mebibytes);
        println!("{name:44} {:>17} {:>17} {time:6.2} {memory:6.2}", cost(ours), cost(theirs));
    };
    row(
        "read h5ad, 20 million values",
        ours("dataset", &json!({"values": "counts"}), &[("data", &file("big.h5ad"))], &file("big")),
        theirs("read", &file("big.h5ad")),
    );
    row(
        "normalise, log, select of the same",
        ours(
            "preprocess",
            &selection,
            &[("data", &file("big")), ("tfs", &file("tfs.txt"))],
            &file("selected"),
        ),
        theirs("select", &file("big.h5ad")),
    );
    row(
        "read csv, 821 × 383",
        ours("dataset", &text, &[("data", &file("matrix.csv"))], &file("csv")),
        theirs("csv", &file("matrix.csv")),
    );
}
