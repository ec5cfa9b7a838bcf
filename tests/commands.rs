//! The other commands: each shows the true state of a pipeline, for people and as JSON.

use std::process::{Command, Stdio};
use support::{Project, program};

const CHAIN: &str = "
params: {word: one}
stages:
  a: {kind: grow, in: {text: {file: input.txt}}, with: {line: '{word}'}}
  b: {kind: grow, from: a, with: {line: b}}
  c: {kind: grow, from: b, with: {line: c}}
";

fn chain() -> Project {
    let project = Project::of_toys(CHAIN);
    project.write("input.txt", "x\n");
    project
}

#[test]
fn plan_tells_whether_work_is_due_and_why() {
    let project = chain();
    project.cli(&["plan", "p.yaml", "--exit-code"]).exits(10);
    project.run_well(&[]);
    project.cli(&["plan", "p.yaml", "--exit-code"]).exits(0);
    let plan = project.json(&["plan", "p.yaml", "--set", "word=two"]);
    assert_eq!(plan[0]["reason"]["changes"][0]["name"], "line");
    assert_eq!(plan[0]["reason"]["changes"][0]["new"], "\"two\"");
}

#[test]
fn why_compares_component_by_component() {
    let project = chain();
    project.run_well(&[]);
    project.write("input.txt", "y\n");
    project.edit("word: one", "word: two");
    let why = project.json(&["why", "p.yaml", "a"]);
    let names: Vec<_> =
        why["reason"]["changes"].as_array().unwrap().iter().map(|change| &change["name"]).collect();
    assert_eq!(names, ["line", "text"]);
    project.cli(&["why", "p.yaml", "d"]).exits(2);
}

#[test]
fn status_counts_by_stage() {
    let project = chain();
    project.run_well(&["--until", "a"]);
    let status = project.json(&["status", "p.yaml"]);
    assert_eq!(status["a"]["cached"], 1);
    assert_eq!(status["b"]["due"], 1);
    assert_eq!(status["c"]["waiting"], 1);
}

#[test]
fn log_tells_the_history() {
    let project = chain();
    project.run_well(&[]);
    project.run_well(&[]);
    let runs = project.json(&["log", "p.yaml"]);
    assert_eq!(runs[0]["ended"]["computed"], 3);
    assert_eq!(runs[1]["ended"]["cached"], 3);
    let first = runs[0]["begun"]["run"].as_str().unwrap();
    let events = project.cli(&["log", "p.yaml", "--run", first]).stdout;
    assert!(events.contains("due b") && events.contains("computed c"), "{events}");
}

#[test]
fn graph_draws_in_three_languages() {
    let project = chain();
    project.run_well(&["--until", "a"]);
    let draw = |format: &str| project.cli(&["graph", "p.yaml", "--format", format]).stdout;
    assert!(draw("mermaid").starts_with("flowchart LR\n") && draw("mermaid").contains(" --> "));
    assert!(draw("dot").starts_with("digraph") && draw("dot").contains(" -> "));
    let svg = draw("svg");
    assert!(
        svg.starts_with("<svg")
            && svg.contains("a: cached")
            && svg.contains("b: due")
            && svg.contains("c: waiting")
    );
    assert_eq!(project.json(&["graph", "p.yaml"])["edges"], serde_json::json!([["a", "b"], ["b", "c"]]));
}

#[test]
fn adopt_takes_an_artifact_whose_code_alone_changed() {
    let stages = "stages:\n  a: {kind: command, with: {run: 'sh $PIPELINE_ROOT/s.sh > $PIPELINE_OUT/o', scripts: [s.sh]}}\n  b: {kind: command, from: a, with: {run: 'cp $PIPELINE_IN_INPUT/o $PIPELINE_OUT/o'}}\n";
    let project = Project::new(stages);
    project.write("s.sh", "echo result\n");
    project.run_well(&[]);
    project.write("s.sh", "# refactored, at last\necho result\n");
    assert_eq!(project.json(&["plan", "p.yaml"])[0]["state"], "due");
    project.cli(&["adopt", "p.yaml", "a"]).exits(0);
    let runs = project.json(&["log", "p.yaml"]);
    assert_eq!(
        runs[1]["begun"]["arguments"][1], "adopt",
        "an adoption is on record as a run, which guards its draft"
    );
    assert_eq!(runs[1]["ended"]["cached"], 1);
    assert_eq!(project.run_well(&[]).counts(), [0, 2, 0, 0]);
    project.cli(&["verify", "p.yaml"]).exits(0);
    assert!(project.cli(&["show", "p.yaml", "a"]).stdout.contains("although: code s.sh:"));
    assert!(project.cli(&["why", "p.yaml", "a"]).stdout.contains("it was adopted from"));
    project.edit("s.sh >", "./s.sh >");
    project.cli(&["adopt", "p.yaml", "a"]).exits(2).says("more than code and device differs (param run:");
    project.cli(&["adopt", "p.yaml", "b"]).exits(2).says("it waits for a");
}

#[test]
fn the_schema_knows_every_kind_and_param() {
    let project = chain();
    let schema = project.json(&["schema"]).to_string();
    for word in ["grow", "command", "scripts", "variants", "optional"] {
        assert!(schema.contains(word), "{word}");
    }
}

