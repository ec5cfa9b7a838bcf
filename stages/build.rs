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

use std::collections::BTreeSet;
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
        let asked_for = ["code", &name];
        if !modules::parse(&root, &file)?
            .paths()
            .iter()
            .any(|path| path.ends_with(&asked_for.map(str::to_owned)))
        {
            continue;
        }
        let reached = modules::reach(&root, &file)?;
        watched.extend(reached.files.keys().map(|file| root.join(file)));
        write_constant(&mut text, &package, &name, &reached, &locked);
    }
    for path in watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let out = Path::new(&variable("OUT_DIR")?).join("code.rs");
    std::fs::write(&out, text).map_err(|error| format!("{}: {error}", out.display()))
}

fn write_constant(
    text: &mut String,
    package: &str,
    name: &str,
    reached: &modules::Reached,
    locked: &locked::Locked,
) {
    let files = reached.files.iter().map(|(file, digest)| (format!("{package}/{file}"), digest.clone()));
    let crates =
        locked.crates(&reached.names).into_iter().map(|(name, version)| (format!("crate {name}"), version));
    let _ = writeln!(text, "pub const {name}: crate::stage::Code = &[");
    for (what, digest) in files.chain(crates) {
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
