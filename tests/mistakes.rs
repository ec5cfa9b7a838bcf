//! Mistakes that a stage would meet only when it runs: reported before anything is computed, with the value's place.

use support::Project;

/// Stages whose outputs the tested stages take.
const STAGES: &str = "\
stages:
  cells: {kind: simulate, with: {cells: 20}}
  pairs: {kind: split, in: {data: cells}}
";

/// The error message for a file that `run` must refuse with an empty cache. `@` marks the place that the message must
/// show and is removed from the file.
fn refused(yaml: &str, arguments: &[&str]) -> String {
    let (before, after) = yaml.split_once('@').expect("a mark");
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().len() + 1;
    let project = Project::new(&format!("{before}{after}"));
    let ran = project.run(arguments);
    assert_eq!(ran.code, Some(2), "{yaml}\n{}{}", ran.stdout, ran.stderr);
    assert!(!project.path("cache/entries").exists(), "{yaml}");
    assert!(ran.stderr.contains(&format!("p.yaml:{line}:{column}\n")), "{yaml}\n{}", ran.stderr);
    ran.stderr
}

fn says(said: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(said.contains(part), "{part:?} is not in\n{said}"));
}

#[test]
fn what_a_stage_cannot_mean_is_refused_before_anything_runs() {
    for (stage, parts) in [
        ("genie3, in: {data: cells}, with: {trees: @0}", &["`trees` must be at least 1, not 0"][..]),
        (
            "genie3, in: {data: cells}, with: {trees: @1000000000000000000}",
            &["`trees` must be at most 1000000, not 1000000000000000000"],
        ),
        ("joint, in: {data: cells, split: pairs, model: @any}", &["`model` and `tokens` go together"]),
        ("pretrain, in: {tokens: any}, with: {model: {width: @0}}", &["`model.width` must be at least 1"]),
        (
            "joint, in: {data: cells, split: pairs}, with: {training: {schedule: {rate: @-1}}}",
            &["`training.schedule.rate` must be above 0, not -1"],
        ),
        ("split, in: {data: cells}, with: {fold: @7}", &["below `folds`, which is 5, not 7"]),
        ("split, @in: {data: cells}, with: {protocol: published}", &["needs the folder of the three files"]),
        ("simulate, with: {cells: @0}", &["`cells` must be at least 1"]),
        ("import-model, @in: {weights: {file: m.pth}}", &["give the list in the input `vocabulary`"]),
        ("import-embeddings, @in: {weights: {file: m.pt}, data: cells}", &["weights do not say which genes"]),
        (
            "import-embeddings, in: {weights: @{file: m.h5ad}, data: cells}",
            &["`.h5ad` is no file of gene vectors: weights end in .pt"],
        ),
        ("shuffle, @in: {data: cells}, with: {what: vectors}", &["it needs the input `embeddings`"]),
        (
            "finetune, in: {model: any, tokens: any, types: @{file: a.h5ad}}, with: {task: types}",
            &["`a.h5ad` is no table of cells and their types", "`dataset` reads a column"],
        ),
        (
            "finetune, in: {model: any, tokens: any, types: @untyped}, with: {task: types}",
            &["the slot `types` needs types.parquet, and the stage `untyped` is of the kind `dataset`"],
        ),
        (
            "dataset, in: {data: {file: a.h5}, types: @{file: t.csv}}",
            &["name the column that holds the types"],
        ),
        ("pretrain, in: {tokens: any}, with: {masking: @[]}", &["expected a map, found a list"]),
    ] {
        let any = "  any: {kind: command, with: {run: 'true'}}\n  untyped: {kind: dataset, in: {data: {file: a.h5ad}}}\n";
        says(&refused(&format!("{STAGES}  x: {{kind: {stage}}}\n{any}"), &[]), parts);
    }
    let nothing = |stage: &str| refused(&format!("{STAGES}  @x: {{kind: {stage}}}\n"), &[]);
    says(&nothing("export, with: {format: npy}"), &["nothing to export"]);
    says(&nothing("merge, with: {}"), &["there is nothing to merge"]);
}

