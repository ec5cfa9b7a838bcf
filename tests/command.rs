//! `command` stages: what they see, what they may write, and that no process outlives them.

use std::time::{Duration, Instant};
use support::{Project, signal, wait_for};

fn one(run: &str) -> Project {
    Project::of_toys(&format!(
        "stages:\n  a:\n    kind: command\n    with:\n      run: |\n        {}\n",
        run.replace('\n', "\n        ")
    ))
}

#[test]
fn the_environment_is_clean() {
    let project = one("env | sort > \"$PIPELINE_OUT/env\"\npwd > \"$PIPELINE_OUT/pwd\"");
    let mut command = project.command(&["run", "p.yaml"]);
    assert!(command.env("SECRET", "s3cret").env("LANG", "C").output().unwrap().status.success());
    let env = project.output("a", "env");
    let mut names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(names, ["PATH", "PIPELINE_CPUS", "PIPELINE_OUT", "PIPELINE_ROOT", "TMPDIR"]);
    assert!(project.output("a", "pwd").contains("/v1/tmp/"));
}

#[test]
fn an_error_in_any_line_is_an_error() {
    one("false\necho late > \"$PIPELINE_OUT/x\"").run(&[]).exits(1).says("exit code 1");
    one("echo $UNSET_NAME").run(&[]).exits(1).says("UNSET_NAME");
}

#[test]
fn a_script_that_is_not_where_the_command_runs_is_shown_where_it_is() {
    let project = Project::of_toys("stages: {a: {kind: command, with: {run: sh say.sh, scripts: [say.sh]}}}");
    project.write("say.sh", "echo hello > \"$PIPELINE_OUT/x\"\n");
    project.run(&[]).exits(1).says("from where say.sh is \"$PIPELINE_ROOT/say.sh\"");
    project.edit("run: sh say.sh", "run: sh \"$PIPELINE_ROOT/say.sh\"");
    project.run_well(&[]);
}

#[test]
fn outputs_are_checked() {
    let yaml =
        |run: &str| format!("stages: {{a: {{kind: command, with: {{run: '{run}', outputs: [x, d/y]}}}}}}");
    let good = "mkdir $PIPELINE_OUT/d; echo 1 > $PIPELINE_OUT/x; echo 2 > $PIPELINE_OUT/d/y";
    Project::of_toys(&yaml(good)).run_well(&[]);
    Project::of_toys(&yaml("echo 1 > $PIPELINE_OUT/x")).run(&[]).exits(1).says("did not write `d/y`");
    Project::of_toys(&yaml(&format!("{good}; echo 3 > $PIPELINE_OUT/z")))
        .run(&[])
        .exits(1)
        .says("`z` into $PIPELINE_OUT, which `outputs` does not name");
}

#[test]
fn an_empty_result_is_a_failure_that_says_where_to_write() {
    let project = one("echo hi > x.txt");
    let ran = project.run(&[]);
    ran.exits(1).says("but `x.txt` into its working folder").says("write to \"$PIPELINE_OUT/x.txt\"");
    assert!(project.files("cache/v1/entries").is_empty(), "nothing is cached");
    one("true").run(&[]).exits(1).says("write its results there").says("`allow_empty: true`");
    let project = Project::of_toys("stages: {a: {kind: command, with: {run: 'true', allow_empty: true}}}");
    assert!(!project.run_well(&[]).stderr.contains("warning"));
}

#[test]
fn a_link_is_no_output() {
    let project = one("ln -s /etc/passwd \"$PIPELINE_OUT/x\"");
    project.run(&[]).exits(1).says("the output `x` is a link or a device");
    assert!(project.files("cache/v1/entries").is_empty());
}

#[test]
fn a_hard_link_to_an_input_becomes_a_copy() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, in: {text: {file: input.txt}}, with: {run: 'ln \"$PIPELINE_IN_TEXT\" \"$PIPELINE_OUT/x\"'}}}",
    );
    project.write("input.txt", "first\n");
    project.run_well(&["--cache", "cache"]);
    project.write("input.txt", "other\n");
    project.cli(&["verify", "p.yaml"]).exits(0);
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let project = one("sleep 300 &\nsetsid sleep 300 &\necho $! > \"$PIPELINE_OUT/x\"");
    let began = Instant::now();
    project.run_well(&[]);
    assert!(began.elapsed() < Duration::from_secs(5));
    let process = project.output("a", "x").trim().to_owned();
    assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
}

