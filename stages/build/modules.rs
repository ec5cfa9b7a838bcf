//! The source files that a kind reaches.

use super::tokens::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Files that hand data around or refuse it, and compute nothing.
const PLUMBING: [&str; 9] = [
    "artifacts.rs",
    "bounds.rs",
    "checkpoint.rs",
    "code.rs",
    "disk.rs",
    "gpu.rs",
    "lib.rs",
    "stage.rs",
    "warden.rs",
];

/// Whether a file computes on a GPU alone: the launches and kernels of operations, and what stands for a card.
pub fn is_of_gpu(file: &str) -> bool {
    let ends = ["/cuda.rs", ".cu", ".cuh"];
    file.starts_with("kit/tensor/card/") || ends.iter().any(|end| file.ends_with(end))
}

/// What one kind depends on inside this crate, and the names outside that it mentions.
#[derive(Debug, Default)]
pub struct Reached {
    /// Relative path to digest.
    pub files: BTreeMap<String, String>,
    /// First segments of the paths in those files: crates, among other names.
    pub names: BTreeSet<String>,
}

/// Follows a file's paths to other modules, theirs, and so on, as far as they are to be followed.
///
/// A path counts for the deepest module file that it names. The modules it only passes through hold
/// declarations; were they to count, each module of a folder would pull in its siblings.
pub fn reach(root: &Path, file: &str, follow: impl Fn(&str) -> bool) -> Result<Reached, String> {
    let mut reached = Reached::default();
    let mut waiting = vec![file.to_owned()];
    while let Some(file) = waiting.pop() {
        if PLUMBING.contains(&file.as_str()) || reached.files.contains_key(&file) || !follow(&file) {
            continue;
        }
        let source = parse(root, &file)?;
        reached.files.insert(file.clone(), source.digest());
        let module = module_of(&file);
        for child in source.declared_modules() {
            let path: Vec<String> = module.iter().cloned().chain([child.clone()]).collect();
            let found = module_file(root, &path).ok_or_else(|| {
                format!("{file} declares `mod {child};`, which has no file where one is looked for")
            })?;
            waiting.push(found);
        }
        for path in source.paths() {
            match absolute(&module, &path) {
                Some(path) => waiting.extend(deepest_module(root, &path)),
                None => reached.names.extend(path.first().cloned()),
            }
        }
        let folder = Path::new(&file).parent().unwrap_or(Path::new(""));
        for included in source.included_files().into_iter().chain(kernels(&root.join(folder))) {
            let name = folder.join(&included).to_string_lossy().into_owned();
            if !follow(&name) {
                continue;
            }
            let bytes = std::fs::read(root.join(&name))
                .map_err(|error| format!("{file} includes {name}: {error}"))?;
            reached.files.insert(name, blake3::hash(&bytes).to_hex().to_string());
        }
    }
    Ok(reached)
}

/// The kernels for a GPU that lie beside a file: what it launches.
fn kernels(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".cu") || name.ends_with(".cuh")).collect()
}

/// Reads and parses one file below `root`.
pub fn parse(root: &Path, file: &str) -> Result<Source, String> {
    let text = std::fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
    Source::parse(&text).map_err(|error| format!("{file} {error}"))
}

/// The module path of a file: `kit/formats/mod.rs` is `kit::formats`.
fn module_of(file: &str) -> Vec<String> {
    let mut segments: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| last == "mod") {
        segments.pop();
    }
    segments
}

/// A path as seen from the crate's root, or nothing if it leads out of the crate.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last()?.1.to_vec(),
        _ => return None,
    };
    for segment in rest {
        match segment.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            _ => base.push(segment.clone()),
        }
    }
    Some(base)
}

fn deepest_module(root: &Path, path: &[String]) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| module_file(root, &path[..length]))
}

