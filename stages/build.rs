//! Finds what decides the result of each kind: its source files and the crates they compute with.
//!
//! Nobody bumps a number when code changes; a comment, a test or a new layout reruns nothing.

#[path = "build/kernels.rs"]
mod kernels;
#[path = "build/locked.rs"]
mod locked;
#[path = "build/modules.rs"]
mod modules;
#[path = "build/tokens.rs"]
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    if let Err(message) = write_code().and_then(|()| kernels::build()) {
        println!("cargo::error={message}");
    }
}

fn write_code() -> Result<(), String> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let package = variable("CARGO_PKG_NAME")?;
    let lock = lock_file(&root)?;
    let manifest = root.join("Cargo.toml");
    let locked = locked::Locked::read(&read(&manifest)?, &read(&lock)?, &package)?;
    let mut watched: BTreeSet<PathBuf> = [lock, manifest, root.join("lib.rs"), root.join("build")].into();
    let mut text = String::new();
    for file in files_in(&root)? {
        watched.insert(root.join(&file));
        let name = file.trim_end_matches(".rs").to_uppercase();
        let paths = modules::parse(&root, &file)?.paths();
        let asks_for =
            |name: &str| paths.iter().any(|path| path.ends_with(&["code", name].map(str::to_owned)));
        if !asks_for(&name) {
            continue;
        }
        let code = |reached: &modules::Reached| entries(&package, reached, &locked);
        let everywhere = code(&modules::reach(&root, &file, |file| !modules::is_of_gpu(file))?);
        let reached = modules::reach(&root, &file, |_| true)?;
        watched.extend(reached.files.keys().map(|file| root.join(file)));
        write_constant(&mut text, &name, &everywhere);
        let name = format!("{name}_ON_GPU");
        if asks_for(&name) {
            let mut besides = code(&reached);
            besides.retain(|what, digest| everywhere.get(what) != Some(digest));
            write_constant(&mut text, &name, &besides);
        }
    }
    for path in watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let out = Path::new(&variable("OUT_DIR")?).join("code.rs");
    std::fs::write(&out, text).map_err(|error| format!("{}: {error}", out.display()))
}

/// Files and crates, each beside its digest or version.
type Entries = BTreeMap<String, String>;

fn entries(package: &str, reached: &modules::Reached, locked: &locked::Locked) -> Entries {
    let files = reached.files.iter().map(|(file, digest)| (format!("{package}/{file}"), digest.clone()));
    let mut entries: Entries = files.collect();
    for (name, version) in locked.crates(&reached.names) {
        let versions = entries.entry(format!("crate {name}")).or_default();
        versions.push_str(if versions.is_empty() { "" } else { ", " });
        versions.push_str(&version);
    }
    entries
}

fn write_constant(text: &mut String, name: &str, entries: &Entries) {
    let _ = writeln!(text, "pub const {name}: crate::stage::Code = &[");
    for (what, digest) in entries {
        let _ = writeln!(text, "    ({what:?}, {digest:?}),");
    }
    text.push_str("];\n");
}

/// The workspace's lock file; a packaged crate brings its own.
fn lock_file(root: &Path) -> Result<PathBuf, String> {
    let candidates = [root.join("Cargo.lock"), root.join("../Cargo.lock")];
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        format!("no Cargo.lock in {} or above it; run `cargo generate-lockfile`", root.display())
    })
}

/// The source files directly in a folder, sorted: kinds are files, never folders.
fn files_in(root: &Path) -> Result<BTreeSet<String>, String> {
    let entries = std::fs::read_dir(root).map_err(|error| format!("{}: {error}", root.display()))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let names: Result<BTreeSet<String>, _> = names.collect();
    let mut names = names.map_err(|error| format!("{}: {error}", root.display()))?;
    names.retain(|name| name.ends_with(".rs") && name != "build.rs" && name != "lib.rs");
    Ok(names)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}"))
}
