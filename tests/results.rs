//! What people read about a pipeline's state and results, from its first plan to its report.

use support::{Project, reads};

/// A study of two seeds and three variants, one of them a control.
const STUDY: &str = "
name: study
params: {skill: 0.7}
matrix: {seed: [1, 2]}
stages:
  notes: {kind: grow, in: {text: {file: notes.txt}}, with: {line: measured}}
  fit: {kind: exhibit, with: {seed: '{seed}', skill: '{skill}'}}
  judge: {kind: judge, from: fit, with: {}}
variants:
  plain: {}
  skilled: {params: {skill: 0.9}}
  shuffled: {params: {skill: 0.5}}
compare: {over: [seed], controls: [shuffled], baseline: plain, metrics: [auroc, loss], lower_is_better: [loss]}
";

fn study() -> Project {
    let project = Project::of_toys(STUDY);
    project.write("notes.txt", "measured in spring\n");
    project
}

/// Two steps for each seed, and one whose input is not there yet.
const SEEDS: &str = "
name: seeds
matrix: {seed: [1, 2]}
stages:
  notes: {kind: grow, in: {text: {file: notes.txt}}, with: {line: 'seed {seed}'}}
  more: {kind: grow, from: {file: more.txt, optional: fetch it from the archive}, with: {line: x}}
  last: {kind: grow, from: notes, with: {line: done}}
";

fn seeds() -> Project {
    let project = Project::of_toys(SEEDS);
    project.write("notes.txt", "measured in spring\n");
    project
}

const RUN: &str = "run p.yaml --jobs 1";

#[test]
fn a_first_run_is_planned_then_told_step_by_step() {
    let again = ["plan p.yaml", "status p.yaml"];
    let first = ["cat p.yaml", again[0], again[1], RUN];
    seeds().reads("first_run", &[&first[..], &again].concat());
}

#[test]
fn a_change_is_explained_before_and_after_it_is_computed() {
    let project = seeds();
    project.run_well(&["--jobs", "1"]);
    project.write("notes.txt", "measured in autumn\n");
    project.edit("line: done", "line: over");
    let why = ["why p.yaml notes[seed=1]", "why p.yaml last[seed=1]"];
    let last = ["why p.yaml more", "log p.yaml"];
    project.reads("change", &[&["plan p.yaml"], &why[..], &[RUN], &why, &last].concat());
}

#[test]
fn a_failure_says_what_failed_and_what_was_left_out() {
    let project = Project::of_toys(
        "stages:\n  fails: {kind: command, with: {run: 'echo no such gene >&2; exit 3'}}\n  needs-it: {kind: grow, from: fails, with: {line: x}}\n  other: {kind: grow, with: {line: x}}\n",
    );
    project.reads("failure", &["cat p.yaml", RUN, "run p.yaml --keep-going --jobs 1", "plan p.yaml"]);
}

#[test]
fn artifacts_are_shown_and_their_differences_too() {
    let project = study();
    project.run_well(&[]);
    project.reads("show", &["show p.yaml notes", "show p.yaml fit[seed=1]", "show p.yaml judge[seed=1]"]);
    project.run_well(&["--set", "skill=0.75"]);
    let steps = "diff p.yaml fit[seed=1] fit[seed=1,variant=skilled]";
    project.reads("diff", &[steps, "diff p.yaml fit[seed=1] fit[seed=1]", "diff p.yaml notes fit[seed=1]"]);
}

#[test]
fn variants_are_compared_with_every_remark_explained() {
    let project = study();
    project.run_well(&[]);
    let formats = ["--markdown", "--latex", "--csv"].map(|format| format!("compare p.yaml {format}"));
    let commands: Vec<&str> =
        std::iter::once("compare p.yaml").chain(formats.iter().map(String::as_str)).collect();
    project.reads("compare", &commands);
}

#[test]
fn questions_that_have_no_answer_say_what_to_ask_instead() {
    let project = study();
    project.reads(
        "unanswered_before_the_run",
        &["show p.yaml notes", "compare p.yaml", "log p.yaml", "verify p.yaml"],
    );
    project.run_well(&[]);
    project.reads(
        "unanswered",
        &[
            "show p.yaml note",
            "why p.yaml fit",
            "diff p.yaml notes last",
            "adopt p.yaml notes",
            "compare p.yaml --metrics aurok",
            "compare p.yaml --rows seeds",
            "compare p.yaml --where variant=plan",
            "compare p.yaml --where plain",
            "compare p.yaml --baseline plan",
            "compare p.yaml --against never",
            "log p.yaml --run never",
            "gc p.yaml",
            "gc p.yaml --max-size 20",
            "run p.yaml --set skil=1",
            "run p.yaml --set skill",
            "run p.yaml --device gpu",
            "plan nowhere.yaml",
            "shwo p.yaml",
        ],
    );
}

