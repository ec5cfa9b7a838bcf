//! The crates of a build, as reported by `cargo metadata`.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that cargo resolved for the platform of this build, without optional ones that are not enabled.
pub struct Crates {
    packages: BTreeMap<String, Package>,
    /// The runtime dependencies of each crate: name as written in `use`, to package id.
    uses: BTreeMap<String, BTreeMap<String, String>>,
    /// Packages marked as computing nothing, and their dependencies.
    plumbing: BTreeSet<String>,
    own: String,
    workspace: PathBuf,
}

/// The root module of a library or program.
#[derive(Debug, Clone)]
pub struct Root {
    /// The crate's name, as in `module_path!()`.
    pub name: String,
    /// The package's name, which prefixes file names in a recipe.
    pub package: String,
    /// The package's id.
    pub id: String,
    /// The folder that paths of modules are relative to.
    pub folder: PathBuf,
    /// The file of the root module, in that folder.
    pub file: String,
}

/// What the first segment of a path refers to.
pub enum Landing {
    /// A crate whose source is followed.
    Source(Root),
    /// A crate that enters the recipe by version.
    Version(String),
    /// A crate that does not affect results.
    Nothing,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    metadata: Option<serde_json::Value>,
    #[serde(default)]
    dependencies: Vec<Declared>,
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
}

