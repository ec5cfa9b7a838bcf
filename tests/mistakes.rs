//! Mistakes that a stage would meet only when it runs: reported before anything is computed, with the value's place.

use support::Project;

/// Stages whose outputs the tested stages take.
const STAGES: &str = "\
stages:
  cells: {kind: simulate, with: {cells: 20}}
  pairs: {kind: split, in: {data: cells}}
  any: {kind: command, with: {run: 'true'}}
";

/// Asserts what is read of a file that `run` must refuse before it computes anything.
fn refused(rule: &str, yaml: &str, run: &str) {
    let project = Project::new(yaml);
    project.cli(&run.split_whitespace().collect::<Vec<_>>()).exits(2);
    assert!(!project.path("cache/v1/entries").exists(), "{yaml}");
    project.reads(&format!("refused_{rule}"), &["cat p.yaml", run]);
}

#[test]
fn what_a_stage_cannot_mean_is_refused_before_anything_runs() {
    for (rule, stage) in [
        ("number_below_its_least", "genie3, in: {data: cells}, with: {trees: 0}"),
        ("number_above_its_most", "genie3, in: {data: cells}, with: {trees: 1000000000000000000}"),
        ("inputs_that_go_together", "joint, in: {data: cells, split: pairs, model: any}"),
        (
            "number_in_a_map",
            "joint, in: {data: cells, split: pairs}, with: {training: {schedule: {rate: -1}}}",
        ),
        ("number_bounded_by_another", "split, in: {data: cells}, with: {fold: 7}"),
        ("choice_that_needs_an_input", "split, in: {data: cells}, with: {protocol: published}"),
        ("weights_without_genes", "import-model, in: {weights: {file: m.pth}}"),
        ("list_instead_of_a_map", "pretrain, in: {tokens: any}, with: {masking: []}"),
        ("vectors_without_genes", "import-embeddings, in: {weights: {file: m.pt}, data: cells}"),
        ("file_that_holds_no_vectors", "import-embeddings, in: {weights: {file: m.h5ad}, data: cells}"),
        ("vectors_to_shuffle_that_are_missing", "shuffle, in: {data: cells}, with: {what: vectors}"),
        (
            "file_that_holds_no_types",
            "finetune, in: {model: any, tokens: any, types: {file: a.h5ad}}, with: {task: types}",
        ),
        (
            "stage_that_reads_no_types",
            "finetune, in: {model: any, tokens: any, types: untyped}, with: {task: types}}\n  untyped: {kind: dataset, \
             in: {data: {file: a.h5ad}}",
        ),
        ("table_of_types_without_its_column", "dataset, in: {data: {file: a.h5}, types: {file: t.csv}}"),
        ("nothing_to_export", "export, with: {format: npy}"),
        ("word_that_is_no_choice", "preprocess, in: {data: cells}, with: {target_sum: lots}"),
        ("nothing_to_merge", "merge, with: {}"),
    ] {
        refused(rule, &format!("{STAGES}  x: {{kind: {stage}}}\n"), "run p.yaml");
    }
}

#[test]
fn a_value_is_blamed_where_it_came_from() {
    let file = |params: &str, trees: &str, rest: &str| {
        let forest = format!("  x: {{kind: genie3, in: {{data: cells}}, with: {{trees: '{trees}'}}}}\n");
        format!("{params}\n{STAGES}{forest}{rest}")
    };
    refused("value_of_a_param", &file("params: {n: 0}", "{n}", ""), "run p.yaml");
    refused("value_given_with_set", &file("params: {n: 5}", "{n}", ""), "run p.yaml --set n=0");
    let variants = "variants: {good: {}, bad: {params: {n: 0}}}\n";
    refused("value_of_a_variant", &file("params: {n: 5}", "{n}", variants), "run p.yaml");
    let variants = "variants: {good: {}, bad: {stages: {x: {with: {trees: 0}}}}}\n";
    refused("value_of_a_stage_in_a_variant", &file("params: {n: 5}", "{n}", variants), "run p.yaml");
    refused("value_of_an_axis", &file("matrix: {size: [3, 0]}", "{size}", ""), "run p.yaml");
    let field = "matrix: {size: [{name: some, trees: 3}, {name: none, trees: 0}]}";
    refused("value_of_an_axis_field", &file(field, "{size.trees}", ""), "run p.yaml");
}

#[test]
fn a_wire_from_the_wrong_kind_of_stage_is_refused_with_the_right_stages() {
    for (rule, stages) in [
        ("wire_from_the_wrong_kind", "  x: {kind: correlation, in: {data: pairs, split: cells}}\n"),
        (
            // `joint` did not train this model's blocks, so there is no transformer to embed with.
            "wire_from_a_model_without_blocks",
            "  y: {kind: joint, in: {data: cells, split: pairs}}\n  x: {kind: embed, in: {model: y, tokens: any}}\n",
        ),
        ("wire_where_a_file_belongs", "  x: {kind: correlation, in: {data: cells, tfs: any}}\n"),
    ] {
        refused(rule, &format!("{STAGES}{stages}"), "run p.yaml");
    }
}

#[test]
fn what_cannot_be_compared_is_refused_where_it_is_named() {
    let stages = format!(
        "{STAGES}  scores: {{kind: correlation, in: {{data: cells, split: pairs}}}}\n  judged: {{kind: evaluate, in: {{scores: scores, split: pairs}}}}\n"
    );
    // `any` is a script, which may write any metric.
    let stages = stages.replace("  any: {kind: command, with: {run: 'true'}}\n", "");
    for (rule, compare) in [
        ("unknown_metric", "{metrics: [auroc, aurok]}"),
        ("unknown_metric_unlike_any", "{lower_is_better: [loss]}"),
        ("unknown_slot_to_compare_by", "{same: [spilt]}"),
        ("unknown_axis_to_compare_over", "{over: [sede]}"),
    ] {
        refused(rule, &format!("{stages}compare: {compare}\n"), "run p.yaml");
    }
    let script = "  script: {kind: command, in: {truth: pairs}, with: {run: 'true'}}\n";
    let yaml = format!("{stages}{script}compare: {{metrics: [f1], same: [truth]}}\n");
    Project::new(&yaml).cli(&["plan", "p.yaml"]).exits(0);
}
