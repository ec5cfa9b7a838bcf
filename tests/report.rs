//! The report: one self-contained page that works in a browser, and the same results for other programs.

use needs::{Readers, left_out, python_with};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Project, Ran, files_below, program, quickstart};

/// A pipeline with everything that a report can show, made by a toy kind.
const SHOWCASE: &str = "
name: show <case> & co
matrix: {seed: [1, 2, 3]}
params: {skill: 0.7}
stages:
  fit: {kind: exhibit, with: {seed: '{seed}', skill: '{skill}'}}
  judge: {kind: judge, from: fit, with: {}}
variants:
  plain: {}
  skilled: {params: {skill: 0.9}}
  idle: {params: {skill: 0.7}}
  shuffled: {params: {skill: 0.5}}
compare: {over: [seed], controls: [shuffled], baseline: plain, metrics: [auroc, loss], lower_is_better: [loss]}
";

fn showcase() -> Project {
    let project = Project::of_toys(SHOWCASE);
    project.run_well(&[]);
    project
}

fn page(project: &Project) -> String {
    project.cli(&["report", "p.yaml", "-o", "report.html"]).exits(0);
    project.read("report.html")
}

#[test]
fn the_page_needs_nothing_else_and_is_small() {
    let page = page(&showcase());
    assert!(page.len() < 3_000_000, "{}", page.len());
    for reaches_out in
        ["src=\"http", "href=\"http", "url(http", "@import", "<link rel=\"stylesheet", "fetch("]
    {
        assert!(!page.contains(reaches_out), "{reaches_out}");
    }
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"));
    assert!(page.contains("<title>show &lt;case&gt; &amp; co</title>"));
    for part in
        ["summary", "comparison", "controls", "curves", "fitting", "findings", "pipeline", "origins", "again"]
    {
        assert!(page.contains(&format!("<section id=\"{part}\"")), "{part}");
    }
    // Every drawing has a description in words.
    assert_eq!(page.matches("role=\"img\"").count(), page.matches("<desc>").count());
    assert!(page.contains("pipeline run p.yaml"));
}

#[test]
fn a_report_of_what_was_never_run_says_so() {
    let project = Project::of_toys(SHOWCASE);
    let page = page(&project);
    assert!(page.contains("Nothing is compared here: there is nothing to compare"));
    assert!(page.contains("0 of 6 steps") || page.contains("0 of 9 steps"), "the graph tells how it stands");
}

#[test]
fn the_same_cache_gives_the_same_page() {
    let project = showcase();
    let first = page(&project);
    assert_eq!(first, page(&project));
    let printed = project.cli(&["report", "p.yaml", "-o", "-"]);
    assert_eq!(first, printed.stdout);
}

#[test]
fn plots_are_files_that_stand_alone() {
    let project = showcase();
    let written = project.json(&["report", "p.yaml", "--plots", "plots"]);
    let plots = project.files("plots");
    assert_eq!(written.as_array().unwrap().len(), plots.len() + 1);
    let names: Vec<String> =
        plots.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    for name in ["roc", "precision-recall", "fit-loss"] {
        assert!(names.iter().any(|known| known == name), "{names:?}");
    }
    for (start, what) in [("links-", "a network"), ("vectors-", "places"), ("weights-", "weights")] {
        assert!(names.iter().any(|name| name.starts_with(start)), "{what} is not among {names:?}");
    }
    for plot in plots {
        let svg = std::fs::read_to_string(&plot).unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("--c0:"), "{}", plot.display());
    }
}

#[test]
fn a_crate_names_every_part_that_it_holds() {
    let project = showcase();
    project.cli(&["report", "p.yaml", "--ro-crate", "crate"]).exits(0);
    let metadata: Value = serde_json::from_str(&project.read("crate/ro-crate-metadata.json")).unwrap();
    let graph = metadata["@graph"].as_array().unwrap();
    let find = |id: &str| graph.iter().find(|entity| entity["@id"] == id);
    let root = find("./").unwrap();
    let mut parts: Vec<PathBuf> = root["hasPart"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| project.path("crate").join(part["@id"].as_str().unwrap()))
        .collect();
    parts.push(project.path("crate/ro-crate-metadata.json"));
    parts.sort();
    assert_eq!(parts, project.files("crate"), "what is named is there, and the other way around");
    // Every reference has a target.
    let mut references = Vec::new();
    collect_references(&metadata["@graph"], &mut references);
    for id in references {
        assert!(find(&id).is_some() || id.starts_with("http"), "{id} is not in the crate");
    }
    let steps = graph.iter().filter(|entity| entity["@type"] == "CreateAction").count();
    assert_eq!(steps, 18);
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) if map.len() == 1 && map.contains_key("@id") => {
            found.push(map["@id"].as_str().unwrap().to_owned());
        }
        Value::Object(map) => map.values().for_each(|value| collect_references(value, found)),
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

#[test]
fn multiqc_gets_a_table_of_means() {
    let project = showcase();
    project.cli(&["report", "p.yaml", "--multiqc", "results_mqc.json"]).exits(0);
    let content: Value = serde_json::from_str(&project.read("results_mqc.json")).unwrap();
    assert_eq!(content["plot_type"], "table");
    let mean =
        project.json(&["compare", "p.yaml"])["blocks"][0]["rows"][1]["metrics"]["auroc"]["mean"].clone();
    assert_eq!(content["data"]["skilled"]["auroc"], mean);
}

