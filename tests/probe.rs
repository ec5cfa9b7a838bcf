//! A transformer that is asked for pairs: what it knows of a network, and answers that no kill changes.

use std::path::Path;
use std::time::{Duration, Instant};
use support::{Project, files_below, signal};

const ASKED: &str = "
stages:
  cells: {kind: simulate, with: {network: {scale_free: {genes: 60, tfs: 8}}, cells: 1500, seed: 3}}
  shuffled: {kind: shuffle, in: {data: cells}}
  tokens: {kind: tokenise, in: {data: cells}, with: {min_genes: 1, target_sum: 600}}
  model:
    kind: pretrain
    in: {tokens: tokens}
    with:
      model: {width: 16, depth: 1, heads: 2, head_width: 8, cell_width: 16}
      masking: {share: 0.5}
      training: {epochs: 20, batch: 16, schedule: {rate: 0.01}}
  probe:
    kind: probe
    in: {model: model, tokens: tokens, data: cells}
    resources: {cpus: 1}
    with: {cells: 4, values: 2, groups: 4, batch: 1, checkpoint_minutes: 0.0000001}
  split: {kind: split, in: {data: cells}, with: {protocol: pair_held_out, folds: 3}}
  judged: {kind: evaluate, in: {scores: probe, split: split}, with: {replicates: 0}}
  stack: {kind: stack, in: {data: cells, split: split, scores: probe}, with: {trees: 20}}
variants:
  perturbation: {}
  gradient: {stages: {probe: {with: {by: gradient}}}}
  readout: {stages: {probe: {with: {by: readout}}}}
  attention: {stages: {probe: {with: {by: attention}}}}
  untrained: {stages: {model: {with: {training: {epochs: 0}}}}}
  other cells: {stages: {tokens: {in: {data: shuffled}}}}
  stack: {stages: {judged: {in: {scores: stack}}}}
compare: {metrics: [auroc]}
";

#[test]
fn a_trained_model_knows_edges_and_an_untrained_one_or_one_of_shuffled_cells_does_not() {
    let project = Project::new(ASKED);
    project.run_well(&[]);
    let table = project.json(&["compare", "p.yaml"]);
    let rows = table["blocks"][0]["rows"].as_array().unwrap();
    let auroc = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {table}"));
        row["metrics"]["auroc"]["mean"].as_f64().unwrap()
    };
    let controls = auroc("untrained").max(auroc("other cells"));
    // .74 to .75 against .52 and .48 of the controls.
    for by in ["perturbation", "gradient", "readout"] {
        let found = auroc(by);
        assert!(found > 0.65 && found > controls + 0.1, "{by}: {found} against {controls}");
    }
    assert!(auroc("attention") < auroc("perturbation"), "attention is no better: {}", auroc("attention"));
    assert!(auroc("stack") > 0.5);
}

#[test]
fn a_killed_probe_goes_on_bit_for_bit_in_other_batches() {
    let yaml = ASKED.split("variants:").next().unwrap();
    let scores = |project: &Project| {
        let files = files_below(&project.artifact("probe"));
        files.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let whole = Project::new(yaml);
    whole.run_well(&["--until", "probe"]);
    let project = Project::new(yaml);
    project.run_well(&["--until", "model"]);
    let child = project.start(&["--until", "probe"]);
    let began = Instant::now();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u64>().ok();
    let newest = || project.files("cache/v1/checkpoints").iter().filter_map(|path| number(path)).max();
    while newest().is_none_or(|newest| newest < 20) {
        assert!(began.elapsed() < Duration::from_secs(60), "the checkpoint never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(child.id(), "KILL");
    assert_ne!(child.wait_with_output().unwrap().status.code(), Some(0));
    project.edit("batch: 1,", "batch: 7,");
    project.run_well(&["--until", "probe"]).says("warning: probe: going on from the checkpoint of pass ");
    assert!(scores(&project) == scores(&whole));
    whole.edit("batch: 1, checkpoint_minutes: 0.0000001", "batch: 3");
    assert_eq!(whole.run_well(&["--until", "probe"]).counts()[0], 0, "neither is part of the key");
}
