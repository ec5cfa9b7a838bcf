//! What makes a step run again and what does not. Each field of a recipe has two tests: changing it
//! is a cache miss, changing what is not in it is a hit.

use support::Project;

const TWO: &str = r#"
name: two
params: {word: one}
stages:
  first:
    kind: command
    in: {text: {file: input.txt}}
    with: {run: 'grep -v "^#" "$PIPELINE_IN_TEXT" > "$PIPELINE_OUT/text"; echo {word} >> "$PIPELINE_OUT/text"'}
  second:
    kind: command
    from: first
    with: {run: 'wc -c < "$PIPELINE_IN_INPUT/text" > "$PIPELINE_OUT/size"'}
"#;

fn two() -> Project {
    let project = Project::of_toys(TWO);
    project.write("input.txt", "hello\n# comment\n");
    project
}

#[test]
fn the_first_run_computes_everything_and_the_second_nothing() {
    let project = two();
    let first = project.run_well(&[]);
    assert_eq!(first.computed(), ["first", "second"]);
    assert_eq!(first.counts(), [2, 0, 0, 0]);
    first.says("stage first done").says("stage second done");
    let second = project.run_well(&[]);
    assert!(second.computed().is_empty());
    assert_eq!(second.counts(), [0, 2, 0, 0]);
    assert_eq!(project.output("second", "size").trim(), "10");
}

#[test]
fn a_changed_input_reruns_its_consumers() {
    let project = two();
    project.run_well(&[]);
    project.write("input.txt", "hello you\n");
    assert_eq!(project.run_well(&[]).computed(), ["first", "second"]);
}

#[test]
fn equal_bytes_stop_the_propagation() {
    let project = two();
    project.run_well(&[]);
    project.write("input.txt", "hello\n# another comment\n");
    assert_eq!(project.run_well(&[]).computed(), ["first"]);
}

#[test]
fn a_touched_input_reruns_nothing() {
    let project = two();
    project.run_well(&[]);
    let file = std::fs::File::options().append(true).open(project.path("input.txt")).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(3600)).unwrap();
    assert!(project.run_well(&[]).computed().is_empty());
}

#[test]
fn an_edit_that_keeps_size_and_time_is_noticed() {
    let project = two();
    let path = project.path("input.txt");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    let set_time = || std::fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
    set_time();
    project.run_well(&[]);
    project.write("input.txt", "hullo\n# comment\n");
    set_time();
    assert_eq!(project.run_well(&[]).computed(), ["first", "second"]);
}

#[test]
fn a_changed_param_misses_and_a_reverted_one_hits() {
    let project = two();
    project.run_well(&[]);
    let changed = project.run_well(&["--set", "word=two"]);
    assert_eq!(changed.computed(), ["first", "second"]);
    changed.says("started first: param run: ");
    assert!(project.run_well(&[]).computed().is_empty());
}

#[test]
fn names_order_and_comments_are_not_in_the_key() {
    let project = two();
    project.run_well(&[]);
    project.edit("name: two", "# a comment\nname: another");
    project.edit("first", "premier");
    assert!(project.run_well(&[]).computed().is_empty());
}

#[test]
fn resources_retries_and_timeouts_are_not_in_the_key() {
    let project = two();
    project.run_well(&[]);
    project.edit(
        "    from: first",
        "    from: first\n    retries: 2\n    timeout: 1h\n    resources: {cpus: 2, memory: 1GiB, time: 10m}",
    );
    assert!(project.run_well(&["--jobs", "1"]).computed().is_empty());
}

#[test]
fn the_place_of_the_project_is_not_in_the_key() {
    let project = two();
    project.run_well(&["--cache", "shared-cache"]);
    project.write("elsewhere/p.yaml", TWO);
    project.write("elsewhere/input.txt", "hello\n# comment\n");
    let moved = project.cli(&["run", "elsewhere/p.yaml", "--cache", "shared-cache"]);
    assert_eq!(moved.exits(0).counts(), [0, 2, 0, 0]);
}

#[test]
fn a_changed_kind_misses() {
    let project = Project::of_toys("stages: {a: {kind: dice, with: {}}}");
    project.run_well(&[]);
    project.edit("dice", "where");
    assert_eq!(project.run_well(&[]).computed(), ["a"]);
}

#[test]
fn a_changed_script_misses_and_an_unlisted_one_hits() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, with: {run: 'sh \"$PIPELINE_ROOT/s.sh\" > \"$PIPELINE_OUT/o\"', scripts: [s.sh]}}}",
    );
    project.write("s.sh", "echo 1\n");
    project.run_well(&[]);
    project.write("other.sh", "echo 2\n");
    assert!(project.run_well(&[]).computed().is_empty());
    project.write("s.sh", "echo 2\n");
    let ran = project.run_well(&[]);
    assert_eq!(ran.computed(), ["a"]);
    ran.says("started a: code s.sh:");
}

#[test]
fn a_variable_let_through_is_in_the_key_and_others_are_not() {
    let project = Project::of_toys(
        "stages: {a: {kind: command, with: {run: 'echo \"$LANG\" > \"$PIPELINE_OUT/o\"', env: [LANG]}}}",
    );
    let run = |lang: &str, other: &str| {
        let mut command = project.command(&["run", "p.yaml"]);
        support::Ran::from(command.env("LANG", lang).env("OTHER", other).output().unwrap()).counts()[0]
    };
    assert_eq!(run("C", "1"), 1);
    assert_eq!(run("C", "2"), 0);
    assert_eq!(run("en", "2"), 1);
}

