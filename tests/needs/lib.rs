//! What tests need beyond the checkout, and what happens where it is missing.
//!
//! With `PIPELINE_TEST_REQUIRE_ALL` set, as `.ci/run` sets it, a test that lacks something fails. Elsewhere it says on
//! standard error that it was left out, and passes.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that a test does not look, or fails it where everything has to be there.
#[track_caller]
pub fn left_out(why: &str) {
    let required = std::env::var_os("PIPELINE_TEST_REQUIRE_ALL").is_some_and(|value| !value.is_empty());
    assert!(!required, "{why}, and PIPELINE_TEST_REQUIRE_ALL is set");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Written directly, because the harness hides what passing tests print.
    let _ = writeln!(std::io::stderr(), "left out: {test}: {why}");
}

/// A file or folder of `shared`, the data that lie beside the checkout.
#[track_caller]
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if !found.exists() {
        left_out(&format!("{} is not there", found.display()));
        return None;
    }
    Some(found)
}

/// A Python that `scripts/readers` installs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// What tests/requirements.txt lists.
    Current,
    /// The same with the older HDF5 of tests/requirements-hdf5-1.14.txt.
    OlderHdf5,
}

/// A Python that has some modules, which are separated by commas. `python3` stands in for the current readers.
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

/// Runs a program that may use the modules and reads the files of `arguments`; returns what it printed.
#[track_caller]
pub fn python(readers: Readers, modules: &str, program: &str, arguments: &[&Path]) -> Option<String> {
    let python = python_with(readers, modules)?;
    let program = format!("import sys, {modules}\n{program}");
    let output = Command::new(python).args(["-c", &program]).args(arguments).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
