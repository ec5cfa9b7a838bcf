//! Mistakes in a pipeline file: each is refused with its place, what was found, and how to fix it.

use support::Project;

/// A file that cannot be used, the line with the mistake, and what the message must contain.
const MISTAKES: [(&str, usize, &[&str]); 30] = [
    ("stages:\n  a: {kind: comand, with: {run: x}}\n", 2, &["did you mean `command`"]),
    ("stages:\n  a:\n    kind: command\n    wiht: {run: x}\n", 4, &["wiht", "did you mean `with`"]),
    ("stages:\n  a:\n    kind: command\n    with:\n      rum: x\n", 5, &["rum", "did you mean `run`"]),
    ("stagse:\n  a: {kind: command, with: {run: x}}\n", 1, &["stagse", "did you mean `stages`"]),
    ("stages:\n  a: {kind: typed, with: {}, in: {cell: {file: x}}}\n", 2, &["cell", "did you mean `cells`"]),
    ("stages:\n  a: {kind: typed, with: {}}\n", 2, &["cells"]),
    (
        "stages:\n  a:\n    kind: typed\n    in: {cells: {file: x}}\n    with:\n      width: wide\n",
        6,
        &["wide"],
    ),
    (
        "stages:\n  a:\n    kind: typed\n    in: {cells: {file: x}}\n    with:\n      model: {dept: 3}\n",
        6,
        &["did you mean `depth`"],
    ),
    (
        "stages:\n  a: {kind: crash, with: {}}\n  b: {kind: crash, with: {}}\n  a: {kind: dice, with: {}}\n",
        4,
        &["a"],
    ),
    (
        "stages:\n  a: {kind: crash, from: b, with: {}}\n  b: {kind: crash, from: a, with: {}}\n",
        2,
        &["a -> b -> a"],
    ),
    ("stages:\n  a: {kind: crash, from: a, with: {}}\n", 2, &["a -> a"]),
    (
        "stages:\n  sorted: {kind: crash, with: {}}\n  b: {kind: crash, from: sortd, with: {}}\n",
        3,
        &["sortd", "did you mean `sorted`"],
    ),
    (
        "stages:\n  a:\n    kind: command\n    with:\n      run: x\n      outputs: [../x]\n",
        6,
        &["leaves the stage's folder"],
    ),
    (
        "stages:\n  a:\n    kind: command\n    with:\n      run: x\n      outputs: [ok, /etc/x]\n",
        6,
        &["/etc/x"],
    ),
    ("stages:\n  a:\n    kind: command\n    with:\n      run: echo ${HOME}\n", 5, &["{{"]),
    ("stages:\n  a:\n    kind: command\n    with:\n      run: awk '{print $1}'\n", 5, &["{{"]),
    (
        "params: {width: 3}\nstages:\n  a:\n    kind: grow\n    with: {line: 'x{widht}'}\n",
        5,
        &["widht", "did you mean `width`"],
    ),
    ("matrix: {seed: []}\nstages:\n  a: {kind: crash, with: {}}\n", 1, &["seed"]),
    ("matrix: {}\nstages:\n  a: {kind: crash, with: {}}\n", 1, &["matrix"]),
    ("stages: {}\n", 1, &["stages"]),
    (
        "stages:\n  a: {kind: crash, with: {}, when: {sed: 1}}\nmatrix: {seed: [1]}\n",
        2,
        &["sed", "did you mean `seed`"],
    ),
    ("stages:\n  a: {kind: crash, with: {}, retries: -1}\n", 2, &["retries"]),
    ("stages:\n  a: {kind: crash, with: {}, timeout: soon}\n", 2, &["soon"]),
    ("stages:\n  a: {kind: crash, with: {}, resources: {memory: much}}\n", 2, &["much"]),
    ("stages:\n  a: {kind: crash, with: {}}\nvariants:\n  v: {params: {rate: 1}}\n", 4, &["rate"]),
    ("stages:\n  a: {kind: crash, with: {}}\nvariants:\n  v: {stages: {b: {with: {}}}}\n", 4, &["b"]),
    ("stages:\n  a: {kind: crash, with: {}\n", 3, &["p.yaml"]),
    ("stages:\n  a: [\n", 3, &["p.yaml"]),
    ("stages:\n  a: {kind: crash, with: {}}\n---\nstages: {}\n", 3, &["document"]),
    ("stages:\n  a: {kind: grow, with: {line: !!binary aGk=}}\n", 2, &["tag"]),
];

#[test]
fn every_mistake_is_shown_with_its_line_and_its_mend() {
    for (yaml, line, said) in MISTAKES {
        let ran = Project::of_toys(yaml).cli(&["plan", "p.yaml"]);
        assert_eq!(ran.code, Some(2), "{yaml}\n{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.is_empty());
        let place = format!("p.yaml:{line}:");
        for text in said.iter().copied().chain([place.as_str()]) {
            assert!(ran.stderr.contains(text), "{text:?} is not said of\n{yaml}\n{}", ran.stderr);
        }
    }
}

#[test]
fn a_complaint_reads_well() {
    let ran = Project::of_toys("stages:\n  a:\n    kind: command\n    with:\n      rum: sort\n")
        .cli(&["plan", "p.yaml"]);
    let expected = "\
error: unknown field `rum`
 --> p.yaml:5:7
  |
5 |       rum: sort
  |       ^^^ not one of the fields
  |
  = help: did you mean `run`?
";
    assert_eq!(ran.stderr, expected);
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
