//! Zip archives whose members are stored, not packed: NumPy's `.npz` and PyTorch's `.pth`.

use anyhow::{Context, Result, ensure};

/// Where the size or place of a member does not fit into 32 bits, and stands in the extra field.
const IN_EXTRA: u64 = 0xffff_ffff;

/// The members by name in their order, found through the central directory (APPNOTE.TXT 4.3).
pub fn members(bytes: &[u8]) -> Result<Vec<(String, &[u8])>> {
    // The end record is the last thing in the file but for a comment of up to 64 KiB.
    let tail = bytes.len().saturating_sub(22 + 65_535);
    let end = bytes[tail..].windows(4).rposition(|window| window == b"PK\x05\x06").map(|at| tail + at);
    let end = end.context("not a zip file, or one that is cut short")?;
    slice(bytes, end, 22)?;
    let (mut count, mut at) = (number(bytes, end + 10, 2)?, number(bytes, end + 16, 4)?);
    if count == 0xffff || at == IN_EXTRA {
        // The record of large files, to which a locator before the end record points.
        let locator = end.checked_sub(20).context("the directory is damaged")?;
        ensure!(slice(bytes, locator, 4)? == b"PK\x06\x07", "the directory is damaged");
        let large = place(number(bytes, locator + 8, 8)?)?;
        ensure!(slice(bytes, large, 4)? == b"PK\x06\x06", "the directory is damaged");
        (count, at) = (number(bytes, large + 32, 8)?, number(bytes, large + 48, 8)?);
    }
    let mut at = place(at)?;
    // A member takes 46 bytes of the directory at least.
    ensure!(count <= (bytes.len() / 46) as u64, "the directory is damaged");
    let mut members = Vec::with_capacity(place(count)?);
    for _ in 0..count {
        ensure!(slice(bytes, at, 4)? == b"PK\x01\x02", "the directory is damaged");
        let [name_length, extra_length, comment_length] =
            [28, 30, 32].map(|field| number(bytes, at + field, 2));
        let (name_length, extra_length) = (place(name_length?)?, place(extra_length?)?);
        let name = String::from_utf8_lossy(slice(bytes, at + 46, name_length)?).into_owned();
        let method = number(bytes, at + 10, 2)?;
        ensure!(method == 0, "{name} is compressed; save it without compression");
        let extra = slice(bytes, at + 46 + name_length, extra_length)?;
        let (size, local) = size_and_place(bytes, at, extra)?;
        ensure!(slice(bytes, local, 4)? == b"PK\x03\x04", "{name} is not where the directory says");
        let start = local + 30 + place(number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?)?;
        members.push((name, slice(bytes, start, size)?));
        at += 46 + name_length + extra_length + place(comment_length?)?;
    }
    Ok(members)
}

/// The size of a member and the place of its local header, from its entry of the directory.
fn size_and_place(bytes: &[u8], entry: usize, extra: &[u8]) -> Result<(usize, usize)> {
    let fields = [(20, 4), (24, 4), (42, 4)];
    let [packed, mut size, mut local] = fields.map(|(field, width)| number(bytes, entry + field, width));
    if [&packed, &size, &local].into_iter().any(|field| matches!(field, Ok(IN_EXTRA))) {
        let mut at = 0;
        while number(extra, at, 2)? != 1 {
            at += 4 + place(number(extra, at + 2, 2)?)?;
        }
        at += 4;
        // Only what did not fit stands here, in this order.
        for field in [&mut size, &mut { packed }, &mut local] {
            if matches!(field, Ok(IN_EXTRA)) {
                *field = number(extra, at, 8);
                at += 8;
            }
        }
    }
    Ok((place(size?)?, place(local?)?))
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Result<u64> {
    let digits = slice(bytes, at, width)?;
    Ok(digits.iter().rev().fold(0, |number, digit| number << 8 | u64::from(*digit)))
}

fn place(number: u64) -> Result<usize> {
    usize::try_from(number).ok().filter(|place| *place < usize::MAX / 4).context("a place is beyond any file")
}

fn slice(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    let end = at.checked_add(length).filter(|end| *end <= bytes.len());
    let end = end.with_context(|| format!("cut short: {length} bytes at {at} of {}", bytes.len()))?;
    Ok(&bytes[at..end])
}

#[cfg(test)]
mod tests {
    use super::members;

    /// A zip of one member, as numpy.savez writes it; `large` puts size and place into the extra field.
    fn zip(name: &str, content: &[u8], method: u8, large: bool) -> Vec<u8> {
        let size = (content.len() as u32).to_le_bytes();
        let length = [name.len() as u8, 0];
        let sizes = [&[0; 4][..], &size, &size, &length].concat();
        let local = [b"PK\x03\x04\x14\0\0\0", &[method, 0, 0, 0, 0, 0][..], &sizes, &[0, 0]].concat();
        let start = [&local[..], name.as_bytes(), content].concat();
        let start_of_file = 0u64;
        let extra = match large {
            true => {
                let size = (content.len() as u64).to_le_bytes();
                [&[9, 0, 1, 0, 7, 1, 0, 24, 0][..], &size, &size, &start_of_file.to_le_bytes()].concat()
            }
            false => Vec::new(),
        };
        let sizes = if large { [0xff; 8].to_vec() } else { [size, size].concat() };
        let place = if large { [0xff; 4] } else { [0; 4] };
        let entry = [
            b"PK\x01\x02\x14\0\x14\0\0\0",
            &[method, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &sizes,
            &length,
            &[extra.len() as u8, 0],
            &[0; 10],
            &place,
        ]
        .concat();
        let at = (start.len() as u32).to_le_bytes();
        let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &[0; 4][..], &at, &[0, 0]].concat();
        [start, entry, name.as_bytes().to_vec(), extra, end].concat()
    }

    #[test]
    fn members_are_found_and_damage_is_an_error() {
        for large in [false, true] {
            let whole = zip("a.npy", b"content", 0, large);
            assert_eq!(members(&whole).unwrap(), [("a.npy".to_owned(), &b"content"[..])], "{large}");
            for length in 0..whole.len() {
                assert!(members(&whole[..length]).is_err(), "{length}");
            }
            for place in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[place] ^= 0xff;
                let _ = members(&damaged);
            }
        }
        let message = members(&zip("a.npy", b"content", 8, false)).unwrap_err().to_string();
        assert_eq!(message, "a.npy is compressed; save it without compression");
    }
}
