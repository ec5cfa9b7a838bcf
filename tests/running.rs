//! The run loop: selection, failures, retries, resources, matrix and variants.

use std::time::{Duration, Instant};
use support::Project;

#[test]
fn a_failure_shows_its_last_lines_and_where_all_of_them_are() {
    let project =
        Project::of_toys("stages: {a: {kind: command, with: {run: 'seq 100; echo broken >&2; exit 3'}}}");
    let ran = project.run(&[]);
    ran.exits(1).says("failed a: the command ended with exit code 3").says("  | 100").says("  | broken");
    assert_eq!(ran.counts(), [0, 0, 0, 1]);
    let line = ran.stderr.lines().find(|line| line.contains("all of its output: ")).unwrap();
    let log = std::fs::read_to_string(line.split_once("output: ").unwrap().1).unwrap();
    assert!(log.starts_with("1\n2\n") && log.ends_with("broken\n"));
}

const THREE: &str = r#"
stages:
  bad: {kind: command, with: {run: exit 1}}
  after: {kind: command, from: bad, with: {run: 'true'}}
  good: {kind: command, with: {run: 'sleep 0.2; echo x > "$PIPELINE_OUT/x"'}}
  last: {kind: command, from: good, with: {run: 'cp "$PIPELINE_IN_INPUT/x" "$PIPELINE_OUT/x"'}}
"#;

#[test]
fn a_failure_starts_no_new_step_and_loses_none_that_runs() {
    let ran = Project::of_toys(THREE).run(&["--jobs", "2"]);
    assert_eq!(ran.exits(1).computed(), ["good"]);
    assert_eq!(ran.counts(), [1, 0, 2, 1]);
    let skipped = |ran: &support::Ran| ran.stderr.matches("skipped ").count();
    assert_eq!(skipped(&ran), 2, "each is told once");
    let chain = "stages: {a: {kind: command, with: {run: exit 1}}, b: {kind: command, with: {run: 'true'}}, c: {kind: command, from: b, with: {run: 'true'}}}";
    let ran = Project::of_toys(chain).run(&["--jobs", "1"]);
    assert_eq!((ran.counts(), skipped(&ran)), ([0, 0, 2, 1], 2), "{}", ran.stderr);
}

#[test]
fn keep_going_computes_what_does_not_need_the_failed_one() {
    let ran = Project::of_toys(THREE).run(&["--keep-going"]);
    assert_eq!(ran.exits(1).computed(), ["good", "last"]);
    ran.says("skipped after: bad failed");
}

#[test]
fn a_panic_of_a_stage_is_a_failure_of_that_stage() {
    let project = Project::of_toys("stages: {a: {kind: crash, with: {}}}");
    project.run(&[]).exits(1).says("failed a: the stage panicked: a bug in the stage");
    assert!(project.files("cache/v1/tmp").is_empty());
}

#[test]
fn a_flaky_step_is_tried_again_as_often_as_it_may() {
    let yaml = "stages: {a: {kind: flaky, with: {good_from: 2}, retries: 1}}";
    let project = Project::of_toys(yaml);
    let began = Instant::now();
    let ran = project.run_well(&[]);
    assert_eq!(ran.says("attempt 1 of 2").says("tried again in 1.00 s").counts(), [1, 0, 0, 0]);
    assert!(began.elapsed() >= Duration::from_secs(1), "the second attempt waits");
    let project = Project::of_toys(&yaml.replace("good_from: 2", "good_from: 3"));
    assert_eq!(project.run(&[]).exits(1).counts(), [0, 0, 0, 1]);
}

