//! NumPy arrays: `.npy`, and `.npz` with stored or deflated members.
//!
//! Supports versions 1 to 3 of the format with little-endian numbers in C order. Files are untrusted: every offset and
//! size is checked against the bytes that are there.

use super::slice::slice;
use super::zip;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::Path;

/// One array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The size of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The elements in C order: the last axis varies fastest.
    pub values: Values,
}

/// Elements, by type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// `f4` and `f8`.
    Floats(Vec<f64>),
    /// `i1` to `i8` and `u1` to `u4`.
    Integers(Vec<i64>),
}

impl Array {
    /// The elements as `f32`; 64-bit floats and integers may be rounded.
    pub fn floats(&self) -> Vec<f32> {
        match &self.values {
            Values::Floats(values) => values.iter().map(|value| *value as f32).collect(),
            Values::Integers(values) => values.iter().map(|value| *value as f32).collect(),
        }
    }

    /// The elements as integers; an error for an array of floats.
    pub fn integers(&self) -> Result<&[i64]> {
        match &self.values {
            Values::Integers(values) => Ok(values),
            Values::Floats(_) => bail!("expected integers, found floating-point numbers"),
        }
    }
}

/// Reads a `.npy` file.
pub fn read(path: &Path) -> Result<Array> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&bytes).with_context(|| format!("reading {}", path.display()))
}

/// Reads every array of a `.npz` file, by name without `.npy`.
pub fn read_all(path: &Path) -> Result<BTreeMap<String, Array>> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let members = zip::members(&bytes).with_context(|| format!("reading {}", path.display()))?;
    let arrays = members.into_iter().map(|(name, bytes)| {
        let array = parse(&bytes).with_context(|| format!("reading {name} of {}", path.display()))?;
        Ok((name.trim_end_matches(".npy").to_owned(), array))
    });
    arrays.collect()
}

fn parse(bytes: &[u8]) -> Result<Array> {
    let version = match bytes.strip_prefix(b"\x93NUMPY") {
        Some([major, _minor, ..]) => *major,
        _ => bail!("not a .npy file"),
    };
    let (length, start) = match version {
        1 => (number(bytes, 8, 2)?, 10),
        2 | 3 => (number(bytes, 8, 4)?, 12),
        _ => bail!("version {version} of the .npy format is not known"),
    };
    let header = std::str::from_utf8(slice(bytes, start, length)?).context("the header is not text")?;
    let data = &bytes[start + length..];
    ensure!(field(header, "fortran_order")?.starts_with("False"), "expected C order, found Fortran order");
    let shape = shape(field(header, "shape")?)?;
    let count = shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
    let count = count.context("the shape is beyond any memory")?;
    let kind = field(header, "descr")?.trim_start_matches('\'');
    let kind = kind.split('\'').next().unwrap_or_default();
    let values = elements(kind, data, count)?;
    Ok(Array { shape, values })
}

/// The text after a key in the header, which is a Python dictionary.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    let (_, rest) = header
        .split_once(&format!("'{key}':"))
        .with_context(|| format!("the header does not say `{key}`: {}", header.trim_end()))?;
    Ok(rest.trim_start())
}

fn shape(text: &str) -> Result<Vec<usize>> {
    let inside = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inside, _) = inside.with_context(|| format!("the shape is no tuple: {}", text.trim_end()))?;
    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().with_context(|| format!("the shape has a size `{size}`"))).collect()
}

fn elements(kind: &str, data: &[u8], count: usize) -> Result<Values> {
    let width: usize = kind.get(2..).and_then(|width| width.parse().ok()).unwrap_or(0);
    ensure!(kind.starts_with(['<', '|', '=']) && width > 0, "elements of type `{kind}` are not read");
    let expected = count.checked_mul(width).context("the shape is beyond any memory")?;
    ensure!(
        data.len() == expected,
        "expected {expected} bytes for {count} elements `{kind}`, found {}",
        data.len()
    );
    let elements = data.chunks_exact(width);
    Ok(match &kind[1..] {
        "f4" => Values::Floats(elements.map(|e| f64::from(f32::from_le_bytes(fixed(e)))).collect()),
        "f8" => Values::Floats(elements.map(|e| f64::from_le_bytes(fixed(e))).collect()),
        "i1" => Values::Integers(elements.map(|e| i64::from(i8::from_le_bytes(fixed(e)))).collect()),
        "i2" => Values::Integers(elements.map(|e| i64::from(i16::from_le_bytes(fixed(e)))).collect()),
        "i4" => Values::Integers(elements.map(|e| i64::from(i32::from_le_bytes(fixed(e)))).collect()),
        "i8" => Values::Integers(elements.map(|e| i64::from_le_bytes(fixed(e))).collect()),
        "u1" => Values::Integers(elements.map(|e| i64::from(u8::from_le_bytes(fixed(e)))).collect()),
        "u2" => Values::Integers(elements.map(|e| i64::from(u16::from_le_bytes(fixed(e)))).collect()),
        "u4" => Values::Integers(elements.map(|e| i64::from(u32::from_le_bytes(fixed(e)))).collect()),
        _ => bail!("elements of type `{kind}` are not read"),
    })
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("chunks have the width of the type")
}

/// A little-endian number of up to 4 bytes.
fn number(bytes: &[u8], at: usize, width: usize) -> Result<usize> {
    let digits = slice(bytes, at, width)?;
    Ok(digits.iter().rev().fold(0, |number, digit| number << 8 | usize::from(*digit)))
}

#[cfg(test)]
mod tests {
    use super::{Values, parse};

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    fn header(kind: &str, shape: &str) -> String {
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n")
    }

    #[test]
    fn elements_are_read_by_their_type() {
        let floats = [1.5f32, -2.0].map(f32::to_le_bytes).concat();
        let array = parse(&npy(&header("<f4", "(2,)"), &floats)).unwrap();
        assert_eq!((array.shape.as_slice(), &array.values), (&[2][..], &Values::Floats(vec![1.5, -2.0])));
        let bytes = parse(&npy(&header("|i1", "(1, 2)"), &[1, 255])).unwrap();
        assert_eq!((bytes.shape.as_slice(), bytes.integers().unwrap()), (&[1, 2][..], &[1, -1][..]));
        let number = parse(&npy(&header("<i8", "()"), &7i64.to_le_bytes())).unwrap();
        assert_eq!((number.shape.len(), number.floats()), (0, vec![7.0]));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert_eq!(refused(b"PK"), "not a .npy file");
        let short = refused(&npy(&header("<f4", "(3,)"), &[0; 8]));
        assert_eq!(short, "expected 12 bytes for 3 elements `<f4`, found 8");
        assert_eq!(refused(&npy(&header(">f4", "(1,)"), &[0; 4])), "elements of type `>f4` are not read");
        assert_eq!(refused(&npy(&header("|O", "(1,)"), &[0; 4])), "elements of type `|O` are not read");
        let whole = npy(&header("<f4", "(1,)"), &[0; 4]);
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
    }
}
