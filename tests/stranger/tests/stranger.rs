//! A third-party kind in a third-party program.

use std::path::PathBuf;
use support::{Project, root};

const PIPELINE: &str = "
stages:
  cells: {kind: simulate, with: {cells: 60}}
  pairs: {kind: split, in: {data: cells}}
  scores: {kind: together, in: {data: cells, split: pairs}, with: {above: 0.5}}
  judged: {kind: evaluate, in: {scores: scores, split: pairs}}
";

#[test]
fn a_kind_of_ones_own_runs_beside_ours_and_has_its_code_in_its_key() {
    let project = Project::with(PathBuf::from(env!("CARGO_BIN_EXE_stranger")), PIPELINE);
    project.run_well(&[]);
    assert_eq!(project.run_well(&[]).counts()[..2], [0, 4]);
    let recipe = project.artifact("scores").parent().unwrap().join("recipe.json");
    let recipe = std::fs::read_to_string(recipe).unwrap();
    assert!(recipe.contains("\"stranger/main.rs\"") && recipe.contains("\"data/pairs.rs\""), "{recipe}");
    project.edit("above: 0.5", "above: lots");
    project.run(&[]).exits(2).says("p.yaml:5");
}

#[test]
fn the_example_is_short_and_the_guide_shows_it() {
    let text = std::fs::read_to_string(root().join("tests/stranger/src/main.rs")).unwrap();
    let guide = std::fs::read_to_string(root().join("docs/your-kind.md")).unwrap();
    assert!(guide.contains(&format!("```rust\n{text}```")), "docs/your-kind.md shows another main.rs");
    assert!(text.lines().count() <= 40, "{} lines", text.lines().count());
}