#[test]
fn a_step_over_its_time_is_ended() {
    for limit in ["timeout: 200ms", "resources: {time: 200ms}"] {
        let project =
            Project::of_toys(&format!("stages: {{a: {{kind: command, with: {{run: sleep 60}}, {limit}}}}}"));
        let began = Instant::now();
        project.run(&[]).exits(1).says("stopped after its time limit of 200ms");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn only_until_and_force_choose_steps() {
    let chain = |last: &str| {
        format!(
            "stages:\n  a: {{kind: grow, with: {{line: a}}}}\n  b: {{kind: grow, from: a, with: {{line: b}}}}\n  c: {{kind: grow, from: b, with: {{line: {last}}}}}\n"
        )
    };
    let project = Project::of_toys(&chain("c"));
    let only = project.run(&["--only", "b"]);
    only.exits(2).says("a is not asked for and has no artifact");
    only.says("error: 1 of 1 step asked for was skipped").says("--until instead of --only");
    assert_eq!(project.run_well(&["--until", "b"]).computed(), ["a", "b"]);
    assert_eq!(project.run_well(&["--only", "c"]).computed(), ["c"]);
    assert_eq!(project.run_well(&["--force", "b"]).computed(), ["b"]);
    project.run(&["--only", "d"]).exits(2).says("d");
}

#[test]
fn a_step_that_must_be_computed_anew_replaces_its_artifact() {
    let project = Project::of_toys("stages: {a: {kind: dice, with: {}}}");
    project.run_well(&[]);
    let first = project.output("a", "text");
    let forced = project.run_well(&["--force", "a"]);
    forced.says("warning: a: it is not reproducible");
    assert_ne!(project.output("a", "text"), first);
}

#[test]
fn matrix_variants_and_when_make_the_steps() {
    let project = Project::of_toys(
        r#"
params: {word: w}
matrix: {dataset: [{name: small, size: 1}, {name: large, size: 2}], seed: [1, 2]}
stages:
  data: {kind: grow, with: {line: 'data {dataset} {size}'}}
  extra: {kind: grow, from: data, when: {dataset: large}, with: {line: extra}}
  fit: {kind: grow, from: data, with: {line: '{word} {seed}'}}
variants:
  plain: {}
  other: {params: {word: v}}
"#,
    );
    let ran = project.run_well(&[]);
    let computed = ran.computed();
    assert_eq!(computed.len(), 2 + 1 + 8, "{computed:?}");
    assert!(computed.contains(&"extra[dataset=large]"));
    assert!(computed.contains(&"fit[dataset=small,seed=2,variant=other]"));
    assert_eq!(project.output("fit[dataset=large,seed=1]", "text"), "data large 2\nw 1\n");
}

#[test]
fn an_absent_optional_input_is_told_and_the_run_succeeds() {
    let project = Project::of_toys(
        r#"
params: {data: null}
stages:
  real: {kind: grow, in: {data: {file: '{data}/x.txt', optional: 'give it with --set data=DIR'}}, with: {line: a}}
  after: {kind: grow, from: real, with: {line: b}}
  other: {kind: grow, with: {line: c}}
"#,
    );
    let ran = project.run_well(&[]);
    ran.says("absent real: give it with --set data=DIR").says("absent after: give it with --set data=DIR");
    assert_eq!(ran.counts(), [1, 0, 2, 0]);
    project.write("there/x.txt", "x\n");
    assert_eq!(project.run_well(&["--set", "data=there"]).counts(), [2, 1, 0, 0]);
}

#[test]
fn of_many_steps_that_are_absent_for_one_reason_a_few_are_named() {
    let project = Project::of_toys(
        "params: {data: null}\nmatrix: {n: [1, 2, 3, 4, 5]}\nstages:\n  real: {kind: grow, in: {data: {file: '{data}/{n}.txt', optional: 'give it with --set data=DIR'}}, with: {line: 'line {n}'}}\n",
    );
    let ran = project.run_well(&[]);
    ran.says("absent real[n=3]: give it").says("absent: 2 more steps: give it with --set data=DIR");
    assert!(!ran.stderr.contains("real[n=4]"), "{}", ran.stderr);
    let plan = project.cli(&["plan", "p.yaml"]).stdout;
    assert!(
        plan.contains("absent   real[n=3]  give it with --set data=DIR\nabsent: 2 more steps: give it"),
        "{plan}"
    );
    assert!(!plan.contains("real[n=4]"), "{plan}");
    assert!(project.cli(&["plan", "p.yaml", "--all"]).stdout.contains("absent   real[n=5]  give it"));
}

#[test]
fn a_missing_input_is_told_before_anything_runs() {
    let project = Project::of_toys(
        "stages:\n  a: {kind: grow, with: {line: a}}\n  b:\n    kind: grow\n    in: {text: {file: nowhere.txt}}\n    with: {line: b}\n",
    );
    let ran = project.run(&[]);
    ran.exits(2).says("p.yaml:5").says("nowhere.txt").says("does not exist");
    assert!(ran.computed().is_empty());
}

#[test]
fn gpus_are_leased_by_id_and_never_twice() {
    let stages: String = (0..6)
        .map(|i| format!("  s{i}: {{kind: command, resources: {{gpus: 1}}, with: {{run: 'mkdir $PIPELINE_ROOT/$CUDA_VISIBLE_DEVICES; sleep 0.1; rmdir $PIPELINE_ROOT/$CUDA_VISIBLE_DEVICES; echo {i} > $PIPELINE_OUT/g'}}}}\n"))
        .collect();
    let project = Project::of_toys(&format!("stages:\n{stages}"));
    // `mkdir` fails if another step has the GPU.
    project.run_well(&["--gpus", "4,7", "--jobs", "4"]);
    let log = project.cli(&["log", "--run", "last", "--json"]).stdout;
    let mut used = Vec::new();
    for line in log.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["event"] == "started" {
            used.push(event["gpus"][0].as_u64().unwrap());
        }
    }
    assert_eq!(used.len(), 6);
    assert!(used.iter().all(|gpu| [4, 7].contains(gpu)), "{used:?}");
    project.edit("gpus: 1", "gpus: 3");
    project
        .run(&["--gpus", "4,7", "--force", "s0"])
        .exits(3)
        .says("asks for 3 GPUs, and this machine offers 2");
}

#[test]
fn jobs_limit_what_runs_at_once() {
    let stages: String = (0..6)
        .map(|i| format!("  s{i}: {{kind: command, with: {{run: 'mkdir $PIPELINE_ROOT/busy; sleep 0.02; rmdir $PIPELINE_ROOT/busy; echo {i} > $PIPELINE_OUT/x'}}}}\n"))
        .collect();
    Project::of_toys(&format!("stages:\n{stages}")).run_well(&["--jobs", "1"]);
}

#[test]
fn a_chain_of_thousands_needs_no_recursion() {
    let mut yaml = String::from("stages:\n  s0: {kind: grow, with: {line: x}}\n");
    for i in 1..3000 {
        yaml.push_str(&format!("  s{i}: {{kind: grow, from: s{}, with: {{line: l{i}}}}}\n", i - 1));
    }
    let project = Project::of_toys(&yaml);
    let plan = project.cli(&["plan", "p.yaml"]);
    assert!(plan.exits(0).stdout.ends_with("1 due, 2999 waiting, 0 cached, 0 absent\n"));
    assert_eq!(project.run_well(&["--until", "s200"]).counts()[0], 201);
}

#[test]
fn events_come_as_json_lines() {
    let project = Project::of_toys("stages: {a: {kind: grow, with: {line: a}}}");
    let ran = project.run_well(&["--json"]);
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["begun", "due", "started", "computed", "ended"]);
    assert_eq!(events[4]["computed"], 1);
}

