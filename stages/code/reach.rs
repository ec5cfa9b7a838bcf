//! Finds the source files that a kind reaches.

use super::crates::{Crates, Landing, Root};
use super::tokens::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What one kind depends on.
#[derive(Debug, Default)]
pub struct Reached {
    /// The files whose source is at hand, by package and path.
    pub files: BTreeMap<String, File>,
    /// The registry packages that those files name.
    pub packages: BTreeSet<String>,
}

/// One file that was reached.
#[derive(Debug)]
pub struct File {
    /// The digest of its tokens, or of its bytes if it is not Rust.
    pub digest: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// A module in a file of its own.
pub struct Module {
    /// The path relative to the root's folder.
    pub file: String,
    /// Its tokens.
    pub tokens: Source,
}

/// Every module of a library or program that has a file of its own, by module path.
pub fn modules(root: &Root) -> Result<BTreeMap<Vec<String>, Module>, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![(Vec::new(), root.file.clone())];
    while let Some((module, file)) = waiting.pop() {
        let tokens = parse(&root.folder, &file)?;
        waiting.extend(children(root, &module, &file, &tokens)?);
        found.insert(module, Module { file, tokens });
    }
    Ok(found)
}

/// Follows the paths in a file to other modules, their paths in turn, and so on. Files that `follow` rejects
/// are left out.
///
/// A path counts for the deepest module file that it names. The modules on the way only hold declarations; if
/// they counted, each module of a folder would pull in its siblings.
pub fn reach(
    crates: &Crates,
    root: &Root,
    file: &str,
    follow: impl Fn(&str) -> bool,
) -> Result<Reached, String> {
    let mut reached = Reached::default();
    let mut waiting = vec![(root.clone(), file.to_owned())];
    while let Some((root, file)) = waiting.pop() {
        let name = format!("{}/{file}", root.package);
        if reached.files.contains_key(&name) || !follow(&file) {
            continue;
        }
        let source = parse(&root.folder, &file)?;
        reached.files.insert(name, File { digest: source.digest(), path: root.folder.join(&file) });
        let module = module_of(&root, &file);
        for (_, child) in children(&root, &module, &file, &source)? {
            waiting.push((root.clone(), child));
        }
        for path in source.paths() {
            if let Some(path) = absolute(&module, &path) {
                waiting.extend(deepest_module(&root, &path).map(|file| (root.clone(), file)));
                continue;
            }
            let (first, rest) = path.split_first().expect("a path has a segment");
            match crates.landing(&root.id, first) {
                Some(Landing::Source(other)) => {
                    let file = deepest_module(&other, rest).unwrap_or_else(|| other.file.clone());
                    waiting.push((other, file));
                }
                Some(Landing::Version(package)) => drop(reached.packages.insert(package)),
                Some(Landing::Nothing) | None => {}
            }
        }
        let folder = Path::new(&file).parent().unwrap_or(Path::new(""));
        for included in source.included_files().into_iter().chain(kernels(&root.folder.join(folder))) {
            let file = folder.join(&included).to_string_lossy().into_owned();
            if !follow(&file) {
                continue;
            }
            let path = root.folder.join(&file);
            let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let digest = blake3::hash(&bytes).to_hex().to_string();
            reached.files.insert(format!("{}/{file}", root.package), File { digest, path });
        }
    }
    Ok(reached)
}

/// The modules that a file declares, with their files.
fn children(
    root: &Root,
    module: &[String],
    file: &str,
    source: &Source,
) -> Result<Vec<(Vec<String>, String)>, String> {
    let children = source.declared_modules().into_iter().map(|child| {
        let path: Vec<String> = module.iter().cloned().chain([child.clone()]).collect();
        let found = module_file(root, &path);
        found.map(|found| (path, found)).ok_or_else(|| {
            format!("{file} declares `mod {child};`, which has no file where one is looked for")
        })
    });
    children.collect()
}

/// The GPU kernels in a file's folder, which it may launch.
fn kernels(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".cu") || name.ends_with(".cuh")).collect()
}

/// Reads and parses one file below a folder.
fn parse(folder: &Path, file: &str) -> Result<Source, String> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Source::parse(&text).map_err(|error| format!("{} {error}", path.display()))
}

/// The module path of a file: `formats/mod.rs` is `formats`, and the root's own file is the crate itself.
fn module_of(root: &Root, file: &str) -> Vec<String> {
    if file == root.file {
        return Vec::new();
    }
    let mut segments: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if segments.last().is_some_and(|last| last == "mod") {
        segments.pop();
    }
    segments
}

/// A path relative to the crate's root; `None` if it leads out of the crate.
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

fn deepest_module(root: &Root, path: &[String]) -> Option<String> {
    (1..=path.len()).rev().find_map(|length| module_file(root, &path[..length]))
}

