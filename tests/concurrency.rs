//! Concurrent runs on one cache: each step is computed once, no run needs manual help, and nothing in use is removed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use support::{Project, Ran, wait_for};

fn chain(length: usize) -> String {
    let mut yaml = String::from("stages:\n  s0: {kind: grow, with: {line: l0, millis: 5}}\n");
    for i in 1..length {
        yaml.push_str(&format!(
            "  s{i}: {{kind: grow, from: s{}, with: {{line: l{i}, millis: 5}}}}\n",
            i - 1
        ));
    }
    yaml
}

#[test]
fn a_herd_computes_each_step_once() {
    for _ in 0..3 {
        let project = Project::of_toys(&chain(8));
        let children: Vec<_> = (0..6).map(|_| project.start(&[])).collect();
        let mut computed: HashMap<String, usize> = HashMap::new();
        for child in children {
            let ran = Ran::from(child.wait_with_output().unwrap());
            ran.exits(0);
            for step in ran.computed() {
                *computed.entry(step.to_owned()).or_default() += 1;
            }
        }
        assert_eq!(computed.len(), 8);
        assert!(computed.values().all(|count| *count == 1), "{computed:?}");
    }
}

#[test]
fn a_run_that_dies_frees_its_step_at_once() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, with: {run: 'if mkdir $PIPELINE_ROOT/first; then sleep 300; fi; echo x > $PIPELINE_OUT/x'}}}",
    );
    let mut first = project.start(&[]);
    wait_for(&project.path("first"));
    let mut second = project.start(&[]);
    let waits = format!("waiting for a: process {} is computing it", first.id());
    let mut said = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(&waits) {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it never waited");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let began = std::time::Instant::now();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(second.wait().unwrap().success(), "{rest}");
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(rest.contains("computed a\n"), "{rest}");
}

#[test]
fn collection_during_runs_pulls_nothing_away() {
    let project = Project::of_toys(&chain(6));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collections = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                project.cli(&["gc", "p.yaml", "--older-than", "1ms"]).exits(0);
                collections += 1;
            }
            collections
        });
        let runners: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..15 {
                        project.run_well(&[]);
                    }
                })
            })
            .collect();
        for runner in runners {
            runner.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(collector.join().unwrap() > 5);
    });
    project.cli(&["verify", "p.yaml"]).exits(0);
}

#[test]
fn collection_spares_a_run_in_progress_and_a_pinned_one() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, with: {run: 'echo a > $PIPELINE_OUT/x'}}, b: {kind: command, from: a, with: {run: 'touch $PIPELINE_ROOT/now; while test -e $PIPELINE_ROOT/wait; do sleep 0.01; done; cp $PIPELINE_IN_INPUT/x $PIPELINE_OUT/x'}}}",
    );
    project.write("wait", "");
    let child = project.start(&[]);
    wait_for(&project.path("now"));
    let collected = project.json(&["gc", "p.yaml", "--max-size", "0B"]);
    assert_eq!(collected["removed"], serde_json::json!([]));
    std::fs::remove_file(project.path("wait")).unwrap();
    Ran::from(child.wait_with_output().unwrap()).exits(0);

    let run = project.json(&["log", "p.yaml"])[0]["begun"]["run"].as_str().unwrap().to_owned();
    project.cli(&["log", "p.yaml", "--pin", &run]).exits(0);
    assert_eq!(project.json(&["gc", "p.yaml", "--max-size", "0B"])["removed"], serde_json::json!([]));
    project.cli(&["log", "p.yaml", "--unpin", &run]).exits(0);
    let dry = project.json(&["gc", "p.yaml", "--max-size", "0B", "--dry-run"]);
    assert_eq!(dry["removed"].as_array().unwrap().len(), 2);
    assert_eq!(project.run_well(&[]).counts()[0], 0, "a dry run removes nothing");
    assert_eq!(project.json(&["gc", "p.yaml", "--max-size", "0B"])["removed"].as_array().unwrap().len(), 2);
    assert_eq!(project.run_well(&[]).counts()[0], 2);
}