#[test]
fn the_device_is_in_the_key_of_kinds_that_compute_on_it() {
    let project = Project::of_toys("stages: {a: {kind: where, with: {}}, b: {kind: grow, with: {line: x}}}");
    project.run_well(&[]);
    project.edit("kind: where,", "kind: where, resources: {gpus: 1},");
    project.edit("kind: grow,", "kind: grow, resources: {gpus: 1},");
    let ran = project.run_well(&["--gpus", "3"]);
    assert_eq!(ran.computed(), ["a"]);
    ran.says("started a: device: cpu → cuda");
    assert_eq!(project.output("a", "text"), "Cuda(3) [3]\n");
}

#[test]
fn equal_steps_are_one_step() {
    let project = Project::of_toys(
        r#"
params: {lines: 1}
matrix: {seed: [1, 2]}
stages:
  base: {kind: command, with: {run: 'echo base > "$PIPELINE_OUT/o"'}}
  part: {kind: command, from: base, with: {run: 'head -n {lines} "$PIPELINE_IN_INPUT/o" > "$PIPELINE_OUT/o"; echo {seed} >> "$PIPELINE_OUT/o"'}}
variants: {plain: {}, same: {params: {lines: 1}}, long: {params: {lines: 2}}}
"#,
    );
    let ran = project.run_well(&[]);
    assert_eq!(
        ran.computed(),
        ["base", "part[seed=1,variant=long]", "part[seed=1]", "part[seed=2,variant=long]", "part[seed=2]"]
    );
}

#[test]
fn equal_stages_of_different_names_are_computed_once() {
    let stage = "{kind: command, with: {run: 'sleep 0.1; echo x > \"$PIPELINE_OUT/o\"'}}";
    let project = Project::of_toys(&format!("stages: {{a: {stage}, b: {stage}, c: {stage}}}"));
    let ran = project.run_well(&["--jobs", "3"]);
    assert_eq!(ran.counts(), [1, 2, 0, 0]);
    assert!(!ran.stderr.contains("waiting"), "{}", ran.stderr);
}

#[test]
fn random_edits_hit_if_and_only_if_nothing_changed() {
    let project = Project::of_toys(
        "params: {word: w0}\nstages: {a: {kind: grow, in: {text: {file: input.txt}}, with: {line: '{word}'}}}",
    );
    let mut random = 12345u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    let mut seen = std::collections::HashSet::new();
    for _ in 0..60 {
        let (content, word) = (format!("content {}\n", next(6)), format!("w{}", next(4)));
        project.write("input.txt", &content);
        let fresh = seen.insert((content.clone(), word.clone()));
        let ran = project.run_well(&["--set", &format!("word={word}")]);
        assert_eq!(ran.counts()[0], usize::from(fresh), "{content}{word}");
    }
}

/// Replaces a file's content in place, in two writes, as a careless program would.
fn rewrite(path: &std::path::Path, content: &str) {
    use std::io::Write;
    let mut file = std::fs::File::options().write(true).truncate(true).open(path).unwrap();
    let (first, second) = content.split_at(content.len() / 2);
    file.write_all(first.as_bytes()).unwrap();
    file.write_all(second.as_bytes()).unwrap();
}

#[test]
fn an_input_changed_at_any_instant_is_never_recorded_under_the_wrong_key() {
    let project = Project::of_toys(
        "stages: {a: {kind: grow, in: {text: {file: input.txt}}, with: {line: x, millis: 3}}}",
    );
    let contents = ["first\n".repeat(5000), "other\n".repeat(5000), "third\n".repeat(4000)];
    project.write("input.txt", &contents[0]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in (0..).take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed)) {
                rewrite(&project.path("input.txt"), &contents[turn % 3]);
                std::thread::sleep(std::time::Duration::from_micros(1000 + 700 * (turn as u64 % 7)));
            }
        });
        let mut refused = 0;
        for _ in 0..200 {
            let ran = project.run(&[]);
            refused += usize::from(ran.code != Some(0));
            assert!(ran.code == Some(0) || ran.stderr.contains("changed while"), "{}", ran.stderr);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(refused > 0, "no change fell into a run");
    });
    for content in &contents {
        project.write("input.txt", content);
        project.run_well(&[]);
        assert!(
            project.output("a", "text") == format!("{content}x\n"),
            "an artifact has the content of another"
        );
    }
}

#[test]
fn what_only_a_changed_program_makes_due_is_counted_and_adopted_as_a_whole() {
    let stages = "stages:\n  a: {kind: grow, with: {line: x}}\n  b: {kind: grow, from: a, with: {line: y}}\n  \
                  c: {kind: command, from: b, with: {run: 'cat $PIPELINE_IN_INPUT/* > $PIPELINE_OUT/o'}}\n";
    let project = Project::of_toys(stages);
    project.run_well(&[]);
    let changed = |arguments: &[&str]| {
        let output = project.command(arguments).env("TOYS_CHANGED", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let plan = changed(&["plan", "p.yaml"]);
    assert!(
        plan.contains("1 due, 2 waiting") && plan.contains("1 due only because the program changed"),
        "{plan}"
    );
    let adopted = changed(&["adopt", "p.yaml", "--all"]);
    assert_eq!(adopted.lines().count(), 2, "{adopted}");
    assert!(changed(&["run", "p.yaml"]).contains("0 computed, 3 cached"));
    assert!(
        changed(&["adopt", "p.yaml", "--all"]).contains("no step is due only because the program changed")
    );
    // If a param has changed as well, the program is not the only change.
    project.edit("line: x", "line: z");
    project.command(&["run", "p.yaml"]).output().unwrap();
    project.edit("line: z", "line: w");
    assert!(!changed(&["plan", "p.yaml"]).contains("only because the program changed"));
}