#[test]
fn a_value_is_blamed_where_it_came_from() {
    let file = |params: &str, trees: &str, rest: &str| {
        let forest = format!("  x: {{kind: genie3, in: {{data: cells}}, with: {{trees: {trees}}}}}\n");
        format!("{params}\n{STAGES}{forest}{rest}")
    };
    let said = refused(&file("params: {n: @0}", "'{n}'", ""), &[]);
    says(&said, &["`trees` must be at least 1, not 0", "used here"]);
    let said = refused(&file("params: {n: 5}", "@'{n}'", ""), &["--set", "n=0"]);
    says(&said, &["`trees` must be at least 1, not 0 (given with `--set n=0`)"]);
    let variants = "variants: {good: {}, bad: {params: {n: @0}}}\n";
    let said = refused(&file("params: {n: 5}", "'{n}'", variants), &[]);
    says(&said, &["(in the variant `bad`)", "used here"]);
    let variants = "variants: {good: {}, bad: {stages: {x: {with: {trees: @0}}}}}\n";
    says(&refused(&file("params: {n: 5}", "'{n}'", variants), &[]), &["(in the variant `bad`)"]);
    says(&refused(&file("matrix: {size: [3, @0]}", "'{size}'", ""), &[]), &["not 0", "used here"]);
    let field = "matrix: {size: [{name: some, trees: 3}, {name: none, trees: @0}]}";
    says(&refused(&file(field, "'{size.trees}'", ""), &[]), &["not 0", "used here"]);
}

#[test]
fn a_wire_from_the_wrong_kind_of_stage_is_refused_with_the_right_stages() {
    let said =
        refused(&format!("{STAGES}  x: {{kind: correlation, in: {{data: @pairs, split: cells}}}}\n"), &[]);
    says(
        &said,
        &[
            "the slot `data` needs cells.parquet and genes.parquet",
            "the stage `pairs` is of the kind `split`, which makes pairs.parquet",
            "the stage `cells` makes that",
        ],
    );
    // `joint` did not train this model's blocks, so there is no transformer to embed with.
    let stages = "  y: {kind: joint, in: {data: cells, split: pairs}}\n  x: {kind: embed, in: {model: @y, tokens: any}}\n  any: {kind: command, with: {run: 'true'}}\n";
    says(&refused(&format!("{STAGES}{stages}"), &[]), &["the slot `model` needs"]);
    let lists = "  x: {kind: correlation, in: {data: cells, tfs: @any}}\n  any: {kind: command, with: {run: 'true'}}\n";
    says(&refused(&format!("{STAGES}{lists}"), &[]), &["takes a file", "write `{file: path}`"]);
}

#[test]
fn what_cannot_be_compared_is_refused_where_it_is_named() {
    let stages = format!(
        "{STAGES}  scores: {{kind: correlation, in: {{data: cells, split: pairs}}}}\n  judged: {{kind: evaluate, in: {{scores: scores, split: pairs}}}}\n"
    );
    let compare = |compare: &str| format!("{stages}compare: {compare}\n");
    for (wrong, parts) in [
        ("{metrics: [auroc, @aurok]}", &["there is no metric `aurok`", "did you mean `auroc`?"][..]),
        ("{lower_is_better: [@loss]}", &["there is no metric `loss`"]),
        ("{same: [@spilt]}", &["there is no slot `spilt`", "did you mean `split`?"]),
        ("{over: [@sede]}", &["there is no axis `sede`"]),
    ] {
        says(&refused(&compare(wrong), &[]), parts);
    }
    // Scripts may write any metric.
    let script = "  script: {kind: command, in: {truth: pairs}, with: {run: 'true'}}\n";
    let yaml = format!("{stages}{script}compare: {{metrics: [f1], same: [truth]}}\n");
    Project::new(&yaml).cli(&["plan", "p.yaml"]).exits(0);
}
