//! Caches the parsed value of a large pipeline file: otherwise parsing YAML takes half the time of a run in
//! which nothing is due.
//!
//! One file per pipeline file beside its memo: the digest of the text, the value as JSON, and the blake3 hash
//! of both. Like the memo it is only a shortcut: if it is missing, damaged or made from another text, the
//! text is parsed.

use crate::complaint::Complaint;
use crate::key::Digest;
use crate::memo;
use crate::yaml::PipelineText;
use contract::disk;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Below this size, parsing takes less time than reading the cached value.
const WORTH_BYTES: usize = 16 << 10;
const DIGEST_BYTES: usize = 32;

/// The value of a pipeline file, from the cache in `folder` or parsed.
pub fn value(folder: &Path, source: &PipelineText) -> Result<Value, Complaint> {
    remembered(folder, source).map_or_else(|| source.parse(), Ok)
}

/// Caches the value of a file's text for the next command, unless it is cached already.
pub fn remember(folder: &Path, source: &PipelineText) -> disk::Result<()> {
    if source.text.len() < WORTH_BYTES || json(folder, source).is_some() {
        return Ok(());
    }
    let Ok(value) = source.parse() else { return Ok(()) };
    let digest = digest_of(&source.text);
    memo::write(&path_of(folder, source), [digest.as_bytes(), value.to_string().as_bytes()].concat())
}

fn remembered(folder: &Path, source: &PipelineText) -> Option<Value> {
    serde_json::from_slice(&json(folder, source)?).ok()
}

/// The cached JSON, if it was made from exactly this text.
fn json(folder: &Path, source: &PipelineText) -> Option<Vec<u8>> {
    if source.text.len() < WORTH_BYTES {
        return None;
    }
    let bytes = disk::read(&path_of(folder, source)).ok()?;
    let (digest, json) = memo::body(&bytes)?.split_at_checked(DIGEST_BYTES)?;
    (digest == digest_of(&source.text).as_bytes()).then(|| json.to_vec())
}

fn path_of(folder: &Path, source: &PipelineText) -> PathBuf {
    let path = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
    folder.join(Digest::of(&[b"parsed ", path.as_os_str().as_encoded_bytes()].concat()).short())
}

/// Includes the program's version, because another version may parse the same text differently.
fn digest_of(text: &str) -> Digest {
    Digest::of([env!("CARGO_PKG_VERSION"), text].join("\0").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(folder: &Path, last: &str) -> PipelineText {
        let steps: String = (0..1000).map(|i| format!("k{i}: [{i}, -1, 1.5e3, 'text', null]\n")).collect();
        PipelineText::new(&folder.join("p.yaml"), format!("{steps}last: {last}\n"))
    }

    #[test]
    fn a_value_is_remembered_until_the_text_changes() {
        let folder = tempfile::tempdir().unwrap();
        let first = source(folder.path(), "1");
        assert_eq!(remembered(folder.path(), &first), None);
        remember(folder.path(), &first).unwrap();
        assert_eq!(remembered(folder.path(), &first), Some(first.parse().unwrap()));
        let second = source(folder.path(), "2");
        assert_eq!(remembered(folder.path(), &second), None);
        assert_eq!(value(folder.path(), &second).unwrap()["last"], 2);
        remember(folder.path(), &second).unwrap();
        assert_eq!(remembered(folder.path(), &second), Some(second.parse().unwrap()));
    }

    #[test]
    fn a_damaged_value_is_parsed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), "1");
        remember(folder.path(), &source).unwrap();
        let path = path_of(folder.path(), &source);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[500] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(remembered(folder.path(), &source), None);
        assert_eq!(value(folder.path(), &source).unwrap(), source.parse().unwrap());
    }
}
