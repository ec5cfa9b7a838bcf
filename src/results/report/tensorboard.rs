//! Writes histories for TensorBoard: one event file for each step.
//!
//! An event file is a sequence of records, each a length, its checksum, an `Event` in protocol buffers, and its
//! checksum. Of `Event` only the time (1), the step (2), the version (3) and one scalar (5) are written.

use super::Report;
use crate::exhibit::Exhibit;
use crate::output;
use engine::error::Result;
use std::path::{Path, PathBuf};

/// Writes the histories of all steps below a folder; returns the files.
pub fn tensorboard(report: &Report<'_>, folder: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for node in report.survey.plan.steps() {
        let step = &report.graph.steps[node];
        let Some(manifest) = report.manifests.get(&node) else { continue };
        let mut events = vec![event(manifest.at as f64, 0, Content::Version)];
        for (_, exhibit) in report.exhibits.of(node) {
            let Exhibit::History(history) = exhibit else { continue };
            for (column, values) in &history.columns {
                let points = history.steps.iter().zip(values).filter(|(_, value)| value.is_finite());
                events.extend(points.map(|(at, value)| {
                    event(manifest.at as f64, *at as i64, Content::Scalar(column, *value as f32))
                }));
            }
        }
        if events.len() > 1 {
            // The name of a step is a valid folder name: the labels in it contain no slash.
            let path = folder.join(&step.name).join(format!("events.out.tfevents.{}.pipeline", manifest.at));
            output::replace(&path, &events.iter().flat_map(|event| record(event)).collect::<Vec<u8>>())?;
            written.push(path);
        }
    }
    Ok(written)
}

enum Content<'a> {
    Version,
    Scalar(&'a str, f32),
}

fn event(time: f64, step: i64, content: Content<'_>) -> Vec<u8> {
    let mut bytes = vec![1 << 3 | 1];
    bytes.extend(time.to_le_bytes());
    bytes.push(2 << 3);
    varint(step as u64, &mut bytes);
    match content {
        Content::Version => field(3, b"brain.Event:2", &mut bytes),
        Content::Scalar(tag, value) => {
            let mut scalar = Vec::new();
            field(1, tag.as_bytes(), &mut scalar);
            scalar.push(2 << 3 | 5);
            scalar.extend(value.to_le_bytes());
            let mut summary = Vec::new();
            field(1, &scalar, &mut summary);
            field(5, &summary, &mut bytes);
        }
    }
    bytes
}

/// A length-delimited field.
fn field(number: u8, content: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(number << 3 | 2);
    varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

fn varint(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    [&length[..], &masked(crc32c(&length)).to_le_bytes(), event, &masked(crc32c(event)).to_le_bytes()]
        .concat()
}

/// Masks a checksum as the format requires, because checksums of data that contains checksums are problematic.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: an event is only a few dozen bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut checksum = !0u32;
    for byte in bytes {
        checksum ^= u32::from(*byte);
        for _ in 0..8 {
            checksum = checksum >> 1 ^ if checksum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn long_lengths_take_several_bytes() {
        let mut bytes = Vec::new();
        varint(300, &mut bytes);
        assert_eq!(bytes, [0xac, 0x02]);
    }
}
