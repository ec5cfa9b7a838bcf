//! Steps as jobs of a scheduler: a stand-in for SLURM's programs, written by the test, runs them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Project, Ran, signal};

/// `sbatch`, `squeue` and `scancel` that keep a file for each job, named by its id and place, and note every call.
/// A file `mute` makes sbatch start nothing, `refuse` holds the words of its refusal, `die` makes it kill the
/// engine after it has submitted; `down` makes all three fail. `word` holds the state of jobs that end badly.
const PROGRAMS: [(&str, &str); 3] = [
    (
        "sbatch",
        r#"#!/bin/bash
cd "$FAKE"; echo "sbatch $*" >> calls
[ "$1" != --version ] || { echo "slurm 22.05"; exit 0; }
[ ! -e down ] || { echo "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)" >&2; exit 1; }
[ ! -e refuse ] || { echo "sbatch: error: $(cat refuse)" >&2; exit 1; }
for word in "$@"; do case $word in
  --job-name=*) name=${word#*=};; --array=0-*) last=${word#*-0-}; last=${word##*-};; --output=*) output=${word#*=};;
esac; script=$word; done
id=1; while ! mkdir "id$id" 2>/dev/null; do id=$((id + 1)); done
for place in $(seq 0 "$last"); do
  echo "$name|$place|$id|RUNNING|None|n1" > "${id}_$place.job"
  [ -e mute ] && continue
  (
    export SLURM_ARRAY_JOB_ID=$id SLURM_ARRAY_TASK_ID=$place
    setsid bash "$script" < /dev/null >> "${output/\%a/$place}" 2>&1 &
    echo $! > "${id}_$place.process"
    wait $!; code=$?
    state=COMPLETED; [ $code = 0 ] || state=$(cat word 2>/dev/null || echo FAILED)
    grep -q CANCELLED "${id}_$place.job" || echo "$name|$place|$id|$state|None|n1" > "${id}_$place.job"
  ) < /dev/null > /dev/null 2>&1 &
done
[ ! -e die ] || { rm die; kill -9 "$PPID"; }
echo "$id"
"#,
    ),
    (
        "squeue",
        r#"#!/bin/bash
cd "$FAKE"; echo "squeue" >> calls
[ ! -e down ] || { echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1; }
cat ./*.job 2>/dev/null || true
"#,
    ),
    (
        "scancel",
        r#"#!/bin/bash
cd "$FAKE"; echo "scancel $*" >> calls
for job in "$@"; do
  sed -i 's/RUNNING/CANCELLED/' "$job.job"
  [ ! -e "$job.process" ] || kill "$(cat "$job.process")" || true
done
"#,
    ),
];

/// A project whose steps are jobs of the stand-in.
struct Cluster {
    project: Project,
}

impl Cluster {
    fn new(yaml: &str) -> Cluster {
        let project = Project::of_toys(yaml);
        project.write("profiles/hpc.yaml", "executor: slurm\npoll: 50ms\nretries: {memory: x2}\n");
        for (name, script) in PROGRAMS {
            let name = format!("bin/{name}");
            project.write(&name, script);
            std::fs::set_permissions(project.path(&name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        project.write("fake/calls", "");
        Cluster { project }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        let path = format!("{}:{}", self.project.path("bin").display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).env("FAKE", self.project.path("fake"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let all = [&["run", "p.yaml", "--profile", "hpc"], arguments].concat();
        Ran::from(self.command(&all).output().unwrap())
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let all = [&["run", "p.yaml", "--profile", "hpc"], arguments].concat();
        self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The calls of one program.
    fn calls(&self, program: &str) -> Vec<String> {
        let calls = self.project.read("fake/calls");
        let of = |line: &&str| line.starts_with(program) && !line.ends_with("--version");
        calls.lines().filter(of).map(str::to_owned).collect()
    }

    /// The only assignment, once its batch is submitted.
    fn assignment(&self) -> PathBuf {
        let began = Instant::now();
        loop {
            let files = self.project.files("cache/jobs");
            if let Some(path) = files.iter().find(|path| path.ends_with("submitted")) {
                return path.with_file_name("0.json");
            }
            assert!(began.elapsed() < Duration::from_secs(20), "nothing was submitted");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Every artifact's digest, by step.
fn digests(project: &Project) -> BTreeMap<String, String> {
    let rows = project.json(&["plan", "p.yaml", "--all"]);
    let steps = rows.as_array().unwrap().iter().map(|row| row["step"].as_str().unwrap().to_owned());
    let digest = |step: &str| {
        let manifest = project.artifact(step).parent().unwrap().join("manifest.json");
        let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        manifest["output"].as_str().unwrap().to_owned()
    };
    steps.map(|step| (step.clone(), digest(&step))).collect()
}

const WIDE: &str = r#"
matrix: {n: [1, 2, 3]}
stages:
  a: {kind: grow, with: {line: 'a {n}'}}
  b: {kind: grow, from: a, with: {line: b}, resources: {memory: 1GiB, time: 10m}}
  c: {kind: command, from: b, with: {run: 'cat "$PIPELINE_IN_INPUT/text" > "$PIPELINE_OUT/text"'}}
"#;
const ONE: &str = "stages: {a: {kind: grow, with: {line: a}}}";

#[test]
fn jobs_make_the_artifacts_that_a_local_run_makes() {
    let cluster = Cluster::new(WIDE);
    let ran = cluster.run(&[]);
    assert_eq!(ran.exits(0).counts(), [9, 0, 0, 0]);
    let local = Project::of_toys(WIDE);
    local.run_well(&[]);
    assert_eq!(digests(&cluster.project), digests(&local));
    let first = &cluster.calls("sbatch")[0];
    assert!(first.contains("--array=0-2"), "equal steps are one array: {first}");
    let calls = cluster.calls("sbatch").join("\n");
    assert!(calls.contains("--mem=1024M --time=10 --signal=B:USR1@90"), "{calls}");
    assert!(cluster.project.files("cache/v1/tmp").is_empty());
    let left = cluster.project.files("cache/jobs");
    assert!(left.iter().all(|path| path.ends_with("closed")), "{left:?}");
    assert_eq!(cluster.run(&[]).exits(0).counts(), [0, 9, 0, 0]);
}

#[test]
fn kinds_that_the_profile_keeps_run_here() {
    let cluster = Cluster::new(WIDE);
    cluster.project.write(
        "profiles/hpc.yaml",
        "executor: slurm\npoll: 50ms\nlocal: [command]\npartition: short\nkinds: {grow: {partition: long, flags: [--exclusive], resources: {cpus: 2}}}\n",
    );
    assert_eq!(cluster.run(&[]).exits(0).counts(), [9, 0, 0, 0]);
    let submitted: usize = cluster
        .calls("sbatch")
        .iter()
        .map(|call| call.matches("--partition=long --cpus-per-task=2").count())
        .sum();
    assert_eq!(submitted, cluster.calls("sbatch").len());
    assert!(cluster.calls("sbatch")[0].contains("--exclusive"));
    let jobs =
        cluster.project.files("fake").iter().filter(|path| path.extension() == Some("job".as_ref())).count();
    assert_eq!(jobs, 6);
}

#[test]
fn a_worker_computes_its_step_once_however_often_it_is_started() {
    let cluster = Cluster::new(ONE);
    cluster.project.write("fake/mute", "");
    let mut engine = cluster.start(&[]);
    let file = cluster.assignment();
    engine.kill().unwrap();
    engine.wait().unwrap();
    let file = file.to_str().unwrap();
    let remarks = cluster.project.cli(&["worker", file, "--json"]).exits(0).stdout.clone();
    assert!(remarks.contains(r#""event":"began""#) && remarks.contains(r#""how":"computed""#), "{remarks}");
    let again = cluster.project.cli(&["worker", file, "--json"]).exits(0).stdout.clone();
    assert!(again.contains(r#""how":"hit""#), "{again}");
    let journal = std::fs::read_to_string(file.replace(".json", ".journal")).unwrap();
    assert_eq!(journal, remarks + &again, "the journal says the same");
    assert_eq!(cluster.run(&[]).exits(0).counts(), [0, 1, 0, 0], "its artifact is found");
}

#[test]
fn a_worker_refuses_what_it_would_compute_otherwise() {
    let cluster = Cluster::new(ONE);
    cluster.project.write("fake/mute", "");
    let mut engine = cluster.start(&[]);
    let file = cluster.assignment();
    engine.kill().unwrap();
    engine.wait().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let refused = |old: &str, new: &str, changed: bool| {
        assert!(text.contains(old), "{text}");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, text.replace(old, new)).unwrap();
        let mut command = cluster.command(&["worker", file.to_str().unwrap()]);
        if changed {
            command.env("TOYS_CHANGED", "1");
        }
        Ran::from(command.output().unwrap())
    };
    let version = env!("CARGO_PKG_VERSION");
    refused(&format!(r#""version":"{version}""#), r#""version":"0.0.7""#, false).exits(2).says(&format!(
        "a was given out by version 0.0.7 of this program, and this is version {version}; start the same program on every machine"
    ));
    let at = text.split(r#""instructions":""#).nth(1).unwrap().split('"').next().unwrap();
    refused(&format!(r#""instructions":"{at}""#), r#""instructions":"other""#, false).exits(3).says(
        &format!("this processor computes with {at} and the task asks for other, which gives other bits"),
    );
    refused(r#""format":1,"version""#, r#""format":2,"version""#, false).exits(3).says("has format 2");
    refused("", "", true)
        .exits(2)
        .says("the code of `grow` differs from that of the program that made the task");
    assert!(cluster.project.files("cache/v1/entries").is_empty());
    let job = cluster.project.read("fake/1_0.job");
    cluster.project.write("fake/1_0.job", &job.replace("RUNNING", "FAILED"));
    // What the worker said of its refusals is an end of the step as good as any.
    let ran = cluster.run(&[]);
    ran.exits(1).says("taken up a: job 1_0").says("failed a: a: the code of `grow` differs");
    cluster.project.cli(&["worker", file.to_str().unwrap()]).exits(3);
    let _ = std::fs::remove_file(cluster.project.path("fake/mute"));
    assert_eq!(cluster.run(&[]).exits(0).counts(), [1, 0, 0, 0], "a failed step is submitted anew");
}

#[test]
fn an_engine_killed_before_the_answer_of_sbatch_submits_nothing_twice() {
    let cluster = Cluster::new(WIDE);
    cluster.project.write("fake/die", "");
    assert_eq!(cluster.run(&[]).code, None, "it was killed");
    cluster.run(&[]).exits(0);
    let jobs =
        cluster.project.files("fake").iter().filter(|path| path.extension() == Some("job".as_ref())).count();
    assert_eq!(jobs, 9, "{:?}", cluster.calls("sbatch"));
}

#[test]
fn a_run_that_is_interrupted_leaves_its_jobs_to_the_next_or_cancels_them() {
    let yaml = r#"stages: {a: {kind: command, with: {run: 'while test -e "$PIPELINE_ROOT/wait"; do sleep 0.01; done; echo x > "$PIPELINE_OUT/x"'}}}"#;
    let cluster = Cluster::new(yaml);
    cluster.project.write("wait", "");
    let interrupted = |arguments: &[&str], moment: &str| {
        let mut child = cluster.start(arguments);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == moment), "{moment}");
        signal(child.id(), "INT");
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        rest.join("\n")
    };
    let said = interrupted(&[], "started a: new");
    assert!(said.contains("skipped a: its job stays with the scheduler; the next run takes it up"), "{said}");
    assert_eq!(cluster.calls("scancel"), Vec::<String>::new());
    let status = cluster.project.cli(&["status", "p.yaml"]).exits(0).stdout.clone();
    assert!(status.contains("\na (job 1_0) running on "), "{status}");
    interrupted(&["--on-interrupt", "cancel"], "taken up a: job 1_0");
    assert_eq!(cluster.calls("scancel"), ["scancel 1_0"]);
    std::fs::remove_file(cluster.project.path("wait")).unwrap();
    assert_eq!(cluster.run(&[]).exits(0).counts(), [1, 0, 0, 0]);
    assert_eq!(cluster.calls("sbatch").len(), 2);
}

#[test]
fn a_job_warned_of_its_limit_goes_on_from_its_checkpoint_in_a_new_job() {
    let yaml = "stages: {t: {kind: train, with: {steps: 60, millis: 4, every: 5}}}";
    let cluster = Cluster::new(yaml);
    let child = cluster.start(&[]);
    let began = Instant::now();
    while cluster.project.files("cache/v1/checkpoints").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "no checkpoint");
    }
    let worker = cluster.project.read("fake/1_0.process").trim().parse().unwrap();
    signal(worker, "USR1");
    let ran = Ran::from(child.wait_with_output().unwrap());
    ran.exits(0)
        .says("t: out of time; submitted again to go on from its checkpoint")
        .says("going on from step ");
    let local = Project::of_toys(yaml);
    local.run_well(&[]);
    assert_eq!(digests(&cluster.project), digests(&local));
}

#[test]
fn a_step_out_of_memory_is_given_more() {
    let yaml = r#"stages: {a: {kind: command, with: {run: 'mkdir "$PIPELINE_ROOT/second" && kill -9 $$; echo x > "$PIPELINE_OUT/x"'}, resources: {memory: 1GiB}}}"#;
    let cluster = Cluster::new(yaml);
    cluster.project.write("fake/word", "OUT_OF_MEMORY");
    cluster.run(&[]).exits(0).says("a: out of memory of 1.0 GiB; submitted again with 2.0 GiB");
    assert!(cluster.calls("sbatch")[1].contains("--mem=2048M"));
}

#[test]
fn a_failed_step_shows_its_output_and_is_submitted_anew_by_the_next_run() {
    let cluster = Cluster::new("stages: {a: {kind: command, with: {run: 'echo broken >&2; exit 3'}}}");
    for _ in 0..2 {
        let ran = cluster.run(&[]);
        ran.exits(1).says("failed a: the command ended with exit code 3").says("  | broken");
    }
    assert_eq!(cluster.calls("sbatch").len(), 2);
    cluster.project.write("fake/refuse", "Batch job submission failed: Invalid partition name specified");
    cluster.run(&[]).exits(1).says("failed a: the scheduler refuses its job: Batch job submission failed: Invalid partition name specified");
}

#[test]
fn a_scheduler_that_does_not_answer_is_waited_for() {
    let cluster = Cluster::new(ONE);
    cluster.project.write("fake/down", "");
    let mut child = cluster.start(&[]);
    let began = Instant::now();
    while cluster.calls("squeue").is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody asked");
    }
    assert!(child.try_wait().unwrap().is_none());
    std::fs::remove_file(cluster.project.path("fake/down")).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.exits(0).counts(), [1, 0, 0, 0]);
}

#[test]
fn artifacts_that_jobs_read_are_not_collected() {
    let cluster =
        Cluster::new("stages: {a: {kind: grow, with: {line: a}}, b: {kind: grow, from: a, with: {line: b}}}");
    cluster.run(&["--until", "a"]).exits(0);
    cluster.project.write("fake/mute", "");
    let mut engine = cluster.start(&[]);
    cluster.assignment();
    engine.kill().unwrap();
    engine.wait().unwrap();
    let removed = cluster.project.json(&["gc", "p.yaml", "--max-size", "0B"])["removed"].clone();
    assert_eq!(removed, serde_json::json!([]));
}

#[test]
fn mistakes_in_a_profile_are_shown_with_their_place() {
    let cluster = Cluster::new(ONE);
    let refused = |profile: &str| {
        cluster.project.write("profiles/hpc.yaml", profile);
        cluster.run(&[])
    };
    refused("executor: slrm\n").exits(2).says("unknown value `slrm`").says("hpc.yaml:1:11");
    refused("executor: slurm\npartitoin: x\n").exits(2).says("did you mean `partition`?");
    refused("executor: slurm\nlocal: [gorw]\n")
        .exits(2)
        .says("there is no kind `gorw`")
        .says("did you mean `grow`?");
    refused("executor: slurm\nretries: {memory: 2}\n").exits(2).says("hpc.yaml:2");
    let ran = Ran::from(cluster.command(&["run", "p.yaml", "--profile", "none"]).output().unwrap());
    ran.exits(2).says("there is no profile `none`; write it to ").says("profiles/none.yaml");
    cluster.project.write("profiles/hpc.yaml", "executor: slurm\n");
    let bare =
        cluster.project.command(&["run", "p.yaml", "--profile", "hpc"]).env("PATH", "/nowhere").output();
    Ran::from(bare.unwrap())
        .exits(3)
        .says("there is no program `sbatch` on this machine; run on a machine from which");
}
