//! safetensors: named arrays in one file, as Hugging Face's libraries read and write them.
//!
//! Equal content gives equal bytes: the crate sorts tensors by type and name, and there is only one metadata entry, so
//! its order cannot vary. All arrays are written as 32-bit floats and can be read from any float or integer type.

use super::parameters::Named;
use anyhow::{Context, Result, bail};
use contract::disk;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::{shape, values};

/// The name of the file in an artifact.
pub const FILE: &str = "model.safetensors";

/// The metadata that Hugging Face's libraries expect.
const FORMAT: (&str, &str) = ("format", "pt");

/// One array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The size of each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The elements in row-major order.
    pub values: Vec<f32>,
}

/// Arrays by name.
pub type Arrays = BTreeMap<String, Array>;

/// The arrays of a model.
pub fn of_tensors(tensors: Vec<Named<'_>>) -> Arrays {
    let array = |Named { name, tensor, .. }: Named| {
        let (rows, columns) = shape(tensor);
        // PyTorch stores a vector with one axis.
        let shape = if rows == 1 { vec![columns] } else { vec![rows, columns] };
        (name, Array { shape, values: values(tensor).to_vec() })
    };
    tensors.into_iter().map(array).collect()
}

/// Writes a file.
pub fn write(path: &Path, arrays: &Arrays) -> Result<()> {
    Ok(disk::write(path, &to_bytes(arrays, FORMAT)?)?)
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Arrays> {
    let bytes = disk::read(path)?;
    from_bytes(&bytes, FORMAT.0)
        .map(|(arrays, _)| arrays)
        .with_context(|| format!("reading {}", path.display()))
}

/// The bytes of a file with `about` as its only metadata entry.
pub fn to_bytes(arrays: &Arrays, about: (&str, &str)) -> Result<Vec<u8>> {
    let bytes: Vec<Vec<u8>> = arrays
        .values()
        .map(|array| array.values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let mut views = Vec::with_capacity(arrays.len());
    for ((name, array), bytes) in arrays.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes);
        views.push((name, view.with_context(|| format!("`{name}` has values that its shape does not say"))?));
    }
    let about = [(about.0.to_owned(), about.1.to_owned())].into_iter().collect();
    safetensors::serialize(views, Some(about)).context("packing weights")
}

/// The arrays in a file's bytes, and the entry `key` of its metadata.
pub fn from_bytes(bytes: &[u8], key: &str) -> Result<(Arrays, Option<String>)> {
    const DAMAGED: &str = "not a safetensors file, or a damaged one";
    let (_, metadata) = SafeTensors::read_metadata(bytes).context(DAMAGED)?;
    let about = metadata.metadata().as_ref().and_then(|entries| entries.get(key)).cloned();
    let found = SafeTensors::deserialize(bytes).context(DAMAGED)?;
    let mut arrays = Arrays::new();
    for (name, view) in found.iter() {
        let values = numbers(view.dtype(), view.data()).with_context(|| format!("reading `{name}`"))?;
        arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), values });
    }
    Ok((arrays, about))
}

/// Converts little-endian numbers of any type to 32-bit floats.
pub fn numbers(kind: Dtype, data: &[u8]) -> Result<Vec<f32>> {
    Ok(match kind {
        Dtype::F32 => each(data, f32::from_le_bytes),
        Dtype::F64 => each(data, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => each(data, |bytes| half(u16::from_le_bytes(bytes))),
        // bfloat16 is the upper half of a 32-bit float.
        Dtype::BF16 => each(data, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)),
        Dtype::I64 => each(data, |bytes| i64::from_le_bytes(bytes) as f32),
        Dtype::I32 => each(data, |bytes| i32::from_le_bytes(bytes) as f32),
        Dtype::I16 => each(data, |bytes| f32::from(i16::from_le_bytes(bytes))),
        Dtype::I8 => each(data, |bytes| f32::from(i8::from_le_bytes(bytes))),
        Dtype::U8 | Dtype::BOOL => each(data, |[byte]| f32::from(byte)),
        other => bail!("elements of type {other:?} are not read"),
    })
}

fn each<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks().0.iter().map(|bytes| number(*bytes)).collect()
}

/// Converts an IEEE 754 half-precision number.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2.0f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0f32.powi(exponent - 15),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::{Array, Arrays, FORMAT, from_bytes, half, to_bytes};
    use safetensors::tensor::{Dtype, TensorView};

    fn arrays() -> Arrays {
        let array = |shape: &[usize], values: &[f32]| Array { shape: shape.into(), values: values.into() };
        [
            ("b".to_owned(), array(&[2, 2], &[1.0, -2.5, 0.0, f32::MIN_POSITIVE])),
            ("a".to_owned(), array(&[1], &[7.0])),
        ]
        .into()
    }

    #[test]
    fn what_is_written_is_read_and_equal_content_is_equal_bytes() {
        let bytes = to_bytes(&arrays(), FORMAT).unwrap();
        assert_eq!(bytes, to_bytes(&arrays(), FORMAT).unwrap());
        assert_eq!(from_bytes(&bytes, "format").unwrap(), (arrays(), Some("pt".to_owned())));
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = to_bytes(&arrays(), FORMAT).unwrap();
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length], "format").is_err(), "{length}");
        }
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x81;
            let _ = from_bytes(&damaged, "format");
        }
    }

    #[test]
    fn other_types_become_32_bits() {
        for (bits, value) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan());
        let read = |kind: Dtype, bytes: &[u8]| {
            let view = TensorView::new(kind, vec![1], bytes).unwrap();
            let bytes = safetensors::serialize([("x", view)], None).unwrap();
            from_bytes(&bytes, "format").map(|(arrays, _)| arrays["x"].values[0])
        };
        assert_eq!(read(Dtype::F64, &1.5f64.to_le_bytes()).unwrap(), 1.5);
        assert_eq!(read(Dtype::BF16, &[0xc0, 0x3f]).unwrap(), 1.5);
        assert_eq!(read(Dtype::I64, &(-3i64).to_le_bytes()).unwrap(), -3.0);
        let refused = format!("{:#}", read(Dtype::U16, &[1, 0]).unwrap_err());
        assert_eq!(refused, "reading `x`: elements of type U16 are not read");
    }
}
