//! Finds the code that determines the result of each kind in a crate: its source files, and the crates it
//! computes with.
//!
//! Call [`write`] from `build.rs`; a kind then takes its code with the contract's macro `code!()`. No version
//! has to be raised by hand when code changes. The digest is taken over tokens, so a changed constant reruns
//! the affected steps, and a changed comment reruns nothing.
//!
//! - Source files are followed through `mod` and through paths, also into other crates whose source is at
//!   hand (path dependencies). Registry crates enter with their locked version, and so do all their
//!   dependencies.
//! - A crate with `computes = false` below `[package.metadata.kinds]` does not affect results, nor do its
//!   dependencies. The contract crate is marked so, because it only hands data around.
//! - Files named `cuda.*`, and those in a folder `card`, affect results on a GPU only.

mod crates;
mod reach;
mod tokens;

use crates::Crates;
use reach::Reached;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Writes the code of every kind in this crate to where `code!()` looks for it. For build scripts.
pub fn write() {
    if let Err(message) = try_write() {
        println!("cargo::error={}", message.replace('\n', " | "));
    }
}

fn try_write() -> Result<(), String> {
    let crates = Crates::of_build()?;
    let folder = PathBuf::from(variable("OUT_DIR")?).join("code");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut watched: BTreeSet<PathBuf> = crates.manifests();
    for root in crates.own_roots() {
        for (module, source) in reach::modules(&root)? {
            watched.insert(root.folder.join(&source.file));
            if !source.tokens.calls("code") {
                continue;
            }
            let everywhere =
                entries(&crates, &reach::reach(&crates, &root, &source.file, |file| !is_of_gpu(file))?);
            let reached = reach::reach(&crates, &root, &source.file, |_| true)?;
            watched.extend(reached.files.values().map(|file| file.path.clone()));
            let mut on_gpu = entries(&crates, &reached);
            on_gpu.retain(|what, digest| everywhere.get(what) != Some(digest));
            let path: Vec<&str> =
                [root.name.as_str()].into_iter().chain(module.iter().map(String::as_str)).collect();
            let file = folder.join(format!("{}.rs", path.join("::")));
            let text = format!("({}, {})", literal(&everywhere), literal(&on_gpu));
            std::fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
    }
    for path in watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    Ok(())
}

/// Whether a file is used on a GPU only: launches and kernels of operations, and the code that drives the
/// GPU.
fn is_of_gpu(file: &str) -> bool {
    let path = Path::new(file);
    let in_card = path.parent().is_some_and(|folder| folder.iter().any(|name| name == "card"));
    let kernel = path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh");
    in_card || kernel || path.file_name().is_some_and(|name| name == "cuda.rs")
}

/// Files and crates, each beside its digest or version.
type Entries = BTreeMap<String, String>;

fn entries(crates: &Crates, reached: &Reached) -> Entries {
    let files = reached.files.iter().map(|(name, file)| (name.clone(), file.digest.clone()));
    let mut entries: Entries = files.collect();
    for (name, version) in crates.closure(&reached.packages) {
        let versions = entries.entry(format!("crate {name}")).or_default();
        versions.push_str(if versions.is_empty() { "" } else { ", " });
        versions.push_str(&version);
    }
    entries
}

fn literal(entries: &Entries) -> String {
    let mut text = "&[".to_owned();
    for (what, digest) in entries {
        let _ = write!(text, "({what:?}, {digest:?}), ");
    }
    text + "]"
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
