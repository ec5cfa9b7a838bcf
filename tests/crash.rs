//! Kills at known moments: nothing announced is lost, nothing incomplete is used, and the rerun needs no flag.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{Project, signal, wait_for};

fn chain(length: usize, millis: u64) -> String {
    let mut yaml = format!("stages:\n  s0: {{kind: grow, with: {{line: l0, millis: {millis}}}}}\n");
    for i in 1..length {
        yaml.push_str(&format!(
            "  s{i}: {{kind: grow, from: s{}, with: {{line: l{i}, millis: {millis}}}}}\n",
            i - 1
        ));
    }
    yaml
}

#[test]
fn what_was_announced_is_never_computed_again() {
    let project = Project::of_toys(&chain(12, 3));
    let mut announced: Vec<String> = Vec::new();
    for kill_after in [1, 2, 3] {
        let mut child = project.start(&[]);
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let done =
            lines.map_while(Result::ok).filter(|line| line.starts_with("stage ") && line.ends_with(" done"));
        announced.extend(done.take(kill_after));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let rest = project.run_well(&[]);
    for line in &announced {
        let step = line.split(' ').nth(1).unwrap();
        assert!(!rest.computed().contains(&step), "{step} was announced and computed again");
    }
    assert_eq!(announced.len(), 6);
    assert_eq!(project.output("s11", "text").lines().count(), 12);
    assert!(project.files("cache/v1/tmp").is_empty(), "drafts of dead runs are swept");
}

#[test]
fn a_kill_in_mid_stage_leaves_nothing_half() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, with: {run: 'echo half > $PIPELINE_OUT/x; touch $PIPELINE_ROOT/now; sleep $(cat $PIPELINE_ROOT/wait); echo whole > $PIPELINE_OUT/x'}}}",
    );
    project.write("wait", "60");
    let mut child = project.start(&[]);
    wait_for(&project.path("now"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(project.files("cache/v1/entries").is_empty());
    project.write("wait", "0");
    assert_eq!(project.run_well(&[]).computed(), ["a"]);
    assert_eq!(project.output("a", "x"), "whole\n");
}

fn trained(project: &Project) -> String {
    project.output("t", "weights.json")
}

/// The checkpoints that are whole, the newest last.
fn checkpoints(project: &Project) -> Vec<PathBuf> {
    let mut files = project.files("cache/v1/checkpoints");
    files.retain(|path| !path.ends_with("draft"));
    files
}

const TRAIN: &str = "stages: {t: {kind: train, with: {steps: 60, millis: 8, every: 5}}}";

#[test]
fn a_resumed_training_equals_the_uninterrupted_one_bit_for_bit() {
    let whole = Project::of_toys(TRAIN);
    whole.run_well(&[]);
    for name in ["TERM", "KILL", "INT"] {
        let project = Project::of_toys(TRAIN);
        let child = project.start(&[]);
        let began = Instant::now();
        while checkpoints(&project).len() < 2 {
            assert!(began.elapsed() < Duration::from_secs(20), "no checkpoints");
        }
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        project.run_well(&[]).says("note: t: going on from step ");
        assert!(!project.run_well(&[]).stderr.contains("warning"), "the result is no worse for it");
        assert_eq!(trained(&project), trained(&whole), "after SIG{name}");
        assert!(project.files("cache/v1/checkpoints").is_empty(), "they go with the commit");
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_with_a_warning() {
    let whole = Project::of_toys(TRAIN);
    whole.run_well(&[]);
    let project = Project::of_toys(TRAIN);
    let mut child = project.start(&[]);
    while checkpoints(&project).len() < 2 {}
    child.kill().unwrap();
    child.wait().unwrap();
    let newest = checkpoints(&project).pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[0] ^= 4;
    std::fs::write(&newest, bytes).unwrap();
    project.run_well(&[]).says("is damaged; going on from the one before");
    assert_eq!(trained(&project), trained(&whole));
}

#[test]
fn a_signal_lets_a_training_save_and_tells_what_was_skipped() {
    let project = Project::of_toys(TRAIN);
    let child = project.start(&[]);
    while project.files("cache/v1/checkpoints").is_empty() {}
    signal(child.id(), "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("skipped t: stopped by a signal"), "{stderr}");
    assert!(
        stderr.contains("stopped by SIGTERM; finished steps are kept, run again to continue"),
        "{stderr}"
    );
}

#[test]
fn a_stage_that_hears_nothing_does_not_hold_the_process() {
    let project = Project::of_toys("stages: {d: {kind: deaf, with: {millis: 60000}}}");
    let child = project.start(&[]);
    wait_for(&project.path("deaf-began"));
    let began = Instant::now();
    signal(child.id(), "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
