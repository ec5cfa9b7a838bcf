//! The binary form of a memo. It is read on every run, so decoding must be very cheap.
//!
//! A version, then the inputs, then the artifacts, each with the number of its warnings. A list is its length followed by
//! its entries. All numbers are 64 bits, little-endian; a path is its length and its bytes; digests and keys are their 32
//! bytes.

use super::{Artifact, Facts, Remembered};
use crate::hash::Stamp;
use crate::key::{Digest, Key};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Raised with every change of the format. Files from before it existed begin with `{`.
const VERSION: i64 = 3;
/// A key, a number, a digest and the length of an empty list.
const LEAST_ARTIFACT_BYTES: usize = 32 + 8 + 32 + 8;

/// Encodes a memo.
pub fn write(facts: &Facts) -> Vec<u8> {
    let Facts { inputs, artifacts } = facts;
    let mut bytes = Vec::with_capacity(64 + 600 * (inputs.len() + artifacts.len()));
    number(VERSION, &mut bytes);
    number(inputs.len() as i64, &mut bytes);
    for (path, remembered) in inputs {
        self::path(path, &mut bytes);
        self::remembered(remembered, &mut bytes);
    }
    number(artifacts.len() as i64, &mut bytes);
    for (key, Artifact { files, warnings }) in artifacts {
        bytes.extend_from_slice(key.as_bytes());
        number(*warnings as i64, &mut bytes);
        self::remembered(files, &mut bytes);
    }
    bytes
}

fn number(number: i64, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn path(path: &Path, bytes: &mut Vec<u8>) {
    number(path.as_os_str().len() as i64, bytes);
    bytes.extend_from_slice(path.as_os_str().as_bytes());
}

fn remembered(remembered: &Remembered, bytes: &mut Vec<u8>) {
    let Remembered { digest, stamps } = remembered;
    bytes.extend_from_slice(digest.as_bytes());
    number(stamps.len() as i64, bytes);
    for (path, stamp) in stamps {
        self::path(path, bytes);
        stamp.to_numbers().into_iter().for_each(|part| number(part, bytes));
    }
}

/// Decodes a memo; `None` if the version differs or the bytes end early.
pub fn read(bytes: &[u8]) -> Option<Facts> {
    let mut reader = Reader { bytes };
    if reader.number()? != VERSION {
        return None;
    }
    let mut facts = Facts::default();
    for _ in 0..reader.number()? {
        facts.inputs.insert(reader.path()?, reader.remembered()?);
    }
    let artifacts = reader.number()?;
    // Bounded by what the bytes can hold, because the number may be anything.
    let most = reader.bytes.len() / LEAST_ARTIFACT_BYTES;
    facts.artifacts.reserve(usize::try_from(artifacts).map_or(0, |count| count.min(most)));
    for _ in 0..artifacts {
        let key = Key::from_bytes(reader.array()?);
        let warnings = usize::try_from(reader.number()?).ok()?;
        facts.artifacts.insert(key, Artifact { files: reader.remembered()?, warnings });
    }
    reader.bytes.is_empty().then_some(facts)
}

struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn path(&mut self) -> Option<PathBuf> {
        let length = usize::try_from(self.number()?).ok()?;
        Some(PathBuf::from(OsStr::from_bytes(self.take(length)?)))
    }

    fn remembered(&mut self) -> Option<Remembered> {
        let digest = Digest::from_bytes(self.array()?);
        let mut stamps = Vec::new();
        for _ in 0..self.number()? {
            let path = self.path()?;
            let mut parts = [0; Stamp::NUMBERS];
            for part in &mut parts {
                *part = self.number()?;
            }
            stamps.push((path, Stamp::from_numbers(parts)));
        }
        Some(Remembered { digest, stamps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let stamp = Stamp::from_numbers([1, -2, 3, i64::MAX, 5, i64::MIN, 7]);
        let of = |names: &[&str]| Remembered {
            digest: Digest::of(names.concat().as_bytes()),
            stamps: names.iter().map(|name| (PathBuf::from(name), stamp)).collect(),
        };
        let not_text = PathBuf::from(OsStr::from_bytes(b"not \xff text"));
        Facts {
            inputs: [(not_text, of(&["a"])), ("/b".into(), of(&[]))].into(),
            artifacts: [(Key::from_bytes([7; 32]), Artifact { files: of(&["", "out/x"]), warnings: 3 })]
                .into(),
        }
    }

    #[test]
    fn facts_read_back() {
        assert_eq!(read(&write(&facts())), Some(facts()));
        assert_eq!(read(&write(&Facts::default())), Some(Facts::default()));
    }

    #[test]
    fn bytes_that_end_early_or_late_or_are_json_are_nothing() {
        let bytes = write(&facts());
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None);
        }
        assert_eq!(read(&[&bytes[..], b"x"].concat()), None);
        assert_eq!(read(br#"{"inputs":{},"artifacts":{}}"#), None);
    }
}
