//! How pipeline files expand to steps, and which files are refused.

use super::*;
use contract::stage::{At, Makes, MetricNames, Mistake, Slot, Slots, Takes};
use serde_json::json;

/// Takes any params but `bad`, and two slots.
const TOY: Kind = Kind {
    name: "toy",
    about: "for tests",
    slots: Slots::Named(&[
        Slot { name: "cells", about: "the cells", required: true, takes: Takes::Anything },
        Slot { name: "genes", about: "the genes", required: false, takes: Takes::Anything },
    ]),
    makes: Makes::Anything,
    metrics: MetricNames::Any,
    code: &[],
    on_device: None,
    schema: || schemars::schema_for!(serde_json::Value),
    prepare: |written| match written.get("width") {
        Some(width) if !width.is_number() => Err(Mistake {
            at: At::Param(vec!["width".into()]),
            message: format!(
                "invalid type: {}, expected u32",
                if width.is_object() { "map" } else { "null" }
            ),
        }),
        _ => (command::KIND.prepare)(&json!({"run": written.to_string()})),
    },
};

fn load_with(text: &str, sets: &[&str]) -> std::result::Result<Graph, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.yaml");
    std::fs::write(&file, text).unwrap();
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    let kinds = [command::KIND, TOY];
    Graph::load(&file, &kinds, &sets, Path::new("/elsewhere")).map_err(|error| {
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    })
}

