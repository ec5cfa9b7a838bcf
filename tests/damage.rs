//! Bit rot is found before use and repaired by the next run; it never causes an error or a wrong result.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use support::{Project, files_below};

const CHAIN: &str = "
stages:
  a: {kind: grow, with: {line: a, files: 3}}
  b: {kind: grow, from: a, with: {line: b}}
";

/// Changes a file in place, as bit rot would: mode, size and time stay the same.
fn rot(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let metadata = std::fs::metadata(path).unwrap();
    let modified = metadata.modified().unwrap();
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(path, bytes).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
    std::fs::set_permissions(path, metadata.permissions()).unwrap();
}

#[test]
fn every_file_of_an_artifact_is_guarded() {
    let project = Project::of_toys(CHAIN);
    project.run_well(&[]);
    let expected = project.output("b", "text");
    let files = project.files("cache/v1/entries");
    assert_eq!(files.len(), 3 + 2 + 1 + 2, "{files:?}");
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("bit", |bytes| bytes[0] ^= 1),
        ("cut", |bytes| bytes.truncate(bytes.len() / 2)),
        ("empty", Vec::clear),
        ("grow", |bytes| bytes.push(b' ')),
    ];
    for file in files {
        for (name, damage) in damages {
            rot(&file, damage);
            let found = project.cli(&["verify", "p.yaml"]);
            assert!(
                found.exits(3).stdout.contains("1 damaged"),
                "{name} of {}: {}",
                file.display(),
                found.stdout
            );
            let healed = project.run_well(&[]);
            assert_eq!(healed.counts()[0], 1, "{name} of {}", file.display());
            healed.says("its artifact is damaged");
            project.cli(&["verify", "p.yaml"]).exits(0);
        }
        std::fs::remove_file(&file).unwrap();
        project.cli(&["verify", "p.yaml"]).exits(3);
        project.run_well(&[]);
    }
    assert_eq!(project.output("b", "text"), expected);
}

#[test]
fn files_exchanged_between_artifacts_are_found() {
    let project =
        Project::of_toys("stages: {a: {kind: grow, with: {line: a}}, b: {kind: grow, with: {line: b}}}");
    project.run_well(&[]);
    for name in ["out/text", "manifest.json", "recipe.json"] {
        let (a, b) = (project.artifact("a"), project.artifact("b"));
        let [a, b] = [a, b].map(|out| out.parent().unwrap().join(name));
        let aside = project.path("aside");
        std::fs::rename(&a, &aside).unwrap();
        std::fs::rename(&b, &a).unwrap();
        std::fs::rename(&aside, &b).unwrap();
        let found = project.cli(&["verify", "p.yaml"]);
        assert!(found.exits(3).stdout.contains("2 damaged"), "{name}: {}", found.stdout);
        assert_eq!(project.run_well(&[]).counts()[0], 2);
    }
}

#[test]
fn something_added_to_an_artifact_is_found() {
    let project = Project::of_toys(CHAIN);
    project.run_well(&[]);
    std::fs::write(project.artifact("a").join("extra"), "x").unwrap();
    let found = project.cli(&["verify", "p.yaml"]);
    assert!(found.exits(3).stdout.contains("out/extra does not belong to it"), "{}", found.stdout);
    assert_eq!(project.run_well(&[]).computed(), ["a"]);
}

#[test]
fn repair_quarantines_and_deletes_nothing() {
    let project = Project::of_toys(CHAIN);
    project.run_well(&[]);
    rot(&project.artifact("a").join("text"), |bytes| bytes[0] ^= 1);
    let repaired = project.cli(&["verify", "p.yaml", "--repair"]);
    assert!(repaired.exits(0).stdout.contains("now in quarantine"));
    project.cli(&["verify", "p.yaml"]).exits(0);
    assert_eq!(project.files("cache/v1/quarantine").len(), 5);
    assert_eq!(project.run_well(&[]).computed(), ["a"]);
}

#[test]
fn a_sound_cache_raises_no_alarm() {
    let project = Project::of_toys(CHAIN);
    for round in 0..20 {
        project.run_well(&["--force", "a", "--force", "b"]);
        assert_eq!(project.json(&["verify", "p.yaml"])["damaged"], serde_json::json!([]), "round {round}");
    }
}

#[test]
fn a_deleted_cache_folder_is_a_miss() {
    let project = Project::of_toys(CHAIN);
    project.run_well(&[]);
    for folder in ["entries", "locks", "memo", "tmp", "checkpoints", "quarantine"] {
        std::fs::remove_dir_all(project.path("cache/v1").join(folder)).unwrap();
        let recomputed = if folder == "entries" { 2 } else { 0 };
        assert_eq!(project.run_well(&[]).counts()[0], recomputed, "{folder}");
    }
}

