//! The recipe: everything that a step's output may depend on; its hash is the key.
//!
//! `recipe.json` holds a recipe in canonical form: compact JSON with sorted keys. Its blake3 hash is the key.
//! A cache miss is explained by comparing two recipes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// The format version of `Recipe` and of the cache. Any change of either raises it, so that a program refuses
/// a newer artifact by name instead of misreading it.
pub const FORMAT: u32 = 1;

/// The hash of bytes: a file's content, or a folder's paths and contents.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The hash of a recipe, which names the artifact.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(Digest);

impl Digest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The first characters, for display.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }

    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Parses exactly 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = blake3::Hash::from_hex(text).ok().filter(|_| lower)?;
        Some(Digest(*hash.as_bytes()))
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Digest {
        Digest(*hash.as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).ok_or_else(|| serde::de::Error::custom("expected 64 hexadecimal digits"))
    }
}

impl Key {
    /// The bytes of the hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The key with these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Key {
        Key(Digest(bytes))
    }

    /// Parses exactly 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Key> {
        Digest::parse(text).map(Key)
    }

    /// The first characters, for display.
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A device type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hardware {
    /// The CPU.
    Cpu,
    /// A GPU.
    Cuda,
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hardware::Cpu => "cpu",
            Hardware::Cuda => "cuda",
        })
    }
}

/// Everything that a step's output may depend on, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The value of [`FORMAT`] when it was made.
    pub format: u32,
    /// The kind's name.
    pub kind: String,
    /// Source files, crates, scripts and environment variables, each beside its digest or version.
    pub code: BTreeMap<String, String>,
    /// Every param, defaults filled in.
    pub params: Value,
    /// The device type, for kinds that can compute on several.
    pub device: Option<Hardware>,
    /// The content of each slot; how it was produced does not matter.
    pub inputs: BTreeMap<String, Digest>,
    /// Other properties of the machine that affect the result, such as its instruction set, by name. Left out
    /// of the JSON if empty, so that recipes made before this field existed keep their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platform: BTreeMap<String, String>,
}

impl Recipe {
    /// The canonical JSON, which is hashed and stored.
    pub fn canonical(&self) -> String {
        // Destructured so that a new field cannot be left out.
        let Recipe { format, kind, code, params, device, inputs, platform } = self;
        let mut text = String::with_capacity(512);
        text.push_str("{\"code\":");
        write_map(code.iter(), &mut text, |value, text| write_text(value, text));
        text.push_str(",\"device\":");
        match device {
            Some(device) => write_text(&device.to_string(), &mut text),
            None => text.push_str("null"),
        }
        text.push_str(&format!(",\"format\":{format},\"inputs\":"));
        write_map(inputs.iter(), &mut text, |digest, text| write_text(&digest.to_string(), text));
        text.push_str(",\"kind\":");
        write_text(kind, &mut text);
        text.push_str(",\"params\":");
        write_canonical(params, &mut text);
        if !platform.is_empty() {
            text.push_str(",\"platform\":");
            write_map(platform.iter(), &mut text, |value, text| write_text(value, text));
        }
        text.push('}');
        text
    }

    /// Hashes the canonical JSON.
    pub fn key(canonical: &str) -> Key {
        Key(Digest::of(canonical.as_bytes()))
    }
}

