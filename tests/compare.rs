//! Variants are compared straight from the cache, and what cannot be compared is reported.

use needs::{Readers, python_with};
use serde_json::Value;
use std::process::Command;
use support::{Project, Ran, program, quickstart};

/// Three variants and a control over seeds; every number is written in the file.
const ABLATION: &str = "
params: {value: 0.7, other: 0.1}
matrix: {seed: [{name: 1, plus: 0.01}, {name: 2, plus: 0.03}, {name: 3, plus: 0.02}]}
stages:
  pairs: {kind: command, with: {run: 'echo pairs {seed} > $PIPELINE_OUT/pairs'}}
  scores: {kind: command, in: {pairs: pairs}, with: {run: 'echo {value} {plus} {other} > $PIPELINE_OUT/scores'}}
  judge:
    kind: command
    in: {scores: scores, pairs: pairs}
    with:
      run: |
        read value plus other < $PIPELINE_IN_SCORES/scores
        awk -v v=$value -v p=$plus -v o=$other 'BEGIN {{ printf \"{{\\\"auroc\\\": %.6f, \\\"loss\\\": %.6f}}\", v + p + o * p * p, 1 - v - p }}' > $PIPELINE_OUT/metrics.json
variants:
  plain: {}
  better: {params: {value: 0.8}}
  much: {params: {value: 0.9, other: 0.5}}
  shuffled: {params: {value: 0.7, other: 0.2}}
compare:
  metrics: [auroc, loss]
  over: [seed]
  baseline: plain
  controls: [shuffled]
  same: [pairs]
  lower_is_better: [loss]
";

fn ablation() -> Project {
    let project = Project::new(ABLATION);
    project.run_well(&[]);
    project
}

fn row<'v>(comparison: &'v Value, name: &str) -> &'v Value {
    let rows = comparison["blocks"][0]["rows"].as_array().unwrap();
    rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no row {name}"))
}

fn close(value: &Value, expected: f64) {
    let found = value.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
}

