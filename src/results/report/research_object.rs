//! A run as a Process Run Crate: RO-Crate 1.1 metadata beside the pipeline file, the recipes and the page.
//!
//! Artifacts stay in the cache, since they may be large: the crate names each by key and digest, and contains their
//! metrics. <https://www.researchobject.org/workflow-run-crate/profiles/process_run_crate/>

use super::Report;
use crate::output;
use contract::disk;
use engine::clock;
use engine::error::Result;
use engine::graph::Source;
use engine::key::Hardware;
use engine::store::Manifest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const PROFILE: &str = "https://w3id.org/ro/wfrun/process/0.5";
const PROGRAM: &str = "#pipeline";
const LICENSE: &str = "#license";

/// Writes a crate into a folder; returns how many steps it describes.
pub fn write(report: &Report<'_>, page: &str, folder: &Path) -> Result<usize> {
    let mut entities: Vec<Value> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    let mut add = |id: &str, name: &str, format: &str, bytes: &[u8]| -> Result<Value> {
        output::replace(&folder.join(id), bytes)?;
        parts.push(id.to_owned());
        Ok(
            json!({"@id": id, "@type": "File", "name": name, "encodingFormat": format, "contentSize": bytes.len().to_string(),
            "identifier": format!("blake3:{}", engine::key::Digest::of(bytes))}),
        )
    };
    entities.push(add("report.html", "Report", "text/html", page.as_bytes())?);
    entities.push(add("pipeline.yaml", "The pipeline file", "text/yaml", &disk::read(&report.graph.file)?)?);
    let mut inputs: BTreeMap<String, Value> = BTreeMap::new();
    let mut actions = Vec::new();
    for node in report.survey.plan.steps() {
        let step = &report.graph.steps[node];
        let (Some(manifest), Some(made_from)) = (report.manifests.get(&node), report.survey.recipe(node))
        else {
            continue;
        };
        let key = manifest.key.to_string();
        let recipe = format!("recipes/{key}.json");
        let canonical =
            report.survey.store.recipe(manifest.key)?.map_or_else(String::new, |recipe| recipe.canonical());
        entities.push(add(
            &recipe,
            &format!("Recipe of {}", step.name),
            "application/json",
            canonical.as_bytes(),
        )?);
        let mut results = vec![artifact_id(manifest)];
        if let Some(path) = report.survey.plan.state(node).artifact().and_then(crate::metrics::find) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let id = format!("metrics/{key}/{name}");
            let format = match path.extension().and_then(|extension| extension.to_str()) {
                Some("parquet") => "application/vnd.apache.parquet",
                Some("csv") => "text/csv",
                _ => "application/json",
            };
            entities.push(add(&id, &format!("Metrics of {}", step.name), format, &disk::read(&path)?)?);
            results.push(id);
        }
        entities.push(artifact(manifest));
        let mut objects = vec![json!({"@id": recipe})];
        for input in &step.inputs {
            let digest = made_from.inputs.get(&input.slot);
            let id = match &input.source {
                Source::Step(producer) => report.manifests.get(producer).map(artifact_id),
                Source::File { shown, .. } => digest.map(|digest| {
                    let id = format!("#input-{digest}");
                    let about = json!({"@id": id, "@type": "CreativeWork", "name": shown, "identifier": format!("blake3:{digest}")});
                    inputs.insert(id.clone(), about);
                    id
                }),
                Source::Unset { .. } => None,
            };
            objects.extend(id.map(|id| json!({"@id": id})));
        }
        actions.push(json!({
            "@id": format!("#step-{key}"), "@type": "CreateAction", "name": step.name,
            "description": format!("The kind {} on {}", step.kind.name, step.device.unwrap_or(Hardware::Cpu)),
            "instrument": {"@id": PROGRAM},
            "startTime": date(manifest.at.saturating_sub(manifest.seconds as u64)),
            "endTime": date(manifest.at),
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "object": one_or_more(objects),
            "result": one_or_more(results.iter().map(|id| json!({"@id": id})).collect()),
        }));
    }
    let count = actions.len();
    let references =
        |ids: &mut dyn Iterator<Item = String>| -> Vec<Value> { ids.map(|id| json!({"@id": id})).collect() };
    let name = &report.graph.name;
    let published = report.manifests.values().map(|manifest| manifest.at).max().unwrap_or_default();
    let mut graph = vec![
        json!({"@id": "ro-crate-metadata.json", "@type": "CreativeWork", "about": {"@id": "./"},
            "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"}}),
        json!({"@id": "./", "@type": "Dataset", "name": name, "datePublished": date(published),
            "description": super::summary::sentences(report).join(" "), "conformsTo": {"@id": PROFILE},
            "license": {"@id": LICENSE},
            "hasPart": references(&mut parts.into_iter()),
            "mentions": actions.iter().map(|action| json!({"@id": action["@id"]})).collect::<Vec<_>>()}),
        json!({"@id": LICENSE, "@type": "CreativeWork", "name": "No license is given",
            "description": "Ask whoever gave you this crate what you may do with it."}),
        json!({"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}),
        json!({"@id": PROGRAM, "@type": "SoftwareApplication", "name": "pipeline", "softwareVersion": env!("CARGO_PKG_VERSION")}),
    ];
    let axes = report.survey.plan.steps().flat_map(|node| report.graph.steps[node].axes.iter());
    let axes: std::collections::BTreeSet<&(String, String)> = axes.collect();
    graph.extend(axes.into_iter().map(|(axis, value)| {
        json!({"@id": format!("#axis-{axis}-{value}"), "@type": "PropertyValue", "name": axis, "value": value})
    }));
    graph.extend(entities.into_iter().chain(inputs.into_values()).chain(actions));
    let metadata = json!({"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": distinct(graph)});
    let text = serde_json::to_string_pretty(&metadata).expect("metadata is plain data with text keys");
    output::replace(&folder.join("ro-crate-metadata.json"), text.as_bytes())?;
    Ok(count)
}

/// RO-Crate wants a single value without brackets.
fn one_or_more(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::Array(values) }
}

/// Removes duplicates: steps with equal results under different names share entities.
fn distinct(graph: Vec<Value>) -> Vec<Value> {
    let mut seen = std::collections::HashSet::new();
    graph.into_iter().filter(|entity| seen.insert(entity["@id"].clone())).collect()
}

fn artifact_id(manifest: &Manifest) -> String {
    format!("#artifact-{}", manifest.key)
}

fn artifact(manifest: &Manifest) -> Value {
    let files: Vec<String> = manifest
        .files
        .iter()
        .map(|file| format!("{} blake3:{} ({} bytes)", file.path, file.digest, file.size))
        .collect();
    json!({
        "@id": artifact_id(manifest), "@type": "CreativeWork", "name": format!("Artifact of {}", manifest.step),
        "identifier": format!("blake3:{}", manifest.output), "description": files.join("; "),
        "size": manifest.bytes().to_string(), "version": manifest.version,
    })
}

/// `2026-11-21T15:45:02+00:00`.
fn date(unix_seconds: u64) -> String {
    clock::date(unix_seconds).replacen(' ', "T", 1).replace(" UTC", "+00:00")
}
