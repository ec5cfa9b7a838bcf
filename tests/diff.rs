//! Comparisons of two steps or two runs, and the summaries that `show` prints.

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
fn two_steps_differ_in_recipe_then_in_tables() {
    let project = fits();
    let text = project.cli(&["diff", "p.yaml", "one", "two"]).exits(0).stdout.clone();
    assert!(text.contains("param skill  0.7  0.8"), "{text}");
    assert!(text.contains("scores.parquet: 40 rows in both, 40 of them differ"), "{text}");
    assert!(text.contains("score: differs in 40 rows, by 0.100 at most"), "{text}");
    assert!(text.contains("files are the same"), "{text}");
    let value = project.json(&["diff", "p.yaml", "one", "two"]);
    assert_eq!(value["recipe"][0]["name"], "skill");
    let same = project.cli(&["diff", "p.yaml", "one", "one"]).stdout;
    assert!(same.contains("have the same recipe") && same.contains("nothing differs"), "{same}");
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
    project.cli(&["diff", "p.yaml", &first, "one"]).exits(2).says("name two steps or two runs");
}

#[test]
fn show_tells_histories_links_and_models_at_a_glance() {
    let project = fits();
    let text = project.cli(&["show", "p.yaml", "one"]).exits(0).stdout.clone();
    assert!(text.contains("loss  █▄▃▂▂▁▁▁"), "{text}");
    assert!(text.contains("least 0.125 at step 8"), "{text}");
    assert!(text.contains("the strongest of 40 links\n"), "{text}");
    assert!(text.contains("layer.0.weight  4 × 3  12       f32"), "{text}");
    assert!(text.contains("2 layers, 15 numbers"), "{text}");
}
