//! Trainings that are killed at any moment give the same bits as uninterrupted ones.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Project, files_below, signal};

const TRAIN: &str = "
stages:
  cells: {kind: simulate, with: {network: mCAD, cells: 80}}
  tokens: {kind: tokenise, in: {data: cells}, with: {min_genes: 1}}
  model:
    kind: pretrain
    in: {tokens: tokens}
    resources: {cpus: 1}
    with:
      model: {width: 32, depth: 2, heads: 2, head_width: 16, cell_width: 8}
      redraw_every: 7
      training: {epochs: 30, batch: 8, accumulate: 2, schedule: {rate: 0.005}, checkpoint_minutes: 0.0000001}
";

/// A small version of the method: a transformer whose last block is trained again together with a graph network.
const TOGETHER: &str = "
stages:
  cells: {kind: simulate, with: {cells: 80, network: {scale_free: {genes: 60, tfs: 12}}}}
  data: {kind: preprocess, in: {data: cells}, with: {target_sum: 10000, log1p: natural, min_cells: 0, min_genes: 0}}
  split: {kind: split, in: {data: data}}
  tokens: {kind: tokenise, in: {data: data}, with: {min_genes: 1, target_sum: 600}}
  model:
    kind: pretrain
    in: {tokens: tokens}
    with:
      model: {width: 16, depth: 2, heads: 2, head_width: 8, cell_width: 8}
      training: {epochs: 6, batch: 8, checkpoint_minutes: 0.0000001}
  joint:
    kind: joint
    in: {data: data, split: split, model: model, tokens: tokens}
    resources: {cpus: 1}
    with:
      transformer: {last_blocks: 1, cells_per_step: 4}
      pooling: {most_cells: 8}
      training: {epochs: 12, batch: 100, checkpoint_minutes: 0.0000001}
  trees: {kind: genie3, in: {data: data, split: split}, with: {trees: 30}}
  judged: {kind: evaluate, in: {scores: joint, split: split}, with: {replicates: 200}}
";
const STEPS: [&str; 8] = ["cells", "data", "split", "tokens", "model", "joint", "trees", "judged"];

/// Every file of a step's artifact.
fn files_of(project: &Project, step: &str) -> Vec<(String, Vec<u8>)> {
    let folder = project.artifact(step);
    let name = |path: &Path| path.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
    files_below(&folder).iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

/// Kills a training when it has reached given numbers of checkpoints, and expects the bytes of an uninterrupted one.
fn goes_on_bit_for_bit(whole: &Project, yaml: &str, step: &str, kills: [(&str, u64); 3]) {
    let expected = files_of(whole, step);
    for (name, checkpoint) in kills {
        let project = Project::new(yaml);
        project.run_well(&["--until", if step == "model" { "tokens" } else { "model" }]);
        let child = project.start(&["--until", step]);
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
        project
            .run_well(&["--jobs", "2", "--until", step])
            .says(&format!("note: {step}: going on from the checkpoint of step "));
        assert!(expected == files_of(&project, step), "{step} after SIG{name} differs");
        assert!(project.files("cache/v1/checkpoints").is_empty(), "they go with the commit");
    }
}

#[test]
fn a_killed_training_goes_on_bit_for_bit_on_any_number_of_threads() {
    let whole = Project::new(TOGETHER);
    whole.run_well(&["--until", "joint"]);
    assert!(files_of(&whole, "joint").iter().any(|(name, _)| name == "transformer/model.safetensors"));
    goes_on_bit_for_bit(&whole, TOGETHER, "joint", [("TERM", 2), ("KILL", 9), ("KILL", 25)]);
    let whole = Project::new(TRAIN);
    whole.run_well(&[]);
    assert!(files_of(&whole, "model").iter().any(|(name, _)| name == "model.safetensors"));
    goes_on_bit_for_bit(&whole, TRAIN, "model", [("TERM", 4), ("KILL", 17), ("KILL", 45)]);
    // How often checkpoints are saved does not change results, so it is not part of a key.
    whole.edit("checkpoint_minutes: 0.0000001", "checkpoint_minutes: 3");
    assert_eq!(whole.run_well(&[]).counts()[0], 0);
}

#[test]
fn a_training_that_diverges_says_in_which_step() {
    let project = Project::new(&TRAIN.replace("rate: 0.005", "rate: 1.0e+9, shape: constant"));
    let ran = project.run(&[]);
    ran.exits(1).says("the training diverged in step ").says("the last good checkpoint is that of step ");
}

/// Announced results survive a kill at any moment, and the final result is the same. The moments are random shares of
/// the total time; nothing is assumed about which step runs then.
#[test]
fn five_kills_at_random_moments_lose_no_finished_step() {
    let whole = Project::new(TOGETHER);
    let began = Instant::now();
    whole.run_well(&["--jobs", "2"]);
    let time = began.elapsed();
    let mut random = std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.subsec_nanos() as u64);
    let seed = random;
    let project = Project::new(TOGETHER);
    let mut announced = BTreeSet::new();
    for _ in 0..5 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let share = (random >> 40) as f64 / (1u64 << 24) as f64;
        let mut child = project.start(&["--jobs", "2"]);
        std::thread::sleep(time.mul_f64(0.4 * share));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            let step = line.strip_prefix("stage ").and_then(|line| line.strip_suffix(" done"));
            let fresh = step.is_none_or(|step| announced.insert(step.to_owned()));
            assert!(fresh, "{line}, once more (seed {seed})");
        }
    }
    let rest = project.run_well(&["--jobs", "2"]);
    assert!(rest.computed().iter().all(|step| !announced.contains(*step)), "{announced:?} (seed {seed})");
    for step in STEPS {
        assert!(files_of(&project, step) == files_of(&whole, step), "{step} differs (seed {seed})");
    }
    assert!(project.files("cache/v1/tmp").is_empty() && project.files("cache/v1/checkpoints").is_empty());
    assert_eq!(project.run_well(&[]).counts()[0], 0, "(seed {seed})");
}
