//! The arrays of a `.safetensors` file, from its header alone.

use anyhow::{Context, Result, bail};
use contract::disk::fault;
use safetensors::tensor::Metadata;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Larger headers are rejected as corrupt.
const HEADER_BYTES: u64 = 1 << 26;

/// One array of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// Its size along each axis.
    pub shape: Vec<u64>,
    /// The type of its numbers.
    pub of: String,
}

impl Layer {
    /// How many numbers it holds.
    pub fn size(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// Reads the header: its length in eight bytes, then a JSON map.
pub fn read(path: &Path) -> Result<Vec<Layer>> {
    let mut file = File::open(path).map_err(|error| fault("opening", path, error))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| fault("reading", path, error))?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES {
        bail!("{}: is no model: its header would be {length} bytes long", path.display());
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(|error| fault("reading", path, error))?;
    let header: Metadata = serde_json::from_slice(&header)
        .with_context(|| format!("reading the header of {}", path.display()))?;
    let layer = |name: String| {
        let about = header.info(&name)?;
        let shape = about.shape.iter().map(|size| *size as u64).collect();
        Some(Layer { shape, of: about.dtype.to_string().to_lowercase(), name })
    };
    let mut layers: Vec<Layer> = header.offset_keys().into_iter().filter_map(layer).collect();
    layers.sort_by(|a, b| natural(&a.name).cmp(&natural(&b.name)));
    Ok(layers)
}

/// `layer.10` comes after `layer.9`.
fn natural(name: &str) -> Vec<(u64, &str)> {
    name.split('.').map(|part| (part.parse().unwrap_or(0), part)).collect()
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn layers_are_read_from_the_header_and_a_wrong_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let header = r#"{"__metadata__": {"a": "b"}, "layer.10.w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "layer.9.w": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40]}}"#;
        std::fs::write(
            &path,
            [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 40]].concat(),
        )
        .unwrap();
        let layers = read(&path).unwrap();
        assert_eq!(
            layers.iter().map(|layer| (layer.name.as_str(), layer.size())).collect::<Vec<_>>(),
            [("layer.9.w", 4), ("layer.10.w", 6)]
        );
        std::fs::write(&path, [0xff; 64]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is no model"));
    }
}
