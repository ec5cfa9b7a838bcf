//! What tests need in addition to the checkout, and what happens if it is missing.
//!
//! If `PIPELINE_TEST_REQUIRE_ALL` is set, as in `.ci/run`, a test that lacks something fails. Otherwise it prints on
//! standard error that it was left out, and passes.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Reports that a test was left out, or fails if everything is required.
#[track_caller]
pub fn left_out(why: &str) {
    let required = std::env::var_os("PIPELINE_TEST_REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!required, "{why}, and PIPELINE_TEST_REQUIRE_ALL is set");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Written directly, because the harness hides what passing tests print.
    let _ = writeln!(std::io::stderr(), "left out: {test}: {why}");
}

/// A file or folder in `shared`, the data beside the checkout.
#[track_caller]
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !found.exists() {
        left_out(&format!("{} is not there", found.display()));
        return None;
    }
    Some(found)
}

/// A Python environment that `scripts/readers` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// With the packages in tests/requirements.txt.
    Current,
    /// The same, but with the older HDF5 of tests/requirements-hdf5-1.14.txt.
    OlderHdf5,
}

/// A Python that has the modules, given as a comma-separated list. `python3` may stand in for the current readers.
#[track_caller]
pub fn python_with(readers: Readers, modules: &str) -> Option<PathBuf> {
    let (folder, other) = match readers {
        Readers::Current => ("current", Some(PathBuf::from("python3"))),
        Readers::OlderHdf5 => ("hdf5-1.14", None),
    };
    let installed = std::env::var_os("PIPELINE_TEST_READERS")
        .map(|installed| Path::new(&installed).join(folder).join("bin/python"));
    let found = installed.into_iter().chain(other).find(|python| imports(python.as_os_str(), modules));
    if found.is_none() {
        left_out(&format!("no Python with {modules} ({folder}); `scripts/readers` installs it"));
    }
    found
}

fn imports(python: &OsStr, modules: &str) -> bool {
    let import = Command::new(python).args(["-c", &format!("import {modules}")]).output();
    import.is_ok_and(|output| output.status.success())
}

/// Runs a Python program that may use the modules, passing it `arguments`; returns what it printed.
#[track_caller]
pub fn python(readers: Readers, modules: &str, program: &str, arguments: &[&Path]) -> Option<String> {
    let python = python_with(readers, modules)?;
    let program = format!("import sys, {modules}\n{program}");
    let output = Command::new(python).args(["-c", &program]).args(arguments).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
