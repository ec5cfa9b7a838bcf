//! Warnings belong to the artifact: whoever uses it later is told of them too.

use support::Project;

const PAIR: &str = "
stages:
  a: {kind: grow, with: {line: a, warning: 88 genes are left out}}
  b: {kind: grow, from: a, with: {line: b}}
";

#[test]
fn a_warning_is_told_again_when_its_artifact_is_found_in_the_cache() {
    let project = Project::of_toys(PAIR);
    project.run_well(&[]).says("warning: a: 88 genes are left out");
    // The second time the artifact is verified, the third time the memo vouches for it.
    for _ in 0..2 {
        for arguments in [&[][..], &["--quiet"]] {
            let ran = project.run_well(arguments);
            ran.says("warning: 1 cached step with 1 warning; read them with: pipeline status p.yaml\n");
        }
    }
    let shown = project.cli(&["show", "p.yaml", "a"]).stdout;
    assert!(shown.contains("warning  88 genes are left out\n"), "{shown}");
    assert!(!project.cli(&["show", "p.yaml", "b"]).stdout.contains("warning"));
    let status = project.cli(&["status", "p.yaml"]).stdout;
    assert!(status.contains("\nwarning: a: 88 genes are left out\n"), "{status}");
    let text = &project.json(&["status", "p.yaml"])["a"]["warnings"][0]["text"];
    assert_eq!(text, "88 genes are left out");
}

#[test]
fn another_warning_alone_reruns_no_consumer() {
    let project = Project::of_toys(PAIR);
    project.run_well(&[]);
    project.edit("88 genes", "87 genes");
    assert_eq!(project.run_well(&[]).computed(), ["a"]);
    project.edit(", warning: 87 genes are left out", "");
    assert_eq!(project.run_well(&[]).computed(), ["a"]);
    assert!(!project.run_well(&[]).stderr.contains("warning"));
}

/// A study in which one variant stands on a stage that warns, in each of two seeds.
const STUDY: &str = "
name: study
params: {skill: 0.7}
matrix: {seed: [1, 2]}
stages:
  plain: {kind: exhibit, with: {seed: '{seed}', skill: '{skill}'}}
  model: {kind: exhibit, with: {seed: '{seed}', skill: 0.8, yardstick: 0.2, warning: 'the model learned nothing: 1.3{seed}'}}
  judge: {kind: judge, from: plain, with: {}}
variants:
  without: {}
  joint: {stages: {judge: {in: {input: model}}}}
compare: {over: [seed], metrics: [auroc]}
";

#[test]
fn a_row_says_what_the_steps_behind_it_warned_of() {
    let project = Project::of_toys(STUDY);
    project.run_well(&[]);
    let comparison = project.json(&["compare", "p.yaml"]);
    let rows = &comparison["blocks"][0]["rows"];
    assert_eq!((&rows[0]["warned"], &rows[1]["warned"]["model"]), (&serde_json::json!({}), &2.into()));
    assert_eq!(comparison["upstream"][0]["rows"], serde_json::json!(["joint"]));
    let text = project.cli(&["compare", "p.yaml"]).stdout;
    let row = text.lines().find(|line| line.starts_with("joint")).unwrap();
    assert!(row.contains("  2 of model"), "{text}");
    let told = "warning: model[seed=1] and 1 more step (behind joint): the model learned nothing: 1.31\n";
    assert!(text.contains(told), "{text}");
    project.cli(&["report", "p.yaml", "-o", "report.html"]).exits(0);
    let page = project.read("report.html");
    assert!(page.contains("<span class=\"bad\">warnings: 2 of model</span>"), "{page}");
    assert!(page.contains("Joint is computed from steps that warned, of model: see Warnings."), "{page}");
    assert!(page.contains("<section id=\"warnings\""), "{page}");
}

#[test]
fn what_every_row_stands_on_is_told_once() {
    let project = Project::of_toys(STUDY);
    project.edit("skill: '{skill}'}}", "skill: '{skill}', warning: two cells are left out}}");
    project.edit("in: {input: model}", "from: plain");
    project.edit("stages: {judge: {from: plain}}", "params: {skill: 0.9}");
    project.run_well(&[]);
    let text = project.cli(&["compare", "p.yaml"]).stdout;
    assert!(text.contains("(behind every row): two cells are left out\n"), "{text}");
    assert!(!text.contains("warnings"), "no column says the same of each row: {text}");
}

#[test]
fn a_learning_curve_is_drawn_beside_its_yardstick() {
    let project = Project::of_toys(STUDY);
    project.run_well(&[]);
    let shown = project.cli(&["show", "p.yaml", "model[seed=1]"]).stdout;
    let line = shown.lines().find(|line| line.contains("validation_loss  ")).unwrap();
    assert!(line.ends_with("mean 0.200"), "{line}");
    project.cli(&["report", "p.yaml", "--plots", "plots"]).exits(0);
    let figure = project.read("plots/model-validation-loss.svg");
    assert!(
        figure.contains("<title>mean (mean)</title>") && figure.contains("mean (mean): 0.200"),
        "{figure}"
    );
    assert!(!project.read("plots/model-loss.svg").contains("mean"), "only what is measured the same way");
}
