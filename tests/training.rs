//! A training through the program: killed at any moment it ends with the bits of one that was not.

use crate::support::{Project, files_below, signal};
use std::path::Path;
use std::time::{Duration, Instant};

const TRAIN: &str = "
stages:
  cells: {kind: simulate, with: {network: mCAD, cells: 80}}
  tokens: {kind: tokenise, in: {data: cells}, with: {min_genes: 1}}
  model:
    kind: pretrain
    in: {tokens: tokens}
    resources: {cpus: 1}
    with:
      model: {width: 32, depth: 2, heads: 2, head_width: 16}
      redraw_every: 7
      training: {epochs: 30, batch: 8, accumulate: 2, schedule: {rate: 0.005}, checkpoint_minutes: 0.0000001}
";

/// Every file of the model's artifact.
fn model(project: &Project) -> Vec<(String, Vec<u8>)> {
    let folder = project.artifact("model");
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
    files_below(&folder).iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

#[test]
fn a_killed_pretraining_goes_on_bit_for_bit_on_any_number_of_threads() {
    let whole = Project::new(TRAIN);
    whole.run_well(&[]);
    let expected = model(&whole);
    assert!(expected.iter().any(|(name, _)| name == "model.safetensors"));
    for (name, checkpoint) in [("TERM", 4), ("KILL", 17), ("KILL", 45)] {
        let project = Project::new(TRAIN);
        let child = project.start(&[]);
        let began = Instant::now();
        let number = |path: &Path| path.file_name()?.to_str()?.parse::<u64>().ok();
        let newest = || project.files("cache/v1/checkpoints").iter().filter_map(|path| number(path)).max();
        while newest().is_none_or(|newest| newest < checkpoint) {
            assert!(began.elapsed() < Duration::from_secs(60), "the checkpoint {checkpoint} never came");
            std::thread::sleep(Duration::from_millis(1));
        }
        signal(child.id(), name);
        assert_ne!(child.wait_with_output().unwrap().status.code(), Some(0));
        project.edit("cpus: 1", "cpus: 2");
        project.run_well(&["--jobs", "2"]).says("warning: model: going on from the checkpoint of step ");
        for (expected, found) in expected.iter().zip(model(&project)) {
            assert!(*expected == found, "{} after SIG{name} differs", expected.0);
        }
        assert!(project.files("cache/v1/checkpoints").is_empty(), "they go with the commit");
    }
    // How often a checkpoint is saved changes no result, so it is in no key.
    whole.edit("checkpoint_minutes: 0.0000001", "checkpoint_minutes: 3");
    assert_eq!(whole.run_well(&[]).counts()[0], 0);
}

#[test]
fn a_training_that_diverges_says_in_which_step() {
    let project = Project::new(&TRAIN.replace("rate: 0.005", "rate: 1.0e+9, shape: constant"));
    let ran = project.run(&[]);
    ran.exits(1).says("the training diverged in step ").says("the last good checkpoint is that of step ");
}