fn load(text: &str) -> Graph {
    load_with(text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

fn names(graph: &Graph) -> Vec<&str> {
    graph.order.iter().map(|step| graph.steps[*step].name.as_str()).collect()
}

fn run(graph: &Graph, step: &str) -> String {
    let step = &graph.steps[graph.find(step).unwrap()];
    step.prepared.params["run"].as_str().unwrap().to_owned()
}

/// What fills a step's slot: the name of a step, or a path.
fn input(graph: &Graph, step: &str, slot: &str) -> String {
    let step = &graph.steps[graph.find(step).unwrap()];
    match &step.inputs.iter().find(|input| input.slot == slot).unwrap().source {
        Source::Step(step) => graph.steps[*step].name.clone(),
        Source::File { path, .. } => path.display().to_string(),
        Source::Unset { hint, .. } => format!("unset: {hint}"),
    }
}

/// A pipeline file with these stages.
fn stages_of(stages: &str) -> String {
    format!("stages:\n{stages}")
}

#[test]
fn the_matrix_is_expanded_over_the_axes_that_a_stage_depends_on() {
    let graph = load(
        "matrix: {order: [{name: up, flag: ''}, {name: down, flag: -r}], seed: [1, 2]}
stages:
  evaluate: {kind: command, from: trained, with: {run: e}}
  trained: {kind: command, in: {cells: sorted}, with: {run: 't {seed}'}}
  sorted: {kind: command, with: {run: 'sort {flag}'}}
  other: {kind: command, with: {run: o}}
",
    );
    let expected = [
        "sorted[order=up]",
        "trained[order=up,seed=1]",
        "evaluate[order=up,seed=1]",
        "trained[order=up,seed=2]",
        "evaluate[order=up,seed=2]",
        "sorted[order=down]",
        "trained[order=down,seed=1]",
        "evaluate[order=down,seed=1]",
        "trained[order=down,seed=2]",
        "evaluate[order=down,seed=2]",
        "other",
    ];
    assert_eq!(names(&graph), expected);
    assert_eq!(run(&graph, "sorted[order=down]"), "sort -r");
    assert_eq!(input(&graph, "evaluate[order=down,seed=2]", "input"), "trained[order=down,seed=2]");
    assert_eq!(graph.steps.edge_count(), 8);
    assert!(graph.order.iter().enumerate().all(|(i, step)| step.index() == i));
    assert!(graph.steps.edge_indices().all(|edge| {
        let (producer, consumer) = graph.steps.edge_endpoints(edge).unwrap();
        producer < consumer
    }));
}

#[test]
fn equal_steps_are_one_step() {
    let graph = load(
        "matrix: {order: [{name: up, flag: ''}, {name: same, flag: ''}]}
stages:
  a: {kind: command, with: {run: 'sort {flag}'}}
  b: {kind: command, from: a, with: {run: b}}
",
    );
    assert_eq!(names(&graph), ["a[order=up]", "b[order=up]"]);
}

#[test]
fn a_step_exists_where_all_of_when_matches_and_its_inputs_exist() {
    let graph = load(
        "params: {deep: true}
matrix: {seed: [1, 2, 3], size: [s, {name: l, big: yes}]}
stages:
  a: {kind: command, with: {run: a}, when: {seed: [1, 3], size.big: yes, deep: true}}
  b: {kind: command, from: a, with: {run: 'b {seed}'}}
  off: {kind: command, with: {run: n}, when: {deep: false}}
  reads-off: {kind: command, from: off, with: {run: n}}
  never: {kind: command, with: {run: n}, when: {size: s, size.big: yes}}
",
    );
    assert_eq!(names(&graph), ["a[seed=1,size=l]", "b[seed=1,size=l]", "b[seed=3,size=l]"]);
    assert_eq!(graph.warnings.len(), 1);
    assert!(graph.warnings[0].contains("`never` has no steps"), "{:?}", graph.warnings);
    for stage in ["never", "off", "reads-off"] {
        assert_eq!(graph.steps_of(stage).unwrap(), []);
    }
}

#[test]
fn an_input_may_be_named_by_a_template() {
    let graph = load(
        "matrix: {source: [raw, clean], seed: [1, 2]}
stages:
  raw: {kind: command, with: {run: r}}
  clean: {kind: command, with: {run: 'c {seed}'}}
  use: {kind: command, in: {cells: '{source}'}, with: {run: u}}
",
    );
    assert_eq!(input(&graph, "use[source=raw,seed=1]", "cells"), "raw");
    assert_eq!(input(&graph, "use[source=clean,seed=2]", "cells"), "clean[seed=2]");
    assert_eq!(names(&graph).iter().filter(|name| name.starts_with("use")).count(), 3);
}

#[test]
fn variants_share_what_is_equal_and_name_what_is_not() {
    let graph = load(
        "params: {lines: 5, model: {width: 8, depth: 2}}
stages:
  sorted: {kind: command, in: {text: {file: w.txt}}, with: {run: sort, scripts: [a], env: [LANG]}}
  top: {kind: command, from: sorted, with: {run: 'head {lines} {model.width} {model.depth}'}}
  spare: {kind: command, with: {run: s}}
variants:
  plain:
  long: {params: {lines: 50}}
  same: {params: {lines: 5}, stages: {sorted: {with: {scripts: [a]}}}}
  again: {params: {lines: 50}}
  narrow: {params: {model: {width: 4}}}
  reversed: {stages: {sorted: {with: {scripts: [b]}}}}
  direct: {stages: {top: {from: {file: w.txt}}}}
",
    );
    let expected = [
        "sorted",
        "sorted[variant=reversed]",
        "top",
        "top[variant=long]",
        "top[variant=narrow]",
        "top[variant=reversed]",
        "top[variant=direct]",
        "spare",
    ];
    assert_eq!(names(&graph), expected);
    let variants = |step: &str| graph.steps[graph.find(step).unwrap()].variants.join(" ");
    assert_eq!(variants("top"), "plain same");
    assert_eq!(variants("top[variant=long]"), "long again");
    assert_eq!(variants("sorted"), "plain long same again narrow direct");
    assert_eq!(run(&graph, "top[variant=narrow]"), "head 5 4 2");
    assert_eq!(input(&graph, "top[variant=reversed]", "input"), "sorted[variant=reversed]");
    assert!(input(&graph, "top[variant=direct]", "input").ends_with("/w.txt"));
}

#[test]
fn what_no_variant_uses_is_left_out_and_the_file_alone_need_not_work() {
    let graph = load(
        "params: {data: null}
stages:
  a: {kind: command, in: {x: {file: '{data}'}}, with: {run: a}}
variants:
  one: {params: {data: 1.txt}}
  two: {params: {data: 2.txt}, stages: {a: {kind: command, with: {env: [LANG]}}}}
  three: {stages: {a: {in: {x: null}}}}
",
    );
    assert_eq!(names(&graph), ["a[variant=one]", "a[variant=two]", "a[variant=three]"]);
}

#[test]
fn a_new_kind_begins_without_the_old_params() {
    let graph = load(
        "stages: {a: {kind: command, in: {cells: {file: x}}, with: {run: a}}}
variants: {toy: {stages: {a: {kind: toy, with: {width: 3}}}}}
",
    );
    assert_eq!(run(&graph, "a"), "{\"width\":3}");
}

#[test]
fn sets_override_params_and_their_paths_are_relative_to_the_current_folder() {
    let text = "params: {data: in.txt, model: {width: 1}}
stages:
  a: {kind: command, in: {x: {file: '{data}'}, y: {file: 'sub/{data}'}, z: {file: ../z}}, with: {run: 'a {model.width}'}}
";
    let graph = load_with(text, &["data=mine/x.txt", "model.width=2.5"]).unwrap();
    assert_eq!(input(&graph, "a", "x"), "/elsewhere/mine/x.txt");
    assert_eq!(input(&graph, "a", "y"), graph.root.join("sub/mine/x.txt").display().to_string());
    assert_eq!(input(&graph, "a", "z"), graph.root.join("../z").display().to_string());
    assert_eq!(run(&graph, "a"), "a 2.5");
    let graph = load(text);
    assert_eq!(input(&graph, "a", "x"), graph.root.join("in.txt").display().to_string());
    for (set, message) in [
        ("dta=x", "did you mean `data`?"),
        ("model.widht=1", "did you mean `width`?"),
        ("data.x=1", "`data` is not a map"),
        ("data", "expected NAME=VALUE"),
        ("data=[1", "quote the value"),
        ("data={a: 1, a: 2}", "appears twice"),
    ] {
        let error = load_with(text, &[set]).map(|_| ()).unwrap_err();
        assert!(error.contains(message) && error.contains("--set"), "{set}: {error}");
    }
}

#[test]
fn a_variant_wins_over_a_set_and_says_so() {
    let text = "params: {data: a}
stages: {a: {kind: command, in: {x: {file: '{data}'}}, with: {run: a}}}
variants: {plain: {}, own: {params: {data: b}}}
";
    let graph = load_with(text, &["data=c"]).unwrap();
    assert_eq!(input(&graph, "a", "x"), "/elsewhere/c");
    assert!(input(&graph, "a[variant=own]", "x").starts_with(graph.root.to_str().unwrap()));
    assert_eq!(graph.warnings.len(), 1);
}

#[test]
fn optional_files_may_be_unset() {
    let graph = load(
        "params: {data: null}
stages: {a: {kind: command, in: {x: {file: '{data}/x', optional: 'get {{it}}'}}, with: {run: a}}}
",
    );
    assert_eq!(input(&graph, "a", "x"), "unset: get {it}");
}

#[test]
fn resources_may_be_templates() {
    let graph = load(
            "matrix: {data: [{name: small, memory: 1GiB}, {name: big, memory: 9GiB}]}
stages: {a: {kind: command, with: {run: '{data}'}, resources: {memory: '{memory}', cpus: 2, time: 1h30m}, timeout: 2h, retries: 3}}
",
        );
    let step = &graph.steps[graph.find("a[data=big]").unwrap()];
    assert_eq!((step.resources.memory, step.resources.cpus), (Some(9 << 30), 2));
    assert_eq!((step.timeout, step.retries), (Some(Duration::from_secs(7_200)), 3));
}

#[test]
fn names_on_the_command_line_are_found_or_explained() {
    let graph = load(
        "matrix: {seed: [1, 2]}\nstages: {train: {kind: command, with: {run: 'x {seed}'}}, top: {kind: command, with: {run: x}}}",
    );
    assert!(graph.find("top").is_ok() && graph.find("train[seed=2]").is_ok());
    assert_eq!(graph.steps_of("train").unwrap().len(), 2);
    let error = |name: &str| graph.find(name).unwrap_err().to_string();
    assert!(error("train").contains("has 2 steps; name one of them: train[seed=1], train[seed=2]"));
    assert!(error("trian").contains("did you mean `train`?"));
    assert!(error("train[seed=3]").contains("did you mean `train[seed="));
}

#[test]
fn a_chain_of_ten_thousand_stages_is_no_trouble() {
    let mut text = String::from("stages:\n");
    for i in (0..10_000).rev() {
        let from = if i == 0 { String::new() } else { format!("from: s{}, ", i - 1) };
        text += &format!("  s{i}: {{kind: command, {from}with: {{run: x}}}}\n");
    }
    assert_eq!(load(&text).order.len(), 10_000);
    let ring = text.replace("s0: {kind", "s0: {from: s9999, kind");
    let error = load_with(&ring, &[]).map(|_| ()).unwrap_err();
    assert!(error.contains("form a cycle: s9999 -> ") || error.contains("form a cycle: s0 -> "), "{error}");
    assert!(error.len() < 1_000);
}

/// Pairs of a faulty file and what the complaint must contain.
#[test]
fn what_cannot_be_used_is_shown_where_it_stands_with_a_hint() {
    let in_stage =
        |fields: &str| stages_of(&format!("  a:\n    kind: command\n    with: {{run: a}}\n    {fields}\n"));
    let with_params = |run: &str| {
        format!(
            "params: {{lines: 5, none: null, m: {{width: 1}}}}\nmatrix: {{lines2: [1]}}\nstages:\n  a: {{kind: command, with: {{run: \"{run}\"}}}}\n"
        )
    };
    let matrix =
        |matrix: &str| format!("matrix: {matrix}\nstages: {{a: {{kind: command, with: {{run: a}}}}}}\n");
    let variant = |variant: &str| {
        format!(
            "params: {{p: 1}}\nstages:\n  a: {{kind: command, with: {{run: a}}}}\nvariants:\n  v: {variant}\n"
        )
    };
    let cases: Vec<(String, &[&str])> = vec![
            ("[1]".into(), &["expected a map with `stages`, found a list", "p.yaml:1:1"]),
            ("name: x\n".into(), &["`stages` is missing"]),
            ("stages: {}\n".into(), &["there are no stages", "p.yaml:1:9"]),
            ("stages:\n".into(), &["expected a map, found nothing", "p.yaml:1:1"]),
            ("nam: x\nstages: {}\n".into(), &["unknown field `nam`", "p.yaml:1:1", "did you mean `name`?"]),
            (in_stage("knd: x"), &["unknown field `knd`", "p.yaml:5:5", "5 |     knd: x", "did you mean `kind`?"]),
            (in_stage("retries: many"), &["expected a whole number, 0 or more, found \"many\"", "p.yaml:5:14"]),
            (in_stage("retries: -1"), &["p.yaml:5:14", "-1"]),
            (in_stage("timeout: 10"), &["expected a time such as", "p.yaml:5:14", "found `10`"]),
            (in_stage("timeout: soon"), &["expected a time such as", "p.yaml:5:14"]),
            (in_stage("resources: {cpu: 1}"), &["unknown field `cpu`", "p.yaml:5:17", "did you mean `cpus`?"]),
            (in_stage("resources: {cpus: 0}"), &["at least one CPU", "p.yaml:5:23"]),
            (in_stage("resources: {memory: 1G}"), &["expected a size such as `1GiB`", "p.yaml:5:25"]),
            (in_stage("in: {x: [a]}"), &["expected the name of a stage, or {file: path}, found a list", "p.yaml:5:13"]),
            (in_stage("in: {x: {fle: a}}"), &["unknown field `fle`", "p.yaml:5:14", "did you mean `file`?"]),
            (in_stage("in: {x: {optional: a}}"), &["`file` is missing", "p.yaml:5:10"]),
            (in_stage("in: {x: }"), &["found nothing", "p.yaml:5:10"]),
            (in_stage("in: {X: {file: a}}"), &["`X` cannot be the name of a slot", "p.yaml:5:10", "lower-case"]),
            (in_stage("in: {x: {file: ''}}"), &["expected the path of a file", "p.yaml:5:20"]),
            (in_stage("in: {x: {file: \"a\\0b\"}}"), &["expected the path of a file", "p.yaml:5:20"]),
            (in_stage("{from: b, in: {input: b}}").replace("    {from: b, in: {input: b}}", "    from: b\n    in: {input: b}"), &["fill the same slot", "p.yaml:5:5"]),
            (in_stage("from: a"), &["form a cycle: a -> a", "p.yaml:5:11"]),
            (in_stage("from: b"), &["there is no stage `b`", "p.yaml:5:11", "there is only `a`"]),
            (in_stage("when: {sed: 1}"), &["unknown name `sed`", "p.yaml:5:12"]),
            ("stages: {a: {kind: comand}}\n".into(), &["unknown kind `comand`", "p.yaml:1:20", "did you mean `command`?"]),
            ("stages: {a: {with: {}}}\n".into(), &["`kind` is missing", "p.yaml:1:10"]),
            ("stages: {a: {kind: command}}\n".into(), &["`run` is missing", "p.yaml:1:10"]),
            ("stages: {'a b': {kind: command}}\n".into(), &["`a b` cannot be the name of a stage", "p.yaml:1:10"]),
            (
                "stages: {a: {kind: command, with: {run: a, script: []}}}\n".into(),
                &["unknown field `script`", "p.yaml:1:44", "did you mean `scripts`?"],
            ),
            (
                "stages:\n  a:\n    kind: command\n    with:\n      run: a\n      outputs: [a, ../b]\n".into(),
                &["the output name `../b` leaves the stage's folder", "p.yaml:6:20"],
            ),
            ("stages: {a: {kind: toy}}\n".into(), &["the input `cells` is missing: the cells", "p.yaml:1:10", "in: {cells"]),
            (
                "stages: {a: {kind: toy, in: {cels: a}}}\n".into(),
                &["unknown slot `cels`", "p.yaml:1:30", "did you mean `cells`?"],
            ),
            (
                "params: {w: 1}\nstages: {a: {kind: toy, in: {cells: {file: x}}, with: {width: {w}}}}\n".into(),
                &["found a map", "p.yaml:2:63", "quote the template: `\"{w}\"`"],
            ),
            (with_params("head {lnes}"), &["unknown name `lnes`", "p.yaml:4:40", "did you mean `lines`?", "{{lnes}}"]),
            (with_params("{m.widht}"), &["unknown name `m.widht`", "did you mean `width`?"]),
            (with_params("{lines.x}"), &["unknown name `lines.x`", "`lines` is not a map"]),
            (with_params("x{m}"), &["`m` is a map or a list", "p.yaml:4:36"]),
            (with_params("x{none}"), &["`none` is null", "p.yaml:4:36"]),
            (with_params("awk '{print $1}'"), &["`{print $1}` is not a template", "p.yaml:4:40", "`{{print $1}}`"]),
            (with_params("${HOME}/x"), &["`${HOME}` is not a template", "`${{HOME}}`"]),
            (with_params("a {"), &["belongs to no template", "p.yaml:4:37"]),
            (
                "params: {x: 1}\nmatrix: {x: [1]}\nstages: {a: {kind: command, with: {run: '{x}'}}}\n".into(),
                &["`x` could be the param `x` or the axis `x`", "p.yaml:3:42", "rename"],
            ),
            (
                "matrix: {a: [{name: p, f: 1}], b: [{name: q, f: 1}]}\nstages: {a: {kind: command, with: {run: '{f}'}}}\n".into(),
                &["the field `f` of the axis `a` or the field `f` of the axis `b`"],
            ),
            (
                "matrix: {a: [{name: p, f: 1}, q]}\nstages: {a: {kind: command, with: {run: 'x{f}'}}}\n".into(),
                &["the value `q` of the axis `a` has no field `f`", "p.yaml:2:43"],
            ),
            (
                "params: {data: null}\nstages: {a: {kind: command, in: {x: {file: '{data}/x'}}, with: {run: a}}}\n".into(),
                &["the param `data` is null", "p.yaml:2:45", "--set data=…"],
            ),
            (matrix("{}"), &["the matrix has no axes", "p.yaml:1:9"]),
            (matrix(""), &["the matrix has no axes", "p.yaml:1:1"]),
            (matrix("{seed: []}"), &["the axis `seed` has no values", "p.yaml:1:16"]),
            (matrix("{seed: 5}"), &["expected a list of values for the axis `seed`", "p.yaml:1:16"]),
            (matrix("{seed: [1, 1]}"), &["two values called `1`", "p.yaml:1:20"]),
            (matrix("{seed: [null]}"), &["expected a scalar, or a map with `name`", "p.yaml:1:17"]),
            (matrix("{seed: [{x: 1}]}"), &["expected a scalar, or a map with `name`", "p.yaml:1:17"]),
            (matrix("{seed: ['a/b']}"), &["`a/b` cannot be the label", "p.yaml:1:17"]),
            (matrix("{seed: [\"a\\e[1m\"]}"), &["cannot be the label", "p.yaml:1:17"]),
            (matrix("{variant: [1]}"), &["`variant` cannot be the name of an axis", "p.yaml:1:10"]),
            (
                "matrix: {seed: [10, 20]}\nstages: {a: {kind: command, with: {run: a}, when: {seed: [10, 21]}}}\n".into(),
                &["the axis `seed` has no value `21`", "p.yaml:2:63"],
            ),
            (in_stage("when: {a: []}").replace("stages", "params: {a: 1}\nstages"), &["is never true", "p.yaml:6:15"]),
            (variant("{params: {q: 1}}"), &["unknown param `q`", "p.yaml:5:16"]),
            (variant("{stages: {b: {}}}"), &["unknown stage `b`", "p.yaml:5:16", "there is only `a`"]),
            (variant("{stages: {a: {retry: 1}}}"), &["unknown field `retry` (in the variant `v`)", "p.yaml:5:20"]),
            (variant("{stages: {a: {from: b}}}"), &["there is no stage `b` (in the variant `v`)", "p.yaml:5:26"]),
            (variant("{stages: {a: {with: {run: '{q}'}}}}"), &["unknown name `q` (in the variant `v`)", "p.yaml:5:33"]),
            (variant("{parms: {}}"), &["unknown field `parms`", "p.yaml:5:7", "did you mean `params`?"]),
            (variant("{}\n  a=b: {}"), &["`a=b` cannot be the name of a variant", "p.yaml:6:3"]),
            (
                stages_of("  a: {kind: command, from: c, with: {run: a}}\n  b: {kind: command, in: {x: a}, with: {run: b}}\n  c: {kind: command, in: {y: b}, with: {run: c}}\n"),
                &["form a cycle: a -> b -> c -> a", "p.yaml:2:28", "`a` needs `c`"],
            ),
        ];
    let mut failures = String::new();
    for (text, expected) in cases {
        let said = load_with(&text, &[]).map_or_else(|error| error, |_| format!("accepted: {text}"));
        let missing = expected.iter().filter(|part| !said.contains(**part));
        missing.for_each(|part| failures += &format!("\n{part} is not in\n{said}\n"));
    }
    assert!(failures.is_empty(), "{failures}");
}
