//! The record of an artifact: its key, and every file with size and digest.
//!
//! `manifest.json` is one line of compact JSON whose last field is the blake3 hash of all bytes before it. It
//! contains its own key, so that manifests swapped by mistake are detected.

use crate::key::{Digest, FORMAT, Key};
use crate::reason::Change;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path};

const CHECKSUM: &str = ",\"checksum\":\"";
const END: &str = "\"}\n";
const HEX: usize = 64;

/// The manifest of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The value of [`FORMAT`] when it was made.
    pub format: u32,
    /// The artifact's key.
    pub key: Key,
    /// The digest of all files, which enters the keys of consumers.
    pub output: Digest,
    /// Every file, sorted by path.
    pub files: Vec<FileRecord>,
    /// The step that it was made for.
    pub step: String,
    /// The run that made it.
    pub run: String,
    /// When it was made, in seconds since 1970. For display only.
    pub at: u64,
    /// How long it took.
    pub seconds: f64,
    /// The version of the program that made it.
    pub version: String,
    /// What its stage warned of. Not part of `output`, so that consumers do not rerun for another wording.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Set if it was not computed from this recipe but adopted from an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adoption>,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Relative to the artifact's `out` folder.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// The digest of its content.
    pub digest: Digest,
}

/// How an artifact came to serve a recipe that it was not made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adoption {
    /// The artifact that it was taken from.
    pub from: Key,
    /// What differed: only `code` and `device` may.
    pub changes: Vec<Change>,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl Manifest {
    /// The bytes of `manifest.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string(self).expect("a manifest is plain data with text keys");
        text.pop(); // The closing brace comes after the checksum.
        let checksum = Digest::of(text.as_bytes());
        format!("{text}{CHECKSUM}{checksum}{END}").into_bytes()
    }

    /// Parses a manifest. The error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let damaged = || "manifest.json does not match its checksum".to_owned();
        let tail = CHECKSUM.len() + HEX + END.len();
        let (body, tail) =
            bytes.len().checked_sub(tail).and_then(|at| bytes.split_at_checked(at)).ok_or_else(damaged)?;
        if tail != format!("{CHECKSUM}{}{END}", Digest::of(body)).as_bytes() {
            return Err(damaged());
        }
        let text = [body, b"}"].concat();
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| format!("manifest.json cannot be read: {error}"))?;
        // The checksum detects rot, not malice, and a cache may come from somebody else.
        let plain =
            |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        let bad = |path: &str| path.is_empty() || path.contains('\0') || path.ends_with('/') || !plain(path);
        let sorted = manifest.files.is_sorted_by(|a, b| a.path < b.path);
        match manifest.files.iter().find(|file| bad(&file.path)) {
            Some(file) => {
                Err(format!("manifest.json names `{}`, which is no plain path", file.path.escape_debug()))
            }
            None if !sorted => Err("manifest.json names a file twice or out of order".to_owned()),
            None => Ok(manifest),
        }
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Whether a newer program wrote it.
    pub fn is_newer(&self) -> bool {
        self.format > FORMAT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let digest = Digest::of(b"x");
        Manifest {
            format: FORMAT,
            key: Key::parse(&digest.to_string()).unwrap(),
            output: digest,
            files: vec![FileRecord { path: "a".into(), size: 1, digest }],
            step: "train".into(),
            run: "r".into(),
            at: 1,
            seconds: 0.5,
            version: "0".into(),
            warnings: vec!["two genes are left out".into()],
            adopted: None,
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        assert_eq!(Manifest::parse(&manifest().to_bytes()), Ok(manifest()));
        let silent = Manifest { warnings: Vec::new(), ..manifest() };
        assert_eq!(Manifest::parse(&silent.to_bytes()), Ok(silent), "as all manifests of older programs are");
        let value: serde_json::Value = serde_json::from_slice(&manifest().to_bytes()).unwrap();
        assert!(value["checksum"].is_string(), "other programs read it as JSON");
    }

    #[test]
    fn no_flipped_bit_is_overlooked() {
        let mut bytes = manifest().to_bytes();
        for i in 0..bytes.len() {
            for bit in 0..8 {
                bytes[i] ^= 1 << bit;
                assert!(Manifest::parse(&bytes).is_err(), "byte {i} bit {bit}");
                bytes[i] ^= 1 << bit;
            }
        }
        for cut in 0..bytes.len() {
            assert!(Manifest::parse(&bytes[..cut]).is_err());
        }
    }
}