fn module_file(root: &Root, path: &[String]) -> Option<String> {
    let path = path.join("/");
    let files = [format!("{path}.rs"), format!("{path}/mod.rs")];
    files.into_iter().find(|file| root.folder.join(file).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KIND: &str = "use crate::kit::near::f;\nuse other::deep::g;\nuse outside::x;\nconst K: u8 = f();";
    const NEAR: &str = "use super::far;\npub fn f() -> u8 { far::N }";
    const FAR: &str = "pub const N: u8 = 1;";

    /// A crate `own` with a kind, and a path dependency `other`.
    fn reach_along(files: &[(&str, &str)], follow: impl Fn(&str) -> bool) -> Reached {
        let folder = tempfile::tempdir().unwrap();
        let base = [
            ("own/lib.rs", "mod kind; mod kit;"),
            ("own/kind.rs", KIND),
            ("own/kit/mod.rs", "mod near; mod far; mod idle;"),
            ("own/kit/near.rs", NEAR),
            ("own/kit/far.rs", FAR),
            ("own/kit/idle.rs", ""),
            ("other/lib.rs", "pub mod deep; pub mod idle;"),
            ("other/deep.rs", "pub fn g() {}"),
            ("other/idle.rs", ""),
        ];
        for (name, text) in base.iter().chain(files) {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let package = |name: &str, source: Option<&str>| {
            let manifest = folder.path().join(name).join("Cargo.toml");
            let target =
                json!({"kind": ["lib"], "name": name, "src_path": folder.path().join(name).join("lib.rs")});
            json!({"id": name, "name": name, "version": "1.0.0", "source": source, "manifest_path": manifest,
                "targets": [target], "metadata": null})
        };
        let uses = |name: &str| json!({"name": name, "pkg": name, "dep_kinds": [{"kind": null}]});
        let metadata = json!({
            "packages": [package("own", None), package("other", None), package("outside", Some("registry"))],
            "resolve": {"nodes": [{"id": "own", "deps": [uses("other"), uses("outside")]}]},
            "workspace_root": folder.path(),
        });
        let manifest = folder.path().join("own/Cargo.toml");
        let crates = Crates::read(metadata.to_string().as_bytes(), &manifest).unwrap();
        reach(&crates, &crates.own_roots()[0], "kind.rs", follow).unwrap()
    }

    fn digests(files: &[(&str, &str)]) -> Vec<(String, String)> {
        let reached = reach_along(files, |_| true);
        reached.files.into_iter().map(|(name, file)| (name, file.digest)).collect()
    }

    fn names(reached: &Reached) -> Vec<&str> {
        reached.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn files_are_reached_through_two_hops_and_into_another_crate() {
        let reached = reach_along(&[], |_| true);
        assert_eq!(names(&reached), ["other/deep.rs", "own/kind.rs", "own/kit/far.rs", "own/kit/near.rs"]);
        assert!(reached.packages.contains("outside"));
    }

    #[test]
    fn a_constant_two_hops_away_changes_the_code() {
        assert_ne!(digests(&[]), digests(&[("own/kit/far.rs", "pub const N: u8 = 2;")]));
        assert_ne!(digests(&[]), digests(&[("other/deep.rs", "pub fn g() { 1 }")]));
    }

    #[test]
    fn comments_tests_and_layout_two_hops_away_change_nothing() {
        let text = "/// Doc.\npub const N: u8\n= 1; // why\n#[cfg(test)] mod tests { use crate::kit::idle; }";
        assert_eq!(digests(&[]), digests(&[("own/kit/far.rs", text)]));
    }

    #[test]
    fn an_unreached_file_changes_nothing() {
        let changed =
            [("own/kit/idle.rs", "pub const M: u8 = 3;"), ("other/idle.rs", "pub const M: u8 = 3;")];
        assert_eq!(digests(&[]), digests(&changed));
    }

    #[test]
    fn what_the_root_of_another_crate_holds_brings_its_modules() {
        let files =
            [("own/kind.rs", "use other::Thing;"), ("other/lib.rs", "mod deep; pub use deep::Thing;")];
        assert_eq!(names(&reach_along(&files, |_| true)), ["other/deep.rs", "other/lib.rs", "own/kind.rs"]);
    }

    #[test]
    fn a_folder_module_brings_its_declared_children() {
        let files = [
            ("own/kind.rs", "use crate::kit::deep::f;"),
            (
                "own/kit/deep/mod.rs",
                "mod inner;\npub use inner::f;\npub const TEXT: &str = include_str!(\"text.txt\");",
            ),
            ("own/kit/deep/inner.rs", "pub fn f() {}"),
            ("own/kit/deep/text.txt", "text"),
        ];
        let expected =
            ["own/kind.rs", "own/kit/deep/inner.rs", "own/kit/deep/mod.rs", "own/kit/deep/text.txt"];
        assert_eq!(names(&reach_along(&files, |_| true)), expected);
    }

    #[test]
    fn kernels_beside_a_file_are_part_of_it() {
        let of = |kernel| digests(&[("own/kit/cuda.cu", kernel)]);
        assert!(of("a").iter().any(|(name, _)| name == "own/kit/cuda.cu"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn what_a_gpu_alone_runs_decides_nothing_elsewhere() {
        let of = |kernel| {
            let files = [
                ("own/kind.rs", "use crate::kit::op::f;"),
                ("own/kit/op/mod.rs", "mod cuda; pub fn f() {}"),
                ("own/kit/op/cuda.rs", "use crate::card::c; use outside::driver;"),
                ("own/kit/op/cuda.cu", kernel),
                ("own/card/mod.rs", "pub fn c() {}"),
            ];
            reach_along(&files, |file| !crate::is_of_gpu(file))
        };
        assert_eq!(names(&of("a")), ["own/kind.rs", "own/kit/op/mod.rs"]);
        let digests =
            |reached: Reached| reached.files.into_values().map(|file| file.digest).collect::<Vec<_>>();
        assert_eq!(digests(of("a")), digests(of("b")));
        assert!(!of("a").packages.contains("outside"));
    }
}