#[test]
fn init_makes_a_project_that_runs() {
    let project = Project::new("stages: {}");
    project.cli(&["init", "new"]).exits(0);
    let ran = project.cli(&["run", "new/pipelines/words.yaml"]);
    ran.exits(0);
    assert!(project.path("new/cache/v1/entries").is_dir(), "the cache lies in the project's root");
    project.cli(&["init", "new"]).exits(2).says("is there already");
}

#[test]
fn doctor_completions_and_man_work() {
    let project = chain();
    assert!(project.cli(&["doctor", "p.yaml"]).exits(0).stdout.contains("kernel locks work"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(project.cli(&["completions", shell]).exits(0).stdout.contains("pipeline"));
    }
    assert!(project.cli(&["man"]).exits(0).stdout.contains(".TH pipeline 1"));
    project.write("man/.keep", "");
    project.cli(&["man", "--dir", "man"]).exits(0);
    assert!(project.path("man/pipeline-run.1").exists());
}

/// The names of all commands.
fn commands() -> Vec<String> {
    let all = Project::new("").cli(&["--help"]).stdout;
    let list = all.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_command_says_what_it_does() {
    let project = Project::new("");
    project.reads("help", &["--help"]);
    for name in commands() {
        project.reads(&format!("help_{name}"), &[&format!("{name} --help")]);
    }
}

#[test]
fn every_command_speaks_json() {
    for name in commands() {
        assert!(Project::new("").cli(&[&name, "--help"]).stdout.contains("--json"), "{name} has no --json");
    }
    let project = chain();
    for command in [["completions", "bash"], ["init", "new"], ["man", "--json"], ["schema", "--json"]] {
        let with_json = if command[1] == "--json" { &command[..1] } else { &command[..] };
        project.json(with_json);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let project = Project::of_toys("stages: {a: {kind: grow, with: {line: x, files: 300}}}");
    project.run_well(&[]);
    let mut child = project
        .command(&["show", "p.yaml", "a"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn a_full_standard_output_is_an_error() {
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let project = chain();
    let output = project.command(&["plan", "p.yaml"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("writing standard output: no space left on device")
    );
}

#[test]
fn the_version_is_told() {
    let output = Command::new(program()).arg("--version").output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        concat!("pipeline ", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(Command::new(program()).arg("nonsense").output().unwrap().status.code(), Some(2));
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    let output = Command::new(program()).arg("schema").output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = schema.to_string();
    let references: Vec<&str> =
        text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(!references.is_empty());
    for reference in references {
        assert!(schema.pointer(reference).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn a_run_of_another_file_is_not_the_last_one_of_this_file() {
    let project = chain();
    project.run_well(&[]);
    project.write("q.yaml", "name: other\nstages: {z: {kind: grow, with: {line: z}}}\n");
    project.cli(&["run", "q.yaml"]).exits(0);
    let runs = |arguments: &[&str]| {
        let runs = project.json(&[&["log"], arguments].concat());
        let name = |run: &serde_json::Value| run["begun"]["name"].as_str().unwrap().to_owned();
        runs.as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(runs(&["p.yaml"]), ["p"]);
    assert_eq!(runs(&["q.yaml"]), ["other"]);
    assert_eq!(runs(&[]), ["p", "other"], "without a file, the log is that of the cache");
    let last = project.cli(&["log", "p.yaml", "--run", "last"]).stdout;
    assert!(last.contains("computed c") && !last.contains("computed z"), "{last}");
    project.write("r.yaml", "stages: {z: {kind: grow, with: {line: z}}}\n");
    assert_eq!(project.cli(&["log", "r.yaml"]).stdout, "no run of this file on this cache yet\n");
    let none = project.cli(&["diff", "r.yaml", "last", "last"]);
    none.exits(2).says("there is no run of this file on this cache yet");
}

#[test]
fn results_are_copied_into_files_that_may_be_changed_and_copied_again() {
    let project = Project::of_toys(
        "matrix: {n: [1]}\nstages: {a: {kind: grow, with: {line: 'line {n}', files: 2}}, b: {kind: exhibit, with: {seed: 1, skill: 0.7}}}",
    );
    let before = project.cli(&["get", "p.yaml", "a"]);
    before
        .exits(2)
        .says("a[n=1] has no artifact (it is due); compute it with: pipeline run p.yaml --until 'a[n=1]'");
    project.run_well(&[]);
    for _ in 0..2 {
        let got = project.cli(&["get", "p.yaml", "a"]);
        let written = "wrote results/a-n=1/more/text1\nwrote results/a-n=1/text\n";
        assert_eq!(got.exits(0).stdout, written);
        project.write("results/a-n=1/text", "changed\n");
    }
    project.cli(&["get", "p.yaml", "b", "-o", "out/model.safetensors"]).exits(0);
    assert!(project.path("out/model.safetensors").is_file());
    let several = project.cli(&["get", "p.yaml", "b", "-o", "b.parquet"]);
    several.exits(2).says("b holds several files of this extension").says("give a folder to get all of them");
    project.cli(&["get", "p.yaml", "b", "-o", "b.csv"]).exits(2).says("holds no file of this extension");
    project.cli(&["verify", "p.yaml"]).exits(0);
}
