//! The commands in the README work, and every example pipeline runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use support::{Project, program};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands in the README's `sh` blocks.
fn commands() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn the_commands_of_the_readme_work() {
    let project = Project::new("stages: {}");
    let bin = program().parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut typed = 0;
    for line in commands().iter().filter(|line| line.starts_with("pipeline ")) {
        let output = Command::new("sh")
            .args(["-c", line])
            .current_dir(project.path(""))
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        typed += 1;
    }
    assert!(typed >= 4);
}

/// The fenced blocks of a page: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block that does not end");
    blocks
}

/// Follows a page as a reader would: writes the files that it shows and types its commands into one shell.
fn follow(page: &str) {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = format!("{}:{}", program().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut script = String::from("set -eu\n");
    let mut typed = 0;
    for (language, block) in blocks(&text) {
        let named = block.lines().next().and_then(|line| line.strip_prefix("# ")).map(str::trim);
        match (language.as_str(), named) {
            ("sh", _) => {
                script.push_str(&block);
                typed += 1;
            }
            ("yaml" | "python", Some(name)) => std::fs::write(folder.path().join(name), &block).unwrap(),
            _ => {}
        }
    }
    assert!(typed > 0, "{page} has no command");
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env_remove("PIPELINE_CACHE")
        .output()
        .unwrap();
    assert!(output.status.success(), "{page}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_guide_can_be_followed() {
    for page in [
        "tutorial.md",
        "your-data.md",
        "your-script.md",
        "keys.md",
        "resume.md",
        "comparing.md",
        "coming-from.md",
    ] {
        follow(page);
    }
}

/// A folder as BEELINE lays them out: genes that follow their TFs, and the network.
fn write_data(folder: &Path) {
    std::fs::create_dir(folder).unwrap();
    let (mut network, mut cells) =
        ("Gene1,Gene2\n".to_owned(), (0..40).map(|cell| format!(",c{cell}")).collect::<String>());
    for gene in 0..60 {
        let value = |cell: usize| format!(",{}", (cell * (gene % 6 + 3) * 7 + gene * cell % 5) % 23);
        cells.push_str(&format!("\nG{gene}{}", (0..40).map(value).collect::<String>()));
        if gene >= 6 {
            network.push_str(&format!("G{},G{gene}\nG{},G{gene}\n", gene % 6, (gene / 6 + gene) % 6));
        }
    }
    std::fs::write(folder.join("ExpressionData.csv"), cells + "\n").unwrap();
    std::fs::write(folder.join("refNetwork.csv"), network).unwrap();
}

#[test]
fn foreign_vectors_stand_in_the_table_beside_their_controls() {
    let page = std::fs::read_to_string(root().join("docs/transformer.md")).unwrap();
    let is_shown = |(_, text): &(String, String)| text.starts_with("# foreign.yaml\n");
    let (_, yaml) = blocks(&page).into_iter().find(is_shown).expect("the pipeline of the page");
    let project = Project::new(&yaml);
    write_data(&project.path("data"));
    // The vector of a gene is near that of its TF.
    let vector = |gene: usize| format!("g{gene},{},{},0.1\n", gene % 6 + gene / 30, 20 - (gene % 6) * 2);
    let vectors: String = (0..55).map(vector).collect();
    project.write("vectors.csv", &format!("gene,a,b,c\n{vectors}"));
    let ran = project.run_well(&["--set", "weights=vectors.csv"]);
    assert!(ran.stderr.contains("55 of 60 genes of the data have a vector"), "{}{}", ran.stdout, ran.stderr);
    let table = project.cli(&["compare", "p.yaml", "--set", "weights=vectors.csv"]);
    for row in ["similarity_permuted", "correlation", "stack_with", "stack_permuted"] {
        assert!(table.stdout.contains(row), "{row} is not in\n{}{}", table.stdout, table.stderr);
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages: Vec<PathBuf> = vec![root().join("README.md")];
    pages.extend(std::fs::read_dir(root().join("docs")).unwrap().flatten().map(|entry| entry.path()));
    for page in pages.iter().filter(|page| page.extension().is_some_and(|extension| extension == "md")) {
        let text = std::fs::read_to_string(page).unwrap();
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let target = target.split('#').next().unwrap();
            if !target.starts_with("http") && !target.is_empty() {
                assert!(page.parent().unwrap().join(target).exists(), "{}: {target}", page.display());
            }
        }
    }
}

#[test]
fn the_readme_opens_with_a_run_and_all_tests() {
    let commands = commands();
    let run =
        commands[0].strip_prefix("cargo run --release -- run ").expect("the first command runs a pipeline");
    assert!(root().join(run).exists());
    assert_eq!(commands[1], "cargo test --workspace");
}

/// Long pipelines are only planned here; `.ci/run` runs all of them with the optimised program.
#[test]
fn every_example_pipeline_can_be_planned_and_the_quick_ones_run_once() {
    let cache = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(root().join("pipelines")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let pipeline = |command: &str| {
            let mut pipeline = Command::new(program());
            let output = pipeline.arg(command).arg(&path).arg("--cache").arg(cache.path()).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command} {}: {said}", path.display());
            String::from_utf8(output.stdout).unwrap()
        };
        pipeline("plan");
        if ["words", "quickstart"].iter().any(|quick| path.file_stem().is_some_and(|stem| stem == *quick)) {
            pipeline("run");
            assert!(pipeline("run").contains(": 0 computed, "), "{} is computed twice", path.display());
        }
    }
}

#[test]
fn the_yaml_of_the_readme_is_the_example() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let shown = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let example = std::fs::read_to_string(root().join("pipelines/words.yaml")).unwrap();
    let plain = |yaml: &str| -> Vec<String> {
        let lines = yaml.lines().map(|line| line.split("  #").next().unwrap().trim_end().to_owned());
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    };
    assert_eq!(plain(shown), plain(&example));
}