#[test]
fn a_damaged_memo_is_no_danger() {
    let project =
        Project::of_toys("stages: {a: {kind: grow, in: {text: {file: input.txt}}, with: {line: a}}}");
    project.write("input.txt", "x\n");
    project.run_well(&[]);
    std::thread::sleep(std::time::Duration::from_millis(3100));
    project.run_well(&[]); // By now the memo holds all of it.
    let memo = project.files("cache/v1/memo").into_iter().find(|path| !path.ends_with("clock")).unwrap();
    let length = std::fs::metadata(&memo).unwrap().len() as usize;
    for at in (0..length).step_by(17) {
        rot(&memo, |bytes| bytes[at] ^= 16);
        assert_eq!(project.run_well(&[]).counts(), [0, 1, 0, 0], "byte {at}");
        if !memo.exists() {
            break;
        }
    }
    project.write("input.txt", "y\n");
    assert_eq!(project.run_well(&[]).counts(), [1, 0, 0, 0]);
}

/// Writes a manifest with a valid checksum, whatever its content.
fn forge(manifest: &Path, edit: impl Fn(&mut serde_json::Value)) {
    rot(manifest, |bytes| {
        let mut value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        value.as_object_mut().unwrap().remove("checksum");
        edit(&mut value);
        let text = value.to_string();
        let body = text.strip_suffix('}').unwrap();
        *bytes =
            format!("{body},\"checksum\":\"{}\"}}\n", blake3::hash(body.as_bytes()).to_hex()).into_bytes();
    });
}

#[test]
fn an_entry_made_by_an_enemy_reaches_nothing_outside() {
    let project = Project::of_toys(CHAIN);
    project.run_well(&[]);
    project.write("outside", "secret\n");
    let outside = project.path("outside").to_string_lossy().into_owned();
    let climb = "../".repeat(6) + "outside";
    for path in
        ["../x", "/etc/passwd", "", "a/../../x", "nul\0", "text/", ".", &climb, &outside, &"n".repeat(5000)]
    {
        for copies in [1, 2] {
            let manifest = project.artifact("a").parent().unwrap().join("manifest.json");
            forge(&manifest, |value| {
                let mut file = value["files"][0].clone();
                file["path"] = serde_json::json!(path);
                value["files"] = serde_json::json!(vec![file; copies]);
            });
            project.cli(&["verify", "p.yaml"]).exits(3);
            assert_eq!(project.run_well(&[]).computed(), ["a"], "{path:?}");
        }
    }
    for name in ["manifest.json", "recipe.json", "out", "out/text", "stray"] {
        let part = project.artifact("a").parent().unwrap().join(name);
        let aside = project.path("aside");
        if part.exists() {
            std::fs::rename(&part, &aside).unwrap();
        }
        std::os::unix::fs::symlink(&aside, &part).unwrap();
        project.cli(&["verify", "p.yaml"]).exits(3);
        assert_eq!(project.run_well(&[]).computed(), ["a"], "a link as {name}");
        std::fs::remove_dir_all(&aside).or_else(|_| std::fs::remove_file(&aside)).ok();
    }
    assert_eq!(project.read("outside"), "secret\n");
}

#[test]
fn a_cache_of_an_earlier_release_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cache-0.1.0");
    let project = Project::of_toys(&std::fs::read_to_string(fixture.join("p.yaml")).unwrap());
    for name in ["input.txt", "script.sh"] {
        std::fs::copy(fixture.join(name), project.path(name)).unwrap();
    }
    for file in files_below(&fixture.join("stored")) {
        let there = project.path("cache").join(file.strip_prefix(fixture.join("stored")).unwrap());
        std::fs::create_dir_all(there.parent().unwrap()).unwrap();
        std::fs::copy(file, there).unwrap();
    }
    assert_eq!(project.run_well(&[]).counts(), [0, 2, 0, 0]);
    assert_eq!(project.output("second", "size").trim(), "12");
}

#[test]
fn a_record_of_a_newer_program_is_refused_by_name() {
    let project = Project::of_toys(CHAIN);
    project.run_well(&[]);
    let manifest = project.artifact("a").parent().unwrap().join("manifest.json");
    forge(&manifest, |value| value["format"] = serde_json::json!(2));
    project.run(&[]).exits(3).says("the cache has format 2, this program reads format 1");
}
