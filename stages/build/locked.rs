//! The locked versions of the crates that compute.

use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Crates that carry params, errors and signals, and compute nothing; a name that ends in `*` stands for all that begin so.
const PLUMBING: [&str; 10] = [
    "anyhow",
    "nix",
    "rustix",
    "schemars*",
    "serde",
    "serde_*",
    "signal-hook*",
    "thiserror*",
    "tracing*",
    "tempfile",
];

/// Crates for other machines, never compiled where the digest is of use, and the tools of procedural macros.
const ELSEWHERE: [&str; 12] = [
    "android*",
    "core-foundation*",
    "js-sys",
    "proc-macro2",
    "quote",
    "syn",
    "unicode-ident",
    "wasi*",
    "wasm-bindgen*",
    "wasip*",
    "web-*",
    "windows*",
];

/// What a lock file lists for a feature that no build of ours asks for: a crate, and what it would need.
const UNASKED: [(&str, &str); 2] = [("dfdx", "cudarc"), ("dfdx", "gemm")];

/// What a lock file and a manifest say together.
pub struct Locked {
    /// Name as written in `use`, to the package that it stands for.
    direct: BTreeMap<String, Package>,
    dependencies: BTreeMap<Package, Vec<Package>>,
}

type Package = (String, String);

impl Locked {
    /// Prereq: `lock` is the lock file of the workspace that holds the package `name` with this manifest.
    pub fn read(manifest: &str, lock: &str, name: &str) -> Result<Locked, String> {
        let manifest: Table = manifest.parse().map_err(|error| format!("Cargo.toml: {error}"))?;
        let lock: Table = lock.parse().map_err(|error| format!("Cargo.lock: {error}"))?;
        let packages = lock.get("package").and_then(Value::as_array).ok_or("Cargo.lock lists no packages")?;
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for package in packages {
            versions.entry(text(package, "name")?).or_default().push(text(package, "version")?);
        }
        let mut dependencies = BTreeMap::new();
        let mut own = None;
        for package in packages {
            let key = (text(package, "name")?.to_owned(), text(package, "version")?.to_owned());
            let listed = package.get("dependencies").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let listed: Vec<Package> = listed
                .iter()
                .filter_map(Value::as_str)
                .filter_map(|entry| resolve(entry, &versions))
                .collect();
            if key.0 == name && package.get("source").is_none() {
                own = Some(listed.clone());
            }
            dependencies.insert(key, listed);
        }
        let own = own.ok_or_else(|| format!("Cargo.lock does not list the package `{name}`"))?;
        let mut direct = BTreeMap::new();
        if let Some(table) = manifest.get("dependencies").and_then(Value::as_table) {
            for (alias, value) in table {
                let package = value.get("package").and_then(Value::as_str).unwrap_or(alias);
                let found = own.iter().find(|(name, _)| name == package);
                let found = found.ok_or_else(|| {
                    format!("Cargo.lock does not list `{package}`, a dependency of `{name}`")
                })?;
                direct.insert(alias.replace('-', "_"), found.clone());
            }
        }
        Ok(Locked { direct, dependencies })
    }

    /// The crates among `names` that compute and all that they bring, each with its version.
    pub fn crates(&self, names: &BTreeSet<String>) -> BTreeSet<Package> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<&Package> = names.iter().filter_map(|name| self.direct.get(name)).collect();
        while let Some(package) = waiting.pop() {
            if !listed(&PLUMBING, &package.0)
                && !listed(&ELSEWHERE, &package.0)
                && found.insert(package.clone())
            {
                let needed = self.dependencies.get(package).into_iter().flatten();
                waiting.extend(
                    needed.filter(|needed| !UNASKED.contains(&(package.0.as_str(), needed.0.as_str()))),
                );
            }
        }
        found
    }
}

fn text<'a>(package: &'a Value, key: &str) -> Result<&'a str, String> {
    package.get(key).and_then(Value::as_str).ok_or_else(|| format!("Cargo.lock: a package without `{key}`"))
}

/// An entry is a name, with a version where the name alone is ambiguous.
fn resolve(entry: &str, versions: &BTreeMap<&str, Vec<&str>>) -> Option<Package> {
    let mut words = entry.split(' ');
    let name = words.next()?;
    let version = words.next().or_else(|| versions.get(name)?.first().copied())?;
    Some((name.to_owned(), version.to_owned()))
}

fn listed(list: &[&str], name: &str) -> bool {
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => *entry == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str =
        "[dependencies]\nserde = '1'\nrand-a = '1'\nalias = { package = 'b', version = '2' }";

    fn crates(lock: &str, names: &[&str]) -> Vec<String> {
        let locked = Locked::read(MANIFEST, lock, "stages").unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        locked.crates(&names).into_iter().map(|(name, version)| format!("{name} {version}")).collect()
    }

    fn package(name: &str, version: &str, dependencies: &str) -> String {
        let source = if name == "stages" { "" } else { "source = 'registry'" };
        format!(
            "[[package]]\nname = '{name}'\nversion = '{version}'\n{source}\ndependencies = [{dependencies}]\n"
        )
    }

    fn lock() -> String {
        [
            package("stages", "0.1.0", "'serde', 'rand-a', 'b 2.0.0'"),
            package("serde", "1.0.0", "'itoa'"),
            package("itoa", "1.0.0", ""),
            package("rand-a", "1.0.0", "'b 1.0.0', 'windows-sys'"),
            package("windows-sys", "1.0.0", ""),
            package("b", "1.0.0", ""),
            package("b", "2.0.0", ""),
        ]
        .concat()
    }

    #[test]
    fn a_crate_brings_the_versions_of_what_it_depends_on() {
        assert_eq!(crates(&lock(), &["rand_a"]), ["b 1.0.0", "rand-a 1.0.0"]);
    }

    #[test]
    fn plumbing_brings_nothing() {
        assert!(crates(&lock(), &["serde", "std"]).is_empty());
    }

    #[test]
    fn what_is_listed_and_never_compiled_is_left_out() {
        let more = [
            package("dfdx", "0.13.0", "'cudarc 0.9.15', 'itoa'"),
            package("cudarc", "0.9.15", ""),
            package("stages", "0.1.0", "'dfdx'"),
            package("itoa", "1.0.0", ""),
        ];
        let locked = Locked::read("[dependencies]\ndfdx = '0.13'", &more.concat(), "stages").unwrap();
        let found = locked.crates(&["dfdx".to_owned()].into());
        assert_eq!(found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["dfdx", "itoa"]);
    }

    #[test]
    fn a_renamed_crate_is_found() {
        assert_eq!(crates(&lock(), &["alias"]), ["b 2.0.0"]);
    }
}