/// A dependency as a manifest declares it.
#[derive(Deserialize)]
struct Declared {
    name: String,
    rename: Option<String>,
    optional: bool,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    name: String,
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` for a runtime dependency; otherwise `dev` or `build`.
    kind: Option<String>,
}

impl Crates {
    /// The crates of the package whose build script is running.
    pub fn of_build() -> Result<Crates, String> {
        let manifest = PathBuf::from(super::variable("CARGO_MANIFEST_DIR")?).join("Cargo.toml");
        // Not `--frozen`: a build downloads only what it compiles, and `cargo metadata` reads every package of the workspace.
        let mut cargo = Command::new(super::variable("CARGO")?);
        cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform"]);
        cargo.arg(super::variable("TARGET")?).arg("--manifest-path").arg(&manifest);
        let output = cargo.output().map_err(|error| format!("cargo metadata does not run: {error}"))?;
        if !output.status.success() {
            return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
        }
        Crates::read(&output.stdout, &manifest)
    }

    /// Parses the output of `cargo metadata`, for the package with this manifest.
    pub fn read(metadata: &[u8], manifest: &Path) -> Result<Crates, String> {
        let metadata: Metadata =
            serde_json::from_slice(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
        let packages: BTreeMap<_, _> =
            metadata.packages.into_iter().map(|package| (package.id.clone(), package)).collect();
        let own = packages.values().find(|package| package.manifest_path == manifest);
        let own =
            own.ok_or_else(|| format!("cargo metadata does not list {}", manifest.display()))?.id.clone();
        let at_run_time =
            |dependency: &Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let uses = metadata.resolve.nodes.into_iter().map(|node| {
            let asked =
                |dependency: &Dependency| packages[&node.id].asks_for(&dependency.name, &node.features);
            let deps = node.deps.into_iter().filter(at_run_time).filter(asked);
            (node.id.clone(), deps.map(|dependency| (dependency.name, dependency.pkg)).collect())
        });
        let uses = uses.collect();
        let mut crates =
            Crates { uses, plumbing: BTreeSet::new(), packages, own, workspace: metadata.workspace_root };
        let idle: BTreeSet<String> = crates
            .packages
            .values()
            .filter(|package| !package.computes())
            .map(|package| package.id.clone())
            .collect();
        crates.plumbing = crates.below(&idle);
        Ok(crates)
    }

    /// The lock file, and the manifests of all local packages.
    pub fn manifests(&self) -> BTreeSet<PathBuf> {
        let here = self.packages.values().filter(|package| package.source.is_none());
        let manifests = here.map(|package| package.manifest_path.clone());
        manifests.chain([self.workspace.join("Cargo.lock")]).collect()
    }

    /// The library and the programs of the package being built.
    pub fn own_roots(&self) -> Vec<Root> {
        let package = &self.packages[&self.own];
        let roots = package.targets.iter().filter(|target| target.is_library() || target.is("bin"));
        roots.map(|target| package.root(target)).collect()
    }

    /// Where a path leads that begins with this name; `None` if the package `from` has no such dependency.
    pub fn landing(&self, from: &str, name: &str) -> Option<Landing> {
        let id = self.uses.get(from)?.get(name)?;
        let package = &self.packages[id];
        if self.plumbing.contains(id) {
            return Some(Landing::Nothing);
        }
        let library = package.targets.iter().find(|target| target.is_library());
        Some(match library.filter(|_| package.source.is_none()) {
            Some(library) => Landing::Source(package.root(library)),
            None => Landing::Version(id.clone()),
        })
    }

    /// Name and version of some packages and all their dependencies, without those that do not affect
    /// results.
    pub fn closure(&self, packages: &BTreeSet<String>) -> BTreeSet<(String, String)> {
        let ids = self.below(packages).into_iter().filter(|id| !self.plumbing.contains(id));
        ids.map(|id| (self.packages[&id].name.clone(), self.packages[&id].version.clone())).collect()
    }

    /// Some packages and all their dependencies. Those of a procedural macro are left out: they run at
    /// compile time.
    fn below(&self, packages: &BTreeSet<String>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<&String> = packages.iter().collect();
        while let Some(id) = waiting.pop() {
            if found.insert(id.clone())
                && !self.packages[id].targets.iter().any(|target| target.is("proc-macro"))
            {
                waiting.extend(self.uses.get(id).into_iter().flat_map(BTreeMap::values));
            }
        }
        found
    }
}

impl Package {
    fn computes(&self) -> bool {
        let said =
            self.metadata.as_ref().and_then(|metadata| metadata.get("kinds")?.get("computes")?.as_bool());
        said.unwrap_or(true)
    }

    /// Whether a dependency is compiled with these features. Cargo also lists an optional one for
    /// `name?/feature`, which does not enable it.
    fn asks_for(&self, name: &str, features: &[String]) -> bool {
        let written = |declared: &Declared| declared.rename.as_ref().unwrap_or(&declared.name).clone();
        let declared =
            self.dependencies.iter().filter(|declared| written(declared).replace('-', "_") == name);
        let optional: Vec<String> =
            declared.clone().filter(|declared| declared.optional).map(written).collect();
        let required = declared.count() > optional.len() || optional.is_empty();
        let enabled = features.iter().filter_map(|feature| self.features.get(feature)).flatten();
        let asks = |item: &String, own: &String| {
            item.strip_prefix("dep:") == Some(own)
                || item.strip_prefix(own.as_str()).is_some_and(|rest| rest.starts_with('/'))
        };
        required || enabled.into_iter().any(|item| optional.iter().any(|own| asks(item, own)))
    }

    fn root(&self, target: &Target) -> Root {
        Root {
            name: target.name.replace('-', "_"),
            package: self.name.clone(),
            id: self.id.clone(),
            folder: target.src_path.parent().unwrap_or(Path::new("")).to_owned(),
            file: target.src_path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        }
    }
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|own| own == kind)
    }

    fn is_library(&self) -> bool {
        self.is("lib") || self.is("rlib")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn package(id: &str, source: Option<&str>, metadata: Value) -> Value {
        json!({"id": id, "name": id, "version": "1.0.0", "source": source, "manifest_path": format!("/w/{id}/Cargo.toml"),
            "targets": [{"kind": ["lib"], "name": id, "src_path": format!("/w/{id}/lib.rs")}], "metadata": metadata})
    }

    fn node(id: &str, deps: &[(&str, Option<&str>)]) -> Value {
        let deps: Vec<Value> = deps
            .iter()
            .map(|(name, kind)| json!({"name": name.replace('-', "_"), "pkg": name, "dep_kinds": [{"kind": kind}]}))
            .collect();
        json!({"id": id, "deps": deps})
    }

    fn crates() -> Crates {
        let registry = Some("registry");
        let metadata = json!({
            "packages": [
                package("own", None, Value::Null),
                package("near", None, Value::Null),
                package("contract", None, json!({"kinds": {"computes": false}})),
                package("serde", registry, Value::Null),
                package("far-off", registry, Value::Null),
                package("below", registry, Value::Null),
                package("tests-only", registry, Value::Null),
            ],
            "resolve": {"nodes": [
                node("own", &[("near", None), ("contract", None), ("serde", None), ("far-off", None), ("tests-only", Some("dev"))]),
                node("far-off", &[("below", None), ("serde", None)]),
                node("contract", &[("serde", None)]),
            ]},
            "workspace_root": "/w",
        });
        Crates::read(metadata.to_string().as_bytes(), Path::new("/w/own/Cargo.toml")).unwrap()
    }

    #[test]
    fn a_crate_of_a_registry_brings_the_versions_of_what_it_uses() {
        let Some(Landing::Version(id)) = crates().landing("own", "far_off") else { panic!() };
        let found = crates().closure(&[id].into());
        assert_eq!(found.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["below", "far-off"]);
    }

    #[test]
    fn source_that_is_at_hand_is_followed() {
        let Some(Landing::Source(root)) = crates().landing("own", "near") else { panic!() };
        assert_eq!((root.folder, root.file.as_str()), (PathBuf::from("/w/near"), "lib.rs"));
    }

    #[test]
    fn what_the_contract_uses_decides_nothing() {
        assert!(matches!(crates().landing("own", "contract"), Some(Landing::Nothing)));
        assert!(matches!(crates().landing("own", "serde"), Some(Landing::Nothing)));
    }

    #[test]
    fn an_optional_crate_that_no_feature_asks_for_is_left_out() {
        let mut package: Package = serde_json::from_value(package("own", None, Value::Null)).unwrap();
        package.dependencies = serde_json::from_value(json!([
            {"name": "far-off", "rename": null, "optional": true},
            {"name": "near", "rename": null, "optional": false},
        ]))
        .unwrap();
        package.features = [("std", "far-off?/std"), ("all", "dep:far-off"), ("more", "far-off/more")]
            .map(|(feature, item)| (feature.to_owned(), vec![item.to_owned()]))
            .into();
        let asks = |name: &str, feature: &str| package.asks_for(name, &[feature.to_owned()]);
        assert!(asks("near", "std") && asks("far_off", "all") && asks("far_off", "more"));
        assert!(!asks("far_off", "std"));
    }

    #[test]
    fn what_only_tests_use_is_no_crate_of_the_program() {
        assert!(crates().landing("own", "tests_only").is_none());
    }
}
