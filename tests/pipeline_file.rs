//! Mistakes in a pipeline file: each is refused with its place, what was found, and how to fix it.

use support::Project;

/// What the message of each mistake shows, and a file with the mistake.
const MISTAKES: [(&str, &str); 24] = [
    ("unknown_kind_names_the_nearest", "stages:\n  a: {kind: comand, with: {run: x}}\n"),
    ("unknown_field_names_the_nearest", "stagse:\n  a: {kind: command, with: {run: x}}\n"),
    ("unknown_param_names_the_nearest", "stages:\n  a:\n    kind: command\n    with:\n      rum: sort\n"),
    (
        "unknown_param_in_a_map",
        "stages:\n  a:\n    kind: typed\n    in: {cells: {file: x}}\n    with:\n      model: {dept: 3}\n",
    ),
    (
        "param_of_another_type",
        "stages:\n  a:\n    kind: typed\n    in: {cells: {file: x}}\n    with:\n      width: wide\n",
    ),
    ("unknown_slot_names_the_nearest", "stages:\n  a: {kind: typed, with: {}, in: {cell: {file: x}}}\n"),
    ("missing_input_says_how_to_wire_it", "stages:\n  a: {kind: typed, with: {}}\n"),
    (
        "missing_file_says_where_it_was_sought",
        "stages:\n  a: {kind: grow, from: {file: cells.h5ad}, with: {line: x}}\n",
    ),
    (
        "unknown_stage_names_the_nearest",
        "stages:\n  sorted: {kind: crash, with: {}}\n  b: {kind: crash, from: sortd, with: {}}\n",
    ),
    (
        "cycle_names_its_stages",
        "stages:\n  a: {kind: crash, from: b, with: {}}\n  b: {kind: crash, from: a, with: {}}\n",
    ),
    (
        "duplicate_key_shows_both_places",
        "stages:\n  a: {kind: crash, with: {}}\n  a: {kind: dice, with: {}}\n",
    ),
    (
        "output_outside_the_folder",
        "stages:\n  a:\n    kind: command\n    with:\n      run: x\n      outputs: [ok, /etc/x]\n",
    ),
    (
        "shell_variable_in_braces_is_no_template",
        "stages:\n  a:\n    kind: command\n    with:\n      run: echo ${HOME}\n",
    ),
    (
        "unknown_name_in_a_template",
        "params: {width: 3}\nstages:\n  a:\n    kind: grow\n    with: {line: 'x{widht}'}\n",
    ),
    (
        "unknown_name_in_a_condition",
        "stages:\n  a: {kind: crash, with: {}, when: {sed: 1}}\nmatrix: {seed: [1]}\n",
    ),
    ("axis_without_values", "matrix: {seed: []}\nstages:\n  a: {kind: crash, with: {}}\n"),
    ("no_stages", "stages: {}\n"),
    ("negative_count", "stages:\n  a: {kind: crash, with: {}, retries: -1}\n"),
    ("time_without_a_unit", "stages:\n  a: {kind: crash, with: {}, timeout: soon}\n"),
    (
        "variant_of_an_unknown_param",
        "stages:\n  a: {kind: crash, with: {}}\nvariants:\n  v: {params: {rate: 1}}\n",
    ),
    (
        "variant_of_an_unknown_stage",
        "stages:\n  a: {kind: crash, with: {}}\nvariants:\n  v: {stages: {b: {with: {}}}}\n",
    ),
    ("bracket_that_is_not_closed", "stages:\n  a: {kind: crash, with: {}\n"),
    ("colon_in_a_plain_text", "stages:\n  a: {kind: command, with: {run: x}}\nname: words: sorted\n"),
    ("tag", "stages:\n  a: {kind: grow, with: {line: !!binary aGk=}}\n"),
];

#[test]
fn every_mistake_is_shown_with_its_line_and_its_mend() {
    for (rule, yaml) in MISTAKES {
        let project = Project::of_toys(yaml);
        project.cli(&["plan", "p.yaml"]).exits(2);
        project.reads(&format!("mistake_{rule}"), &["cat p.yaml", "plan p.yaml"]);
    }
}

#[test]
fn bombs_and_giants_are_refused_in_time() {
    let mut bomb = String::from("b0: &b0 [x, x]\n");
    for i in 1..40 {
        bomb.push_str(&format!("b{i}: &b{i} [*b{0}, *b{0}]\n", i - 1));
    }
    let deep =
        |open: &str, close: &str| format!("stages: {}1{}\n", open.repeat(20_000), close.repeat(20_000));
    let giant = format!("stages: {{a: {{kind: crash, with: {{}}}}}}\n# {}\n", "x".repeat(1 << 20));
    let alias = "stages: &s\n  a: *s\n".to_owned();
    for yaml in [bomb, deep("[", "]"), deep("{a: ", "}"), giant, alias] {
        let began = std::time::Instant::now();
        let ran = Project::of_toys(&yaml).cli(&["plan", "p.yaml"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        let line = ran.stderr.split("p.yaml:").nth(1).and_then(|rest| rest.split(':').next());
        assert!(line.is_some_and(|line| line.parse::<usize>().is_ok()), "{}", ran.stderr);
        assert!(ran.stderr.len() < 2000, "{}", ran.stderr);
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
}

#[test]
fn other_things_than_text_files_are_refused() {
    let project = Project::of_toys("stages: {}");
    project.cli(&["plan", "nowhere.yaml"]).exits(2).says("nowhere.yaml");
    project.cli(&["plan", "."]).exits(2).says("found a folder");
    project.cli(&["plan", "/dev/zero"]).exits(2).says("found a pipe or a device");
    std::fs::write(project.path("p.yaml"), b"\xff\xfe\x00").unwrap();
    project.cli(&["plan", "p.yaml"]).exits(2).says("not UTF-8");
}

#[test]
fn sets_are_checked() {
    let project = Project::of_toys("params: {width: 1}\nstages: {a: {kind: grow, with: {line: 'w{width}'}}}");
    project.run_well(&["--set", "width=2"]);
    assert_eq!(
        project.cli(&["show", "p.yaml", "a", "--set", "width=2"]).exits(0).stdout.matches("w2").count(),
        2
    );
    project.run(&["--set", "widht=2"]).exits(2).says("did you mean `width`");
    project.run(&["--set", "width"]).exits(2).says("NAME=VALUE");
}

#[test]
fn an_unused_axis_is_told() {
    let project = Project::of_toys("matrix: {seed: [1, 2]}\nstages: {a: {kind: grow, with: {line: x}}}");
    project.run_well(&[]).says("warning: ").says("seed");
}