fn module_file(root: &Path, path: &[String]) -> Option<String> {
    let path = path.join("/");
    [format!("{path}.rs"), format!("{path}/mod.rs")].into_iter().find(|file| root.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "use crate::kit::near::f;\nuse rand_chacha::ChaCha8Rng;\nconst K: u8 = f();";
    const NEAR: &str = "use super::far;\npub fn f() -> u8 { far::N }";
    const FAR: &str = "pub const N: u8 = 1;";

    fn reach_of(files: &[(&str, &str)]) -> Reached {
        reach_along(files, |_| true)
    }

    fn reach_along(files: &[(&str, &str)], follow: impl Fn(&str) -> bool) -> Reached {
        let folder = tempfile::tempdir().unwrap();
        let base =
            [("kind.rs", KIND), ("kit/mod.rs", "mod near; mod far; mod other;"), ("kit/near.rs", NEAR)];
        for (name, text) in base.iter().chain([&("kit/far.rs", FAR), &("kit/other.rs", "")]).chain(files) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        reach(folder.path(), "kind.rs", follow).unwrap()
    }

    #[test]
    fn files_are_reached_through_two_hops() {
        let reached = reach_of(&[]);
        assert_eq!(reached.files.keys().collect::<Vec<_>>(), ["kind.rs", "kit/far.rs", "kit/near.rs"]);
        assert!(reached.names.contains("rand_chacha"));
    }

    #[test]
    fn a_constant_two_hops_away_changes_the_code() {
        assert_ne!(reach_of(&[]).files, reach_of(&[("kit/far.rs", "pub const N: u8 = 2;")]).files);
    }

    #[test]
    fn comments_tests_and_layout_two_hops_away_change_nothing() {
        let text =
            "/// Doc.\npub const N: u8\n= 1; // why\n#[cfg(test)] mod tests { use crate::kit::other; }";
        assert_eq!(reach_of(&[]).files, reach_of(&[("kit/far.rs", text)]).files);
    }

    #[test]
    fn an_unreached_file_changes_nothing() {
        assert_eq!(reach_of(&[]).files, reach_of(&[("kit/other.rs", "pub const M: u8 = 3;")]).files);
    }

    #[test]
    fn a_folder_module_brings_its_declared_children() {
        let files = [
            ("kind.rs", "use crate::kit::deep::f;"),
            (
                "kit/deep/mod.rs",
                "mod inner;\npub use inner::f;\npub const TEXT: &str = include_str!(\"text.txt\");",
            ),
            ("kit/deep/inner.rs", "pub fn f() {}"),
            ("kit/deep/text.txt", "text"),
        ];
        let reached = reach_of(&files);
        let expected = ["kind.rs", "kit/deep/inner.rs", "kit/deep/mod.rs", "kit/deep/text.txt"];
        assert_eq!(reached.files.keys().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn kernels_beside_a_file_are_part_of_it() {
        let of = |kernel| reach_of(&[("kit/cuda.cu", kernel)]).files;
        assert!(of("a").contains_key("kit/cuda.cu"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn what_a_gpu_alone_runs_decides_nothing_elsewhere() {
        let of = |kernel| {
            let files = [
                ("kind.rs", "use crate::kit::op::f;"),
                ("kit/op/mod.rs", "mod cuda; pub fn f() {}"),
                ("kit/op/cuda.rs", "use crate::kit::tensor::card::c; use cudarc::driver;"),
                ("kit/op/cuda.cu", kernel),
                ("kit/tensor/card/mod.rs", "pub fn c() {}"),
            ];
            reach_along(&files, |file| !is_of_gpu(file))
        };
        assert_eq!(of("a").files.keys().collect::<Vec<_>>(), ["kind.rs", "kit/op/mod.rs"]);
        assert_eq!(of("a").files, of("b").files);
        assert!(!of("a").names.contains("cudarc"));
    }

    #[test]
    fn plumbing_is_left_out() {
        let files =
            [("kind.rs", "use crate::stage::Io; use crate::disk;"), ("stage.rs", ""), ("disk.rs", "")];
        assert_eq!(reach_of(&files).files.keys().collect::<Vec<_>>(), ["kind.rs"]);
    }
}