#[test]
fn tensorboard_reads_the_histories() {
    let project = showcase();
    project.cli(&["report", "p.yaml", "--tensorboard", "events"]).exits(0);
    assert_eq!(files_below(&project.path("events")).len(), 9, "one for each step with a history");
    let Some(python) = python_with(Readers::Current, "tensorboard") else { return };
    let read = "
import sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = EventAccumulator(sys.argv[1])
found.Reload()
print(found.Tags()['scalars'], [(event.step, round(event.value, 4)) for event in found.Scalars('loss')][:2])
";
    let output =
        Command::new(python).args(["-c", read]).arg(project.path("events/fit[seed=1]")).output().unwrap();
    let ran = Ran::from(output);
    ran.exits(0);
    assert_eq!(ran.stdout.trim(), "['loss', 'rate'] [(1, 1.0), (2, 0.5)]");
}

/// A headless browser, if one is installed.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut names = ["chromium", "chromium-browser", "google-chrome", "chrome"].iter();
    let found = names.find_map(|name| {
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
    });
    if found.is_none() {
        left_out("no Chromium on $PATH");
    }
    found
}

const PHONE: &str = "390,844";

/// Opens a page, runs a script in it, and returns the resulting page and the console's output.
fn in_browser(browser: &Path, folder: &Path, page: &str, size: &str, script: &str) -> (String, String) {
    let probe = format!(
        "<script>onload = () => {{ let said; try {{ said = String((() => {{ {script} }})()); }} catch (error) {{ said = 'failed: ' + error; }}
        const note = document.createElement('pre'); note.id = 'said'; note.textContent = said; document.body.append(note); }};</script></body>"
    );
    let file = folder.join("probe.html");
    std::fs::write(&file, page.replace("</body>", &probe)).unwrap();
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=4000",
        ])
        .arg(format!("--window-size={size}"))
        .arg(format!("--user-data-dir={}", folder.join("browser").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = dom
        .split("<pre id=\"said\">")
        .nth(1)
        .unwrap_or_else(|| panic!("nothing was said: {}", String::from_utf8_lossy(&output.stderr)));
    let console: Vec<String> = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter(|line| line.contains(":CONSOLE"))
        .map(str::to_owned)
        .collect();
    (said.split("</pre>").next().unwrap().to_owned(), console.join("\n"))
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(browser) = browser() else { return };
    let project = showcase();
    let page = page(&project);
    let script = "
        const table = document.querySelector('table.compared');
        const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].firstChild.textContent).join(' ');
        const click = (column) => { const heading = table.tHead.rows[0].cells[column]; heading.querySelector('button').click(); return heading.getAttribute('aria-sort'); };
        const said = [names(), click(2), names(), click(2), names(), click(3), names(), document.getElementById('told').textContent];
        const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
        const unnamed = [...document.querySelectorAll('svg[role=img]')].filter((svg) => !svg.querySelector('title').textContent).length;
        return [...said, 'wide ' + wide, 'unnamed ' + unnamed].join('|');
    ";
    let (said, console) = in_browser(&browser, &project.path(""), &page, PHONE, script);
    assert_eq!(console, "", "the console is silent");
    let said: Vec<&str> = said.split('|').collect();
    assert_eq!(said[0], "plain skilled idle shuffled");
    assert_eq!((said[1], said[2]), ("descending", "skilled plain idle shuffled"), "the best first");
    assert_eq!((said[3], said[4]), ("ascending", "shuffled plain idle skilled"));
    assert_eq!((said[5], said[6]), ("ascending", "skilled plain idle shuffled"), "less loss is better");
    assert_eq!(said[7], "Sorted by loss, ascending.");
    assert_eq!((said[8], said[9]), ("wide false", "unnamed 0"), "nothing sticks out on a phone");
}

#[test]
fn the_page_can_be_read_without_seeing_it() {
    let Some(browser) = browser() else { return };
    let project = showcase();
    let script = "
        const all = (what) => [...document.querySelectorAll(what)];
        const levels = all('h1,h2,h3,h4').map((heading) => Number(heading.tagName[1]));
        const name = (region) => region.getAttribute('aria-label') || document.getElementById(region.getAttribute('aria-labelledby')).textContent;
        const names = all('section,[role=region]').map(name);
        const scrolled = all('main *').filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX === 'auto');
        return [
            levels.filter((level, i) => i > 0 && level > levels[i - 1] + 1).length + ' headings skip a level',
            (names.length - new Set(names).size) + ' regions share a name',
            all('th:not([scope])').length + ' headings of tables are of nothing',
            all('th').filter((heading) => !heading.textContent.trim()).length + ' are empty',
            all('svg:not([role=img]):not([aria-hidden=true])').length + ' drawings are neither told nor hidden',
            scrolled.filter((one) => one.tabIndex < 0).length + ' parts cannot be scrolled by keyboard',
            (document.documentElement.scrollWidth > document.documentElement.clientWidth ? 1 : 0) + ' pages stick out',
        ].join('|');
    ";
    for size in [PHONE, "1280,900"] {
        let (said, console) = in_browser(&browser, &project.path(""), &page(&project), size, script);
        assert_eq!(console, "");
        for what in said.split('|') {
            assert!(what.starts_with("0 "), "{what} at {size}: {said}");
        }
    }
}

#[test]
fn the_quickstart_is_reported_within_two_seconds() {
    let (file, cache) = quickstart();
    let folder = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    let output = Command::new(program())
        .arg("report")
        .arg(&file)
        .arg("--cache")
        .arg(&cache)
        .arg("-o")
        .arg(folder.path().join("report.html"))
        .output()
        .unwrap();
    Ran::from(output).exits(0);
    assert!(began.elapsed().as_secs_f64() < 2.0, "{:?}", began.elapsed());
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("The control shuffled reaches"), "{page}");
}
