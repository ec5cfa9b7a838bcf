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