/// Compact JSON with sorted keys: equal values give equal texts.
pub fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(name, _)| *name);
            write_map(entries.into_iter(), text, write_canonical);
        }
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::String(string) => write_text(string, text),
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Writes a map whose entries are already sorted.
fn write_map<'m, T: 'm>(
    entries: impl Iterator<Item = (&'m String, &'m T)>,
    text: &mut String,
    write: impl Fn(&T, &mut String),
) {
    text.push('{');
    for (i, (name, value)) in entries.enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_text(name, text);
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

fn write_text(string: &str, text: &mut String) {
    text.push('"');
    let mut rest = string;
    let special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\');
    while let Some(at) = rest.bytes().position(special) {
        text.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            8 => text.push_str("\\b"),
            12 => text.push_str("\\f"),
            other => text.push_str(&format!("\\u{other:04x}")),
        }
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recipe() -> Recipe {
        Recipe {
            format: FORMAT,
            kind: "train".into(),
            code: BTreeMap::from([("train.rs".into(), Digest::of(b"code").to_string())]),
            params: json!({"rate": 0.1, "layers": {"width": 200, "depth": 6}}),
            device: Some(Hardware::Cpu),
            inputs: BTreeMap::from([("cells".into(), Digest::of(b"cells"))]),
            platform: BTreeMap::new(),
        }
    }

    fn key(recipe: &Recipe) -> Key {
        Recipe::key(&recipe.canonical())
    }

    #[test]
    fn every_field_enters_the_key_and_is_named_as_a_change() {
        let other = |edit: fn(&mut Recipe)| {
            let mut other = recipe();
            edit(&mut other);
            let changes = other.changes_since(&recipe());
            assert_eq!(changes.len(), 1, "{changes:?}");
            assert_ne!(key(&other), key(&recipe()));
            changes[0].to_string()
        };
        assert_eq!(other(|r| r.format = 2), "format: 1 → 2");
        assert_eq!(other(|r| r.kind = "embed".into()), "kind: train → embed");
        assert_eq!(other(|r| r.params["layers"]["depth"] = json!(2)), "param layers.depth: 6 → 2");
        assert_eq!(other(|r| r.device = Some(Hardware::Cuda)), "device: cpu → cuda");
        let change = other(|r| *r.inputs.get_mut("cells").unwrap() = Digest::of(b"others"));
        assert!(change.starts_with("input cells: "), "{change}");
        let change = other(|r| r.code.insert("kit.rs".into(), "1.2.3".into()).map_or((), drop));
        assert_eq!(change, "code kit.rs: new (1.2.3)");
        let change = other(|r| r.platform.insert("instructions".into(), "avx2".into()).map_or((), drop));
        assert_eq!(change, "platform instructions: new (avx2)");
        // Code that comes with a device change is not reported separately.
        let change = other(|r| {
            r.device = Some(Hardware::Cuda);
            r.code.insert("kit.cu".into(), "1".into());
        });
        assert_eq!(change, "device: cpu → cuda");
    }

    #[test]
    fn a_recipe_without_a_platform_keeps_the_key_that_caches_know() {
        assert_eq!(
            key(&recipe()).to_string(),
            "9dba3e98565fa00b6ea56effda9a87f05ce0d7a087e5f3e6d7ccb208f307c23f"
        );
        let with = Recipe { platform: BTreeMap::from([("card".into(), "H100".into())]), ..recipe() };
        assert!(with.canonical().ends_with(r#","platform":{"card":"H100"}}"#));
        for recipe in [recipe(), with.clone()] {
            let mut text = String::new();
            write_canonical(&json!(recipe), &mut text);
            assert_eq!(recipe.canonical(), text);
        }
        assert_eq!(serde_json::from_str::<Recipe>(&with.canonical()).unwrap(), with);
    }

    #[test]
    fn text_is_escaped_as_json() {
        let controls = (0..32).map(char::from).map(|control| format!("{control}{control}x"));
        let others = ["plain", "a\"b", "a\\b", "line\n", "µ → \u{7f}", "\"µ\"", ""].map(str::to_owned);
        for string in controls.chain(others) {
            let mut text = String::new();
            write_text(&string, &mut text);
            assert_eq!(text, serde_json::to_string(&string).unwrap());
        }
    }

    #[test]
    fn the_order_of_params_does_not_enter_the_key() {
        let mut other = recipe();
        other.params = json!({"layers": {"depth": 6, "width": 200}, "rate": 0.1});
        assert_eq!(key(&other), key(&recipe()));
    }

    #[test]
    fn canonical_bytes_read_back_to_the_same_recipe() {
        let canonical = recipe().canonical();
        let read: Recipe = serde_json::from_str(&canonical).unwrap();
        assert_eq!(read.canonical(), canonical);
        // Existing caches depend on the stored form.
        assert!(canonical.starts_with(r#"{"code":{"train.rs":""#), "{canonical}");
        assert!(
            canonical.ends_with(r#""kind":"train","params":{"layers":{"depth":6,"width":200},"rate":0.1}}"#)
        );
    }

    #[test]
    fn digests_read_lower_case_only() {
        let text = Digest::of(b"x").to_string();
        assert_eq!(Digest::parse(&text), Some(Digest::of(b"x")));
        assert_eq!(Digest::parse(&text.to_uppercase()), None);
        assert_eq!(Digest::parse(&text[1..]), None);
    }
}