#[test]
fn a_gpu_that_is_lacking_is_told_by_plan_as_by_run() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, resources: {gpus: 1}, with: {run: 'echo x > $PIPELINE_OUT/x'}}}",
    );
    let lacking = |arguments: &[&str]| {
        let mut command = project.command(arguments);
        support::Ran::from(command.env("CUDA_VISIBLE_DEVICES", "").output().unwrap())
    };
    for command in ["plan", "run"] {
        let ran = lacking(&[command, "p.yaml"]);
        ran.exits(3).says("the step a asks for 1 GPU, and this machine offers 0");
    }
    project.run_well(&["--gpus", "5"]);
    // What is in the cache needs no GPU.
    for command in ["plan", "run"] {
        lacking(&[command, "p.yaml"]).exits(0);
    }
}

#[test]
fn a_step_is_found_by_its_point_whatever_the_order_of_its_axes_and_the_variant_that_uses_it() {
    let project = Project::of_toys(
        "matrix: {data: [x, y], seed: [1, 2]}
params: {word: w}
stages:
  fit: {kind: grow, with: {line: '{word} {data} {seed}'}}
  read: {kind: grow, with: {line: '{data}'}}
variants: {plain: {}, other: {params: {word: v}}}
",
    );
    let step = |name: &str| project.json(&["why", "p.yaml", name])["step"].as_str().map(str::to_owned);
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(step("fit[seed=2,data=x]"), named("fit[data=x,seed=2]"));
    assert_eq!(step("fit[seed=2,data=x,variant=plain]"), named("fit[data=x,seed=2]"));
    assert_eq!(step("fit[variant=other,seed=2,data=x]"), named("fit[data=x,seed=2,variant=other]"));
    assert_eq!(step("read[data=y,variant=other]"), named("read[data=y]"));
    project.cli(&["why", "p.yaml", "fit[data=x,seed=3]"]).exits(2).says("did you mean");
    project.cli(&["why", "p.yaml", "fit[data=x,seed=1,variant=never]"]).exits(2);
}
