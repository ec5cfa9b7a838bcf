//! Zip archives whose members are stored or deflated: NumPy's `.npz` and PyTorch's `.pth`.
//!
//! Stored members are borrowed, not copied: those of a `.pth` are hundreds of megabytes of weights.

use super::slice::slice;
use anyhow::{Context, Result, bail, ensure};
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::borrow::Cow;
use std::io::Read;

/// This value means that a size or offset does not fit in 32 bits and is in the extra field.
const IN_EXTRA: u64 = 0xffff_ffff;
/// Deflate compresses at most this much; a member that claims more is damaged or meant to exhaust the memory.
const MOST_TO_ONE: usize = 1032;

/// The members and their names, in order, found through the central directory (APPNOTE.TXT 4.3).
pub fn members(bytes: &[u8]) -> Result<Vec<(String, Cow<'_, [u8]>)>> {
    // Only a comment of up to 64 KiB may follow the end record.
    let tail = bytes.len().saturating_sub(22 + 65_535);
    let end = bytes[tail..].windows(4).rposition(|window| window == b"PK\x05\x06").map(|at| tail + at);
    let end = end.context("not a zip file, or one that is cut short")?;
    slice(bytes, end, 22)?;
    let (mut count, mut at) = (number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)?);
    if count == 0xffff || at == IN_EXTRA {
        // The end record of large files; a locator before the ordinary end record points to it.
        let locator = end.checked_sub(20).context("the directory is damaged")?;
        ensure!(slice(bytes, locator, 4)? == b"PK\x06\x07", "the directory is damaged");
        let large = place(number(bytes, locator + 8, 8)?)?;
        ensure!(slice(bytes, large, 4)? == b"PK\x06\x06", "the directory is damaged");
        (count, at) = (number(bytes, large + 32, 8)?, number(bytes, large + 48, 8)?);
    }
    let mut at = place(at)?;
    // Each member takes at least 46 bytes in the directory.
    ensure!(count <= (bytes.len() / 46) as u64, "the directory is damaged");
    let mut members = Vec::with_capacity(place(count)?);
    let mut left = bytes.len();
    for _ in 0..count {
        ensure!(slice(bytes, at, 4)? == b"PK\x01\x02", "the directory is damaged");
        let [name_length, extra_length, comment_length] =
            [28, 30, 32].map(|field| number(bytes, at + field, 2));
        let (name_length, extra_length) = (place(name_length?)?, place(extra_length?)?);
        let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
        ensure!(number(bytes, at + 8, 2)? & 1 == 0, "{name} is encrypted");
        let extra = slice(bytes, at + 46 + name_length, extra_length)?;
        let Entry { packed, size, local } = entry(bytes, at, extra)?;
        ensure!(slice(bytes, local, 4)? == b"PK\x03\x04", "{name} is not where the directory says");
        let start = local + 30 + place(number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?)?;
        // Overlapping members could decompress to far more than the file's size allows.
        left = left.checked_sub(packed).with_context(|| format!("{name} overlaps with other members"))?;
        let packed = slice(bytes, start, packed)?;
        let content = match number(bytes, at + 10, 2)? {
            0 => Cow::Borrowed(packed),
            8 => Cow::Owned(inflate(packed, size).with_context(|| format!("unpacking {name}"))?),
            method => bail!("{name} is packed by method {method}; only deflate can be read"),
        };
        let mut sum = Crc::new();
        sum.update(&content);
        let whole = content.len() == size && u64::from(sum.sum()) == number(bytes, at + 16, 4)?;
        ensure!(whole, "{name} is damaged: its size or checksum differs from what the directory says");
        members.push((name, content));
        at += 46 + name_length + extra_length + place(comment_length?)?;
    }
    Ok(members)
}

