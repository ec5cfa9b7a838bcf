//! The parsed pipeline file. The value of a large one is cached: otherwise parsing YAML takes half the time of a run in
//! which nothing is due.
//!
//! One file per pipeline file beside its memo: the digest of the text, the value as JSON, and the blake3 hash
//! of both. Like the memo it is only a shortcut: if it is missing, damaged or made from another text, the
//! text is parsed.

use crate::complaint::Complaint;
use crate::key::Digest;
use crate::memo;
use crate::spec::{self, Spec};
use crate::yaml::PipelineText;
use contract::disk;
use serde_json::Value;
use std::cell::OnceCell;
use std::path::{Path, PathBuf};

/// Below this size, parsing takes less time than reading the cached value.
const WORTH_BYTES: usize = 16 << 10;
const DIGEST_BYTES: usize = 32;

/// The content of a pipeline file.
#[derive(Debug)]
pub struct Parsed {
    /// The content with its types.
    pub spec: Spec,
    /// The same without types.
    pub untyped: Untyped,
    /// Whether it comes from the cache.
    pub remembered: bool,
}

/// The value of a whole pipeline file. Only variants need it, so it is made from the cached JSON when it is asked
/// for: to make it takes twice as long as to read the typed content.
#[derive(Debug)]
pub struct Untyped {
    value: OnceCell<Value>,
    json: Vec<u8>,
}

impl Untyped {
    /// The value.
    pub fn get(&self) -> &Value {
        let parse =
            || serde_json::from_slice(&self.json).expect("the typed content was read from the same JSON");
        self.value.get_or_init(parse)
    }
}

impl Parsed {
    /// Parses a pipeline file.
    pub fn of(source: &PipelineText) -> Result<Parsed, Complaint> {
        let value = source.parse()?;
        let spec = spec::read(source, &value)?;
        let untyped = Untyped { value: value.into(), json: Vec::new() };
        Ok(Parsed { spec, untyped, remembered: false })
    }

    /// The content of a pipeline file, from the cache in `folder` or parsed.
    pub fn remembered_or_of(folder: &Path, source: &PipelineText) -> Result<Parsed, Complaint> {
        remembered(folder, source).map_or_else(|| Parsed::of(source), Ok)
    }
}

/// Caches the value of a file's text for the next command.
pub fn remember(folder: &Path, source: &PipelineText) -> disk::Result<()> {
    if source.text.len() < WORTH_BYTES {
        return Ok(());
    }
    let Ok(value) = source.parse() else { return Ok(()) };
    let digest = digest_of(&source.text);
    memo::write(&path_of(folder, source), [digest.as_bytes(), value.to_string().as_bytes()].concat())
}

/// `None` also where the types do not fit: the complaint is made from the text.
fn remembered(folder: &Path, source: &PipelineText) -> Option<Parsed> {
    let json = json(folder, source)?;
    let spec = serde_json::from_slice(&json).ok()?;
    Some(Parsed { spec, untyped: Untyped { value: OnceCell::new(), json }, remembered: true })
}

/// The cached JSON, if it was made from exactly this text.
fn json(folder: &Path, source: &PipelineText) -> Option<Vec<u8>> {
    if source.text.len() < WORTH_BYTES {
        return None;
    }
    let mut bytes = disk::read(&path_of(folder, source)).ok()?;
    let end = memo::body(&bytes)?.len();
    if bytes[..end].get(..DIGEST_BYTES)? != digest_of(&source.text).as_bytes() {
        return None;
    }
    bytes.truncate(end);
    bytes.drain(..DIGEST_BYTES);
    Some(bytes)
}

fn path_of(folder: &Path, source: &PipelineText) -> PathBuf {
    let path = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
    folder.join(Digest::of(&[b"parsed ", path.as_os_str().as_encoded_bytes()].concat()).short())
}

/// Includes the program's version, because another version may parse the same text differently.
fn digest_of(text: &str) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes()).update(b"\0").update(text.as_bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(folder: &Path, last: &str) -> PipelineText {
        let stages: String = (0..300)
            .map(|i| {
                format!("  s{i}: {{kind: k, with: {{a: [{i}, -1, 1.5e3, 'text', null]}}, timeout: 1h}}\n")
            })
            .collect();
        PipelineText::new(
            &folder.join("p.yaml"),
            format!("stages:\n{stages}  last: {{kind: {last}, in: {{a: s1, b: {{file: f}}}}, retries: 3}}\n"),
        )
    }

    /// Both forms of what is remembered.
    fn recall(folder: &Path, source: &PipelineText) -> Option<(String, Value)> {
        let Parsed { spec, untyped, remembered: _ } = remembered(folder, source)?;
        Some((format!("{spec:?}"), untyped.get().clone()))
    }

    fn parse(source: &PipelineText) -> Option<(String, Value)> {
        let Parsed { spec, untyped, remembered: _ } = Parsed::of(source).unwrap();
        Some((format!("{spec:?}"), untyped.get().clone()))
    }

    #[test]
    fn a_file_is_remembered_until_its_text_changes() {
        let folder = tempfile::tempdir().unwrap();
        let first = source(folder.path(), "one");
        assert_eq!(recall(folder.path(), &first), None);
        remember(folder.path(), &first).unwrap();
        assert_eq!(recall(folder.path(), &first), parse(&first));
        let second = source(folder.path(), "two");
        assert_eq!(recall(folder.path(), &second), None);
        let parsed = Parsed::remembered_or_of(folder.path(), &second).unwrap();
        assert_eq!(parsed.spec.stages["last"].kind, "two");
        remember(folder.path(), &second).unwrap();
        assert_eq!(recall(folder.path(), &second), parse(&second));
    }

    #[test]
    fn a_remembered_file_is_refused_like_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), "[1]");
        remember(folder.path(), &source).unwrap();
        let refusal = |parsed: Result<Parsed, Complaint>| parsed.unwrap_err().to_string();
        let remembered = refusal(Parsed::remembered_or_of(folder.path(), &source));
        assert_eq!(remembered, refusal(Parsed::of(&source)));
    }

    #[test]
    fn a_damaged_file_is_parsed_anew() {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), "one");
        remember(folder.path(), &source).unwrap();
        let path = path_of(folder.path(), &source);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[500] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(recall(folder.path(), &source), None);
    }
}
