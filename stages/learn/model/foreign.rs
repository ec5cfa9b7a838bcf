//! The table of gene vectors in the weights of other people's models, and the names of its rows.

use super::torch;
use super::weights::{self, Array, Arrays};
use anyhow::{Context, Result, bail, ensure};
use contract::disk;
use std::collections::BTreeMap;
use std::path::Path;

/// What the table of gene vectors is called in scGPT, in Geneformer (a BERT) and in scBERT.
const TABLES: [&str; 3] =
    ["encoder.embedding.weight", "embeddings.word_embeddings.weight", "pos_emb.emb.weight"];

/// A vector for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The length of a vector.
    pub dimensions: usize,
    /// All vectors, concatenated.
    pub values: Vec<f32>,
}

impl Rows {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.values.len() / self.dimensions.max(1)
    }
}

/// The table in a file that PyTorch or safetensors wrote.
pub fn table(path: &Path) -> Result<Rows> {
    let safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
    let arrays = if safetensors { weights::read(path)? } else { torch::read(path)? };
    choose(arrays).with_context(|| format!("reading {}", path.display()))
}

fn choose(arrays: Arrays) -> Result<Rows> {
    let is_called = |name: &str, wanted: &str| {
        // A model within another one has a prefix: `bert.`, `module.`.
        name.strip_suffix(wanted).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let place = TABLES.iter().find_map(|wanted| arrays.keys().find(|name| is_called(name, wanted)).cloned());
    let Some(name) = place else {
        bail!("it has no table of gene vectors: none of `{}`", TABLES.join("`, `"));
    };
    let Array { shape, values } = &arrays[&name];
    let [_, dimensions] = shape[..] else { bail!("`{name}` has the shape {shape:?}, expected two axes") };
    ensure!(dimensions > 0, "`{name}` holds no numbers");
    Ok(Rows { dimensions, values: values.clone() })
}

/// The names of rows: of a JSON map (scGPT's `vocab.json`) or a pickled dictionary (Geneformer's tokens) of names to
/// rows.
pub fn dictionary(path: &Path) -> Result<BTreeMap<String, usize>> {
    let bytes = disk::read(path)?;
    let entries: Result<Vec<(String, i64)>> = match path.extension().and_then(|end| end.to_str()) {
        Some("json") => serde_json::from_slice::<BTreeMap<String, i64>>(&bytes)
            .map(|map| map.into_iter().collect())
            .context("no map of names to numbers"),
        _ => torch::numbers_by_name(&bytes),
    };
    let entries = entries.with_context(|| format!("reading {}", path.display()))?;
    let row = |(name, row): (String, i64)| match usize::try_from(row) {
        Ok(row) => Ok((name, row)),
        Err(_) => bail!("{}: `{name}` is in row {row}", path.display()),
    };
    entries.into_iter().map(row).collect()
}

/// A pickled dictionary of names to other names, such as Geneformer's of symbols and Ensembl ids.
pub fn names(path: &Path) -> Result<Vec<(String, String)>> {
    torch::texts_by_name(&disk::read(path)?).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::choose;
    use crate::model::weights::{Array, Arrays};

    #[test]
    fn the_table_is_found_by_its_name() {
        let array =
            |shape: &[usize]| Array { shape: shape.to_vec(), values: vec![1.0; shape.iter().product()] };
        let arrays = |names: &[&str]| -> Arrays {
            names.iter().map(|name| ((*name).to_owned(), array(&[3, 2]))).collect()
        };
        for name in [
            "encoder.embedding.weight",
            "module.encoder.embedding.weight",
            "bert.embeddings.word_embeddings.weight",
        ] {
            let found = choose(arrays(&["other.weight", name])).unwrap();
            assert_eq!((found.count(), found.dimensions), (3, 2));
        }
        let error = choose(arrays(&["value_encoder.embedding.weight"])).unwrap_err().to_string();
        assert!(
            error.starts_with("it has no table of gene vectors: none of `encoder.embedding.weight`"),
            "{error}"
        );
        let flat = [("pos_emb.emb.weight".to_owned(), array(&[4]))].into();
        assert_eq!(
            choose(flat).unwrap_err().to_string(),
            "`pos_emb.emb.weight` has the shape [4], expected two axes"
        );
    }
}