/// Decompresses data that must have this size.
fn inflate(packed: &[u8], size: usize) -> Result<Vec<u8>> {
    ensure!(size / MOST_TO_ONE <= packed.len(), "{size} bytes do not fit into {}", packed.len());
    let mut content = Vec::new();
    DeflateDecoder::new(packed).take(size as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// A member's entry in the directory.
struct Entry {
    packed: usize,
    size: usize,
    /// The offset of its local header.
    local: usize,
}

fn entry(bytes: &[u8], at: usize, extra: &[u8]) -> Result<Entry> {
    let [mut packed, mut size, mut local] = [20, 24, 42].map(|field| number(bytes, at + field, 4));
    if [&packed, &size, &local].into_iter().any(|field| matches!(field, Ok(IN_EXTRA))) {
        let mut at = 0;
        while number(extra, at, 2)? != 1 {
            at += 4 + place(number(extra, at + 2, 2)?)?;
        }
        at += 4;
        // The extra field has only the values that did not fit, in this order.
        for field in [&mut size, &mut packed, &mut local] {
            if matches!(field, Ok(IN_EXTRA)) {
                *field = number(extra, at, 8);
                at += 8;
            }
        }
    }
    Ok(Entry { packed: place(packed?)?, size: place(size?)?, local: place(local?)? })
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let digits = slice(bytes, at, width)?;
    Ok(digits.iter().rev().fold(0, |number, digit| number << 8 | u64::from(*digit)))
}

fn place(number: u64) -> Result<usize> {
    usize::try_from(number).ok().filter(|place| *place < usize::MAX / 4).context("a place is beyond any file")
}

#[cfg(test)]
mod tests {
    use super::members;
    use flate2::write::DeflateEncoder;
    use flate2::{Compression, Crc};
    use std::io::Write;

    /// A zip with one member, as numpy.savez writes it; `large` puts sizes and offset into the extra field.
    fn zip(name: &str, content: &[u8], method: u8, large: bool) -> Vec<u8> {
        let mut packed = content.to_vec();
        if method == 8 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(content).unwrap();
            packed = encoder.finish().unwrap();
        }
        claiming(name, &packed, content, content.len(), method, large)
    }

    fn claiming(name: &str, packed: &[u8], content: &[u8], size: usize, method: u8, large: bool) -> Vec<u8> {
        let mut sum = Crc::new();
        sum.update(content);
        let sum = sum.sum().to_le_bytes();
        let sizes = [packed.len(), size].map(|size| (size as u32).to_le_bytes()).concat();
        let length = [name.len() as u8, 0];
        let about = [&[method, 0, 0, 0, 0, 0], &sum[..]].concat();
        let local = [b"PK\x03\x04\x14\0\0\0", &about[..], &sizes, &length, &[0, 0]].concat();
        let start = [&local[..], name.as_bytes(), packed].concat();
        let extra = match large {
            true => {
                let fields = [size, packed.len(), 0].map(|field| (field as u64).to_le_bytes()).concat();
                [&[9, 0, 1, 0, 7, 1, 0, 24, 0][..], &fields].concat()
            }
            false => Vec::new(),
        };
        let sizes = if large { vec![0xff; 8] } else { sizes };
        let place = if large { [0xff; 4] } else { [0; 4] };
        let extra_length = [extra.len() as u8, 0];
        let entry =
            [b"PK\x01\x02\x14\0\x14\0\0\0", &about[..], &sizes, &length, &extra_length, &[0; 10], &place]
                .concat();
        let at = (start.len() as u32).to_le_bytes();
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &[0; 4][..], &at, &[0, 0]].concat();
        [start, entry, name.as_bytes().to_vec(), extra, end].concat()
    }

    #[test]
    fn members_are_found_and_damage_is_an_error() {
        for (large, method) in [(false, 0), (true, 0), (false, 8), (true, 8)] {
            let whole = zip("a.npy", b"content", method, large);
            let found = members(&whole).unwrap();
            assert_eq!(
                (found.len(), &*found[0].0, &*found[0].1),
                (1, "a.npy", &b"content"[..]),
                "{large} {method}"
            );
            for length in 0..whole.len() {
                assert!(members(&whole[..length]).is_err(), "{length}");
            }
            for place in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[place] ^= 0xff;
                let _ = members(&damaged);
            }
            let mut damaged = whole.clone();
            damaged[30 + 5] ^= 1;
            assert!(members(&damaged).is_err(), "the content differs from its checksum: {large} {method}");
        }
        let message = members(&zip("a.npy", b"content", 12, false)).unwrap_err().to_string();
        assert_eq!(message, "a.npy is packed by method 12; only deflate can be read");
    }

    #[test]
    fn a_member_that_claims_more_than_deflate_can_pack_is_refused_unread() {
        let zeros = vec![0; 1 << 20];
        let whole = zip("a.npy", &zeros, 8, false);
        assert!(whole.len() < 2000 && members(&whole).unwrap()[0].1 == zeros);
        let packed = &whole[35..whole.len() - 73];
        let bomb = claiming("a.npy", packed, &zeros, 1 << 31, 8, false);
        let message = format!("{:#}", members(&bomb).unwrap_err());
        assert_eq!(message, format!("unpacking a.npy: 2147483648 bytes do not fit into {}", packed.len()));
    }

    #[test]
    fn members_that_share_their_bytes_are_refused() {
        let whole = zip("a.npy", &[7; 200], 0, false);
        let end = whole.len() - 22;
        let entry = whole[end - 51..end].to_vec();
        let mut twice = [&whole[..end], &entry, &whole[end..]].concat();
        let record = end + entry.len();
        twice[record + 10] = 2;
        assert_eq!(members(&twice).unwrap_err().to_string(), "a.npy overlaps with other members");
    }
}