#[test]
fn rows_are_means_over_seeds_with_what_differs_and_the_best() {
    let project = ablation();
    let comparison = project.json(&["compare", "p.yaml"]);
    assert_eq!(comparison["rows"], "variant");
    let much = row(&comparison, "much");
    // 0.9 + p + 0.5 p², p in .01 .03 .02.
    close(&much["metrics"]["auroc"]["mean"], 0.92 + 0.5 * (0.0001 + 0.0009 + 0.0004) / 3.0);
    close(&much["metrics"]["loss"]["sd"], 0.01);
    assert_eq!(much["metrics"]["auroc"]["n"], 3);
    assert_eq!(much["metrics"]["auroc"]["best"], true);
    assert_eq!(much["metrics"]["loss"]["best"], true, "less loss is better");
    assert_eq!(row(&comparison, "better")["metrics"]["auroc"]["best"], false);
    assert_eq!(row(&comparison, "plain")["differs"], serde_json::json!({}));
    assert_eq!(much["differs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["scores.run"]);
    let difference = &row(&comparison, "better")["metrics"]["auroc"]["difference"];
    close(&difference["mean"], 0.1);
    close(&difference["p"], 0.25);
    close(&difference["p_holm"], 1.0);
    assert_eq!(difference["pairs"], 3);
}

#[test]
fn on_a_narrow_terminal_the_table_is_folded() {
    let project = ablation();
    let typed = format!("stty cols 60 rows 40; '{}' compare p.yaml", program().display());
    let output = Command::new("script")
        .args(["-qec", &typed, "/dev/null"])
        .current_dir(project.path(""))
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    assert!(
        shown.contains("\x1b[1mauroc\x1b[0m") && shown.contains(" *\x1b[0m"),
        "headings and marks stand out: {shown}"
    );
    let plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "");
    for line in plain.lines() {
        assert!(line.chars().count() <= 60, "{line:?} in\n{plain}");
    }
    assert!(plain.contains("\nvariant    differs in\n"), "{plain}");
    let piped = project.cli(&["compare", "p.yaml"]).stdout;
    assert!(!piped.contains('\x1b') && piped.lines().any(|line| line.chars().count() > 60), "{piped}");
}

#[test]
fn a_difference_within_its_error_is_not_called_best() {
    let project = ablation();
    // plain and shuffled differ by 0.1 p² in AUROC, but their loss is the same for every seed.
    let comparison = project.json(&["compare", "p.yaml", "--where", "variant=plain,shuffled"]);
    assert_eq!(row(&comparison, "plain")["metrics"]["loss"]["best"], false);
    assert_eq!(row(&comparison, "shuffled")["metrics"]["loss"]["best"], false);
    close(&row(&comparison, "shuffled")["metrics"]["loss"]["difference"]["p"], 1.0);
}

#[test]
fn the_same_value_five_times_is_one_value() {
    let project = ablation();
    project.edit("plus: 0.01", "plus: 0.02");
    project.edit("plus: 0.03", "plus: 0.02");
    project.run_well(&[]);
    let comparison = project.json(&["compare", "p.yaml"]);
    let better = &row(&comparison, "much")["metrics"]["auroc"];
    assert_eq!((better["n"].as_i64(), better["best"].as_bool()), (Some(3), Some(false)));
    assert_eq!(better["difference"]["pairs"], 1);
    let note = comparison["notes"][0].as_str().unwrap();
    assert!(note.starts_with("plain, better, much, shuffled gives the same values for every seed"), "{note}");
}

#[test]
fn a_control_that_does_as_well_is_told() {
    let project = ablation();
    let text = project.cli(&["compare", "p.yaml"]).exits(0).stdout.clone();
    assert!(text.contains("the control shuffled explains plain in auroc, loss"), "{text}");
    assert!(!text.contains("explains much"), "{text}");
    assert!(text.contains("shuffled†"), "{text}");
    assert!(text.contains("no permutation test can give a p below 0.25"), "{text}");
}

#[test]
fn one_layout_is_chosen() {
    ablation().cli(&["compare", "p.yaml", "--csv", "--latex"]).exits(2);
}

#[test]
fn rows_may_be_any_axis_and_are_filtered_and_sorted() {
    let project = ablation();
    let comparison = project.json(&["compare", "p.yaml", "--rows", "seed", "--where", "variant=plain,much"]);
    assert_eq!(comparison["rows"], "seed");
    let blocks = comparison["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2, "a table for each variant");
    assert_eq!(blocks[1]["axes"]["variant"], "much");
    assert_eq!(blocks[1]["rows"].as_array().unwrap().len(), 3);
    // Other seeds give other pairs.
    assert_eq!(blocks[1]["rows"][1]["apart"], "its `pairs` holds something else");
    let sorted = project.json(&["compare", "p.yaml", "--sort", "loss", "--metrics", "loss"]);
    let names: Vec<&str> = sorted["blocks"][0]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["much", "better", "plain", "shuffled"]);
    assert_eq!(sorted["metrics"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_missing_or_damaged_is_named_and_never_made_up() {
    let project = ablation();
    let metrics = project.artifact("judge[seed=2,variant=better]").join("metrics.json");
    let writable = |path: &std::path::Path| {
        Command::new("chmod").args(["u+w"]).arg(path).status().unwrap();
    };
    writable(&metrics);
    std::fs::write(&metrics, "{\"auroc\": 0.999999, \"loss\": 0.0}").unwrap();
    let comparison = project.json(&["compare", "p.yaml"]);
    assert_eq!(row(&comparison, "better")["metrics"]["auroc"]["n"], 2);
    assert_eq!(row(&comparison, "better")["missing"], 1);
    assert_eq!(comparison["missing"][0]["step"], "judge[seed=2,variant=better]");
    let why = comparison["missing"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("is damaged: out/metrics.json"), "{why}");
    let text = project.cli(&["compare", "p.yaml", "--set", "other=0.3"]).stdout;
    assert!(text.contains("missing: judge[seed=1] waits for scores[seed=1]"), "{text}");
    assert!(text.contains("plain      0  –"), "{text}");
}

#[test]
fn rows_that_came_by_the_same_wire_are_told_apart() {
    let write = "run: 'echo {level} > $PIPELINE_OUT/scores'";
    let project = Project::new(&format!(
        "params: {{level: 0.5}}
stages:
  first: {{kind: command, with: {{{write}}}}}
  second: {{kind: command, with: {{{write}, env: [PATH]}}}}
  judge:
    kind: command
    in: {{scores: first}}
    with: {{run: 'echo \"{{{{\\\"auroc\\\": $(cat $PIPELINE_IN_SCORES/scores)}}}}\" > $PIPELINE_OUT/metrics.json'}}
variants:
  plain: {{}}
  low: {{params: {{level: 0.4}}, stages: {{judge: {{in: {{scores: second}}}}}}}}
  high: {{params: {{level: 0.6}}, stages: {{judge: {{in: {{scores: second}}}}}}}}
"
    ));
    project.run_well(&[]);
    let comparison = project.json(&["compare", "p.yaml"]);
    for (name, level) in [("low", "0.4"), ("high", "0.6")] {
        let differs = &row(&comparison, name)["differs"];
        assert_eq!(differs["judge.in.scores"], "second");
        assert_eq!(differs["second.run"], format!("echo {level} > $PIPELINE_OUT/scores"));
        assert_eq!(differs.as_object().unwrap().len(), 2, "what both share is not told: {differs}");
    }
}

#[test]
fn a_table_without_a_number_is_one_line() {
    let project = ablation();
    project
        .edit("matrix: {seed", "matrix: {data: [{name: here, path: here}, {name: there, path: there}], seed");
    project.edit(
        "pairs: {kind: command, with",
        "pairs: {kind: command, in: {data: {file: '{data.path}', optional: 'download it'}}, with",
    );
    project.write("here", "x\n");
    project.run_well(&[]);
    let comparison = project.json(&["compare", "p.yaml"]);
    assert_eq!(comparison["blocks"].as_array().unwrap().len(), 1);
    assert_eq!(comparison["missing"], serde_json::json!([]));
    let notes = comparison["notes"].to_string();
    assert!(notes.contains("no table for data there: all of it is absent: download it"), "{notes}");
}

#[test]
fn a_mean_never_mixes_judges() {
    let project = Project::new(
        "
matrix: {data: [{name: a, part: validation}, {name: b, part: test}], seed: [1, 2]}
stages:
  judge:
    kind: command
    with: {run: 'echo {part}; echo \"{{\\\"auroc\\\": 0.{seed}}}\" > $PIPELINE_OUT/metrics.json'}
compare: {over: [data, seed]}
",
    );
    project.run_well(&[]);
    let refused = project.cli(&["compare", "p.yaml"]);
    refused.exits(2).says("would mix what is not alike").says("the param run of the judging stage");
    // A judge whose params follow the seed still counts as the same judge.
    project.edit("over: [data, seed]", "over: [seed]");
    assert_eq!(row(&project.json(&["compare", "p.yaml"]), "a")["metrics"]["auroc"]["n"], 2);
}

#[test]
fn rows_of_other_judges_are_set_apart() {
    let project = Project::new(
        "
matrix: {seed: [1, 2]}
stages:
  data: {kind: command, with: {run: 'echo {seed} > $PIPELINE_OUT/x'}}
  judge:
    kind: command
    from: data
    with: {run: 'printf \"metric,value,n\\nauroc,0.5$(cat $PIPELINE_IN_INPUT/x),7\\n\" > $PIPELINE_OUT/metrics.csv'}
variants:
  one: {}
  two: {stages: {judge: {with: {run: 'printf \"metric,value,n\\nauroc,0.9$(cat $PIPELINE_IN_INPUT/x),9\\n\" > $PIPELINE_OUT/metrics.csv'}}}}
compare: {over: [seed]}
",
    );
    project.run_well(&[]);
    let comparison = project.json(&["compare", "p.yaml"]);
    assert_eq!(row(&comparison, "two")["metrics"]["auroc"]["best"], false);
    let apart = row(&comparison, "two")["apart"].as_str().unwrap();
    assert!(apart.starts_with("judged with run = "), "{apart}");
    assert!(apart.ends_with("; let a stage of its own judge, the same for every row"), "{apart}");
}

#[test]
fn a_run_that_was_stands_beside_the_present() {
    let project = ablation();
    let runs = project.json(&["log", "p.yaml"]);
    let first = runs[0]["begun"]["run"].as_str().unwrap();
    project.edit("better: {params: {value: 0.8}}", "better: {params: {value: 0.85}}");
    project.run_well(&[]);
    let against = project.json(&["compare", "p.yaml", "--against", first]);
    let better = &against["rows"][1];
    assert_eq!(better["name"], serde_json::json!(["better"]));
    close(&better["metrics"]["auroc"]["difference"]["mean"], 0.05);
    close(&against["rows"][0]["metrics"]["auroc"]["difference"]["mean"], 0.0);
    let text = project.cli(&["compare", "p.yaml", "--against", first]).exits(0).stdout.clone();
    assert!(text.contains("0.820 → 0.870 (+0.050"), "{text}");
    assert!(text.contains("note: input scores changed in 3 of 12 judging steps"), "{text}");
}

/// Recomputes every mean, spread and count from the artifacts in Python, without pandas.
const RECOMPUTE: &str = r#"
import json, math, os, subprocess, sys
import pyarrow.parquet as parquet
program, file, cache = sys.argv[1:4]
def ask(*arguments):
    return json.loads(subprocess.run([program, *arguments, "--cache", cache, "--json"], check=True, capture_output=True).stdout)
comparison, graph = ask("compare", file, "--metrics", "all"), ask("graph", file)
checked = 0
for block in comparison["blocks"]:
    for row in block["rows"]:
        values = {}
        for step in graph["steps"]:
            if step["stage"] != "evaluate" or row["name"] not in step["variants"]:
                continue
            folder = ask("show", file, step["step"])["folder"]
            for metric in parquet.read_table(os.path.join(folder, "metrics.parquet")).to_pylist():
                if metric["value"] is not None:
                    values.setdefault(metric["metric"], {})[step["axes"]["seed"]] = metric["value"]
        for name, found in row["metrics"].items():
            own = list(values.get(name, {}).values())
            assert found["n"] == len(own), (row["name"], name, found, own)
            mean = sum(own) / len(own)
            sd = math.sqrt(sum((value - mean) ** 2 for value in own) / (len(own) - 1))
            assert math.isclose(found["mean"], mean, rel_tol=1e-12), (row["name"], name)
            assert math.isclose(found["sd"], sd, rel_tol=1e-9, abs_tol=1e-15), (row["name"], name)
            checked += 1
print(checked)
"#;

#[test]
fn the_table_equals_what_python_computes_from_the_artifacts() {
    let Some(python) = python_with(Readers::Current, "pyarrow") else { return };
    let (file, cache) = quickstart();
    let output = Command::new(python)
        .args(["-c", RECOMPUTE])
        .args([program().as_os_str(), file.as_os_str(), cache.as_os_str()])
        .output()
        .unwrap();
    let ran = Ran::from(output);
    ran.exits(0);
    assert!(ran.stdout.trim().parse::<usize>().unwrap() >= 3 * 13, "{}", ran.stdout);
}