#[test]
fn steps_that_share_a_warden_share_nothing_else() {
    let project = Project::of_toys(
        r#"
stages:
  a: {kind: command, with: {run: 'echo of a; setsid sleep 300 & echo "$PPID $!" > "$PIPELINE_OUT/x"'}}
  b: {kind: command, in: {a: a}, with: {run: 'read warden left < "$PIPELINE_IN_A/x"; [ $PPID = $warden ]; ! kill -0 $left; echo of b; false'}}
  ends-its-group: {kind: command, in: {a: a}, with: {run: 'kill -9 0'}}
  last: {kind: command, in: {a: a}, with: {run: 'env | grep -c IN_A > "$PIPELINE_OUT/x"'}}
"#,
    );
    let told = project.run(&["--jobs", "1", "--keep-going"]);
    let told = told.exits(1).says("of b").says("exit code 137");
    assert_eq!(told.counts(), [2, 0, 0, 2]);
    assert!(!told.stdout.contains("of a") && !told.stderr.contains("of a"), "the output of another step");
    assert_eq!(project.output("last", "x"), "1\n");
}

#[test]
fn a_killed_warden_fails_its_step_alone() {
    let project = Project::of_toys(
        r#"
stages:
  a: {kind: command, with: {run: 'kill -9 $PPID; sleep 1'}}
  b: {kind: command, with: {run: 'echo 1 > "$PIPELINE_OUT/x"'}}
"#,
    );
    let told = project.run(&["--jobs", "1", "--keep-going"]);
    assert_eq!(told.exits(1).says("warden was killed").counts(), [1, 0, 0, 1]);
    assert_eq!(project.output("b", "x"), "1\n");
}

/// Two processes that are hard to stop: one ignores SIGTERM, one leaves its session.
const STUBBORN: &str = r#"
stages:
  ignores: {kind: command, with: {run: 'trap "" TERM; echo $$ > $PIPELINE_ROOT/ignores; sleep 300; sleep 300'}}
  leaves: {kind: command, with: {run: 'setsid sh -c "echo \$\$ > $PIPELINE_ROOT/leaves; exec sleep 300"'}}
"#;

fn assert_gone(project: &Project) {
    for name in ["ignores", "leaves"] {
        let process = project.read(name).trim().to_owned();
        let began = Instant::now();
        while std::path::Path::new(&format!("/proc/{process}")).exists() {
            assert!(began.elapsed() < Duration::from_secs(2), "{name} outlived the engine");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn stubborn() -> (Project, std::process::Child) {
    let project = Project::of_toys(STUBBORN);
    let child = project.start(&["--jobs", "2"]);
    for name in ["ignores", "leaves"] {
        wait_for(&project.path(name));
        while project.read(name).is_empty() {}
    }
    (project, child)
}

#[test]
fn a_killed_engine_leaves_no_orphan() {
    let (project, mut child) = stubborn();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_gone(&project);
}

#[test]
fn a_signal_ends_even_stubborn_programs_in_time() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let (project, child) = stubborn();
        let began = Instant::now();
        signal(child.id(), name);
        let output = child.wait_with_output().unwrap();
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(output.status.code(), Some(code));
        assert_gone(&project);
        let summary = String::from_utf8(output.stdout).unwrap();
        assert!(summary.contains("0 computed, 0 cached, 2 skipped, 0 failed"), "{summary}");
        assert!(project.files("cache/v1/tmp").is_empty(), "drafts go with the run");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let (project, child) = stubborn();
    let began = Instant::now();
    signal(child.id(), "INT");
    std::thread::sleep(Duration::from_millis(100));
    signal(child.id(), "INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_gone(&project);
}

#[test]
fn a_program_keeps_its_checkpoints_until_it_is_done() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, with: {checkpoint: true, run: 'echo x >> $PIPELINE_CHECKPOINT/n; test $(wc -l < $PIPELINE_CHECKPOINT/n) -ge 2; cp $PIPELINE_CHECKPOINT/n $PIPELINE_OUT/n'}}}",
    );
    project.run(&[]).exits(1);
    project.run_well(&[]);
    assert_eq!(project.output("a", "n"), "x\nx\n");
    assert!(project.files("cache/v1/checkpoints").is_empty());
}

#[test]
fn an_input_that_changes_while_it_is_read_is_an_error() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, in: {text: {file: input.txt}}, with: {run: 'cp \"$PIPELINE_IN_TEXT\" \"$PIPELINE_OUT/x\"; echo more >> \"$PIPELINE_IN_TEXT\"'}}}",
    );
    project.write("input.txt", "first\n");
    project.run(&[]).exits(1).says("changed while the step ran");
    assert!(project.files("cache/v1/entries").is_empty());
}
