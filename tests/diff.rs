//! Comparisons of two steps or two runs.

use support::Project;

const FITS: &str = "
params: {skill: 0.7}
stages:
  one: {kind: exhibit, with: {seed: 1, skill: '{skill}'}}
  two: {kind: exhibit, with: {seed: 1, skill: 0.8}}
  text: {kind: grow, from: {file: input.txt}, with: {line: 'skill {skill}'}}
";

fn fits() -> Project {
    let project = Project::of_toys(FITS);
    project.write("input.txt", "x\n");
    project.run_well(&[]);
    project
}

#[test]
fn two_steps_differ_in_recipe() {
    let value = fits().json(&["diff", "p.yaml", "one", "two"]);
    assert_eq!(value["recipe"][0]["name"], "skill");
}

/// Two expression matrices that differ in one value of one cell.
const CELLS: &str = "
stages:
  one: {kind: cells, with: {value: 4}}
  two: {kind: cells, with: {value: 9}}
";

#[test]
fn sparse_rows_are_summarised_and_begin_where_they_differ() {
    let project = Project::of_toys(CELLS);
    project.run_well(&[]);
    let shown = project.cli(&["show", "p.yaml", "one", "--rows", "1"]).stdout;
    assert!(shown.contains("  c0    300 genes: n0 1, n1 1, n2 1, …\n"), "{shown}");
    let text = project.cli(&["diff", "p.yaml", "one", "two"]).stdout;
    assert!(text.contains("  - 1    c1    300 genes: … n200 4, n201 1, n202 1, …\n"), "{text}");
    assert!(text.contains("  +      c1    300 genes: … n200 9, n201 1, n202 1, …\n"), "{text}");
    assert!(text.len() < 1000 && text.lines().all(|line| line.chars().count() < 100), "{text}");
}

#[test]
fn what_is_longer_than_the_terminal_goes_through_the_pager() {
    let project = Project::of_toys(CELLS);
    project.run_well(&[]);
    let on_terminal = |rows: u32| {
        let show = format!("stty rows {rows} cols 70; exec \"$0\" show p.yaml one");
        let program = support::toys();
        let mut command = std::process::Command::new("python3");
        let spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
        command.args(["-c", spawn, "sh", "-c", &show]).arg(program).current_dir(project.path(""));
        command.env("PAGER", "sed 's/^/paged: /'").stdin(std::process::Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let (short, tall) = (on_terminal(10), on_terminal(200));
    assert!(short.contains("paged: step"), "{short}");
    assert!(tall.contains("step") && !tall.contains("paged"), "{tall}");
    let run = tall.lines().find(|line| line.contains(", run")).unwrap();
    assert!(run.trim_end().chars().count() <= 70, "what can be wrapped is: {tall}");
}

#[test]
fn two_runs_differ_step_by_step() {
    let project = fits();
    let first = project.json(&["log", "p.yaml"])[0]["begun"]["run"].as_str().unwrap().to_owned();
    project.run_well(&["--set", "skill=0.75"]);
    let text = project.cli(&["diff", "p.yaml", &first, "last"]).exits(0).stdout.clone();
    assert!(text.contains("one   other output  param skill: 0.7 → 0.75"), "{text}");
    assert!(text.contains("1 step is the same in both"), "{text}");
    let lines = project.cli(&["diff", "p.yaml", &first, "last", "--step", "text"]).stdout;
    assert!(
        lines.contains("text: line 2 is the first that differs\n  - skill 0.7\n  + skill 0.75"),
        "{lines}"
    );
}
