//! The house rules, held against the source: imports go downward only, and words have one meaning.

use std::path::{Path, PathBuf};

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
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

/// A source without its tests.
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

#[test]
fn only_main_names_the_kinds() {
    for (name, source) in sources("src") {
        assert_eq!(code(&source).contains("stages::KINDS"), name == "src/main.rs", "{name}");
    }
}

#[test]
fn the_engine_knows_no_genes_and_no_tensors() {
    for (name, source) in sources("src") {
        // The names of two formats; what is in them is none of the engine's business.
        let lower = source
            .to_lowercase()
            .replace("safetensors::tensor", "")
            .replace("safetensors", "")
            .replace("tensorboard", "");
        for word in ["dfdx", "tensor", "performer", "expression matrix", "scrna", "cudarc"] {
            let allowed = name == "src/lib.rs" && word == "tensor"; // Its first line says that it does not.
            assert!(allowed || !lower.contains(word), "{name} knows of {word}");
        }
    }
}

#[test]
fn imports_go_downward() {
    // Each module may use those in the rows below its own.
    let layers: [&[&str]; 12] = [
        &["cli"],
        &["drawing", "report"],
        &["compare"],
        &["run", "survey"],
        &["examine"],
        &["device", "history", "plan", "pools"],
        &["diff", "executor", "graph", "runlog"],
        &["console", "preview", "spec", "store"],
        &["event", "exhibit", "memo", "metrics", "output", "yaml"],
        &["error", "hash", "locate", "template"],
        &["clock", "complaint", "key", "plot", "quantity", "worker"],
        &["absence", "markup", "statistics", "text"],
    ];
    let rank = |module: &str| layers.iter().position(|layer| layer.contains(&module));
    for (name, source) in sources("src") {
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap();
        if ["main", "lib"].contains(&module) {
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
    let outside = ["stages/tests/", "stages/examples/", "stages/benches/", "stages/build/"];
    for (name, source) in [sources("src"), sources("stages")].concat() {
        if outside.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        let inside = name.starts_with("stages/kit/tensor/");
        assert!(inside || !code(&source).contains("dfdx::tensor"), "{name} names dfdx");
        for word in ["cfg(feature", "cfg(any(feature", "cfg(all(feature", "cudarc"] {
            let allowed = name.starts_with("stages/kit/tensor/card/");
            assert!(allowed || !code(&source).contains(word), "{name} says {word}");
        }
    }
}

#[test]
fn a_plan_never_sees_a_disk() {
    let (_, source) = sources("src").into_iter().find(|(name, _)| name == "src/plan.rs").unwrap();
    assert!(!source.contains("std::fs") && !source.contains("disk::"));
}

#[test]
fn nothing_is_left_behind() {
    for (name, source) in [sources("src"), sources("stages"), sources("tests")].concat() {
        for word in ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "#[al".to_owned() + "low("] {
            assert!(!source.contains(&word), "{name} holds {word}");
        }
    }
}