#[test]
fn a_report_says_what_leads_how_sure_that_is_and_where_it_came_from() {
    let project = study();
    project.run_well(&[]);
    project.cli(&["report", "p.yaml", "-o", "report.html"]).exits(0);
    let page = words(&project.read("report.html"));
    // The machine's name and the program's path.
    let lines =
        page.lines().filter(|line| !line.starts_with("newest run |") && !line.starts_with("command line |"));
    reads("report", &lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_value_of_an_axis_is_known_though_its_file_is_not_given() {
    let project = Project::of_toys(
        "
params: {data: null}
matrix: {set: [{name: here, from: made}, {name: mDC-500, from: given}, {name: mDC-1000, from: given}]}
stages:
  made: {kind: exhibit, with: {seed: 1, skill: 0.7}}
  given: {kind: grow, when: {set: [mDC-500, mDC-1000]}, in: {text: {file: '{data}/{set}', optional: give it}}, with: {line: x}}
  judge: {kind: judge, from: '{set.from}', with: {}}
",
    );
    project.run_well(&[]);
    let none = project.cli(&["compare", "p.yaml", "--where", "set=mDC-1000"]);
    none.exits(2).says("give it");
    assert!(!none.stderr.contains("no value"), "{}", none.stderr);
    let rows = &project.json(&["compare", "p.yaml"])["blocks"][0]["rows"];
    let names: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["here", "mDC-500", "mDC-1000"]);
}

#[test]
fn a_report_of_a_partial_run_counts_what_ran() {
    let project = study();
    project.edit("seed: [1, 2]", "seed: [1, 2, 3, 4, 5, 6]");
    project.run_well(&["--until", "judge[seed=1]"]);
    project.cli(&["report", "p.yaml", "-o", "report.html"]).exits(0);
    let page = project.read("report.html");
    assert!(page.contains("plain reaches auroc: ") && page.contains("One more has no value yet."), "{page}");
    assert!(!page.contains("Of 2 variants"), "one has no value");
    assert!(page.contains("<details><summary>17 steps without numbers</summary>"), "many are folded");
    assert!(!page.contains("<section id=\"controls\""), "no control has a value");
    project.run_well(&["--until", "judge[seed=2,variant=skilled]"]);
    project.run_well(&["--until", "judge[seed=1,variant=skilled]"]);
    project.run_well(&["--until", "judge[seed=2]"]);
    project.cli(&["report", "p.yaml", "-o", "report.html"]).exits(0);
    let page = project.read("report.html");
    assert!(page.contains("Of 2 variants, skilled reaches the highest auroc"), "{page}");
    let caveat = "the 95 % interval excludes 0. But with 2 seeds, an interval rests on the assumption";
    assert!(page.contains(caveat), "{page}");
}

/// The text of a page, without its drawings but with their titles; cells of tables are set apart by `|`.
fn words(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, after) = after.split_once('>').expect("a tag ends");
        let name = tag.split(' ').next().unwrap_or_default();
        rest = match name {
            "style" | "script" => after.split_once(&format!("</{name}>")).expect("it ends").1,
            "svg" => {
                let (svg, after) = after.split_once("</svg>").expect("it ends");
                let title = svg.split("<title>").nth(1).and_then(|title| title.split("</title>").next());
                text.push_str(&title.map_or_else(String::new, |title| format!("\n[{title}]\n")));
                after
            }
            _ => after,
        };
        text.push_str(match name {
            "span" => " ",
            "/th" | "/td" | "/dt" => " | ",
            "h1" => "\n\n# ",
            "h2" => "\n\n## ",
            "h3" => "\n\n### ",
            "li" => "\n- ",
            "p" | "/p" | "dt" | "/dl" | "tr" | "div" | "/div" | "table" | "summary" | "figcaption"
            | "pre" | "section" => "\n",
            _ => "",
        });
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    lines
        .map(|line| if line.starts_with('#') { format!("\n{line}\n") } else { format!("{line}\n") })
        .collect()
}
