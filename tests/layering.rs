//! Checks the source against the house rules: imports only go downward, and words have one meaning.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !path.ends_with("tests.rs")
            {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// A source file without its tests.
fn code(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap()
}

/// The modules of the engine that a file imports.
fn imports(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in code(source).split("crate::").skip(1) {
        let word: String = piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if word.is_empty() {
            // `use crate::{output, text};`
            let inner = piece.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
            found.extend(inner.split(',').map(|part| part.trim().split("::").next().unwrap().to_owned()));
        } else {
            found.push(word);
        }
    }
    found
}

/// Each manifest names only the crates below its own. The compiler stops code from using crates that its manifest
/// lacks, so it is enough to check the manifests.
#[test]
fn crates_use_those_below_them() {
    let below: [(&str, &[&str]); 10] = [
        ("contract", &[]),
        ("command", &["contract"]),
        ("data", &["contract"]),
        ("tensor", &["contract", "data"]),
        ("learn", &["contract", "data", "tensor"]),
        ("stages", &["command", "contract", "data", "learn", "tensor"]),
        ("engine", &["contract"]),
        ("results", &["contract", "data", "engine"]),
        ("cli", &["contract", "engine", "results"]),
        (".", &["cli", "contract", "data", "stages"]),
    ];
    for (name, allowed) in below {
        let folder = match name {
            "." => ".".to_owned(),
            "stages" => name.to_owned(),
            "engine" | "results" | "cli" => format!("src/{name}"),
            other => format!("stages/{other}"),
        };
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
        let named = |ours: &&str| dependencies.lines().any(|line| line == format!("{ours}.workspace = true"));
        let used: Vec<&str> = below.iter().map(|(ours, _)| *ours).filter(named).collect();
        let mut allowed = allowed.to_vec();
        allowed.sort_by_key(|name| below.iter().position(|(ours, _)| ours == name));
        assert_eq!(used, allowed, "{name}");
    }
}

#[test]
fn the_engine_knows_no_genes_and_no_tensors() {
    for (name, source) in sources("src") {
        // The names of two formats; their contents do not concern the engine.
        let lower = code(&source)
            .to_lowercase()
            .replace("safetensors::tensor", "")
            .replace("safetensors", "")
            .replace("tensorboard", "");
        for word in ["dfdx", "tensor", "performer", "expression matrix", "scrna", "cudarc"] {
            let allowed = name == "src/engine/lib.rs" && word == "tensor"; // Its first lines say that it knows none.
            assert!(allowed || !lower.contains(word), "{name} knows of {word}");
        }
    }
}

#[test]
fn imports_within_the_engine_go_downward() {
    // Each module may use those in the rows below its own.
    let layers: [&[&str]; 11] = [
        &["run", "survey"],
        &["examine"],
        &["device", "executor", "history", "plan"],
        &["pools", "record", "state"],
        &["graph", "runlog", "worker"],
        &["parsed", "task"],
        &["spec", "store"],
        &["event", "memo", "yaml"],
        &["error", "hash", "locate", "reason", "template"],
        &["clock", "complaint", "key", "quantity"],
        &["parallel", "text"],
    ];
    downward("src/engine", &layers);
}

#[test]
fn imports_within_the_results_go_downward() {
    let layers: [&[&str]; 6] = [
        &["drawing", "report"],
        &["compare", "diff", "preview"],
        &["yardsticks"],
        &["cell", "exhibit", "metrics", "output", "warned"],
        &["plot", "statistics"],
        &["markup"],
    ];
    downward("src/results", &layers);
}

#[test]
fn no_kind_imports_another() {
    let kinds: Vec<String> = pipeline::KINDS.iter().map(|kind| kind.name.replace('-', "_")).collect();
    for (name, source) in sources("stages") {
        let own = name.trim_start_matches("stages/").split(['/', '.']).next().unwrap();
        if !kinds.iter().any(|kind| kind == own) {
            continue;
        }
        for used in imports(&source) {
            assert!(used == own || used == "kit", "{name} imports {used}");
        }
    }
}

fn downward(folder: &str, layers: &[&[&str]]) {
    let rank = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    for (name, source) in sources(folder) {
        let module =
            name.trim_start_matches(folder).trim_start_matches('/').split(['/', '.']).next().unwrap();
        if module == "lib" {
            continue;
        }
        let own = rank(module).unwrap_or_else(|| panic!("{module} has no layer"));
        for used in imports(&source) {
            if used == module {
                continue;
            }
            let used_rank =
                rank(&used).unwrap_or_else(|| panic!("{name} imports {used}, which has no layer"));
            assert!(used_rank > own, "{name} imports {used}, which lies above it or beside it");
        }
    }
}

#[test]
fn only_the_tensors_know_of_cuda_and_of_dfdx() {
    let outside =
        ["stages/tests/", "stages/examples/", "stages/benches/", "stages/code/", "stages/tensor/build.rs"];
    for (name, source) in [sources("src"), sources("stages")].concat() {
        if outside.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let inside = name.starts_with("stages/tensor/");
        assert!(inside || !code(&source).contains("dfdx"), "{name} names dfdx");
        for word in ["cfg(feature", "cfg(any(feature", "cfg(all(feature", "cudarc"] {
            let allowed = name.starts_with("stages/tensor/card/");
            assert!(allowed || !code(&source).contains(word), "{name} says {word}");
        }
    }
}

/// No crate holds more than 35 % of the lines.
#[test]
fn no_crate_is_a_cellar() {
    let members = [
        "src/cli",
        "src/engine",
        "src/results",
        "stages/code",
        "stages/command",
        "stages/contract",
        "stages/data",
        "stages/learn",
        "stages/tensor",
        "tests",
    ];
    let mut lines: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for (name, source) in [sources("src"), sources("stages"), sources("tests")].concat() {
        let member = members.iter().find(|member| name.starts_with(&format!("{member}/"))).copied();
        let member = member.unwrap_or(if name.starts_with("stages") { "stages" } else { "." });
        *lines.entry(member).or_default() += source.lines().count();
    }
    let all: usize = lines.values().sum();
    for (member, lines) in lines {
        assert!(100 * lines <= 35 * all, "{member} holds {lines} of {all} lines");
    }
}

#[test]
fn a_plan_never_sees_a_disk() {
    let (_, source) = sources("src").into_iter().find(|(name, _)| name == "src/engine/plan.rs").unwrap();
    assert!(!code(&source).contains("std::fs") && !code(&source).contains("disk::"));
}

#[test]
fn nothing_is_left_behind() {
    for (name, source) in [sources("src"), sources("stages"), sources("tests")].concat() {
        for word in ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "#[al".to_owned() + "low("] {
            assert!(!source.contains(&word), "{name} holds {word}");
        }
    }
}
