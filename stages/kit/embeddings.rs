//! `embeddings.parquet`: a vector for each gene or each cell.
//!
//! Columns: `name` (text), `values` (list of f32, equally long in every row).

use super::table::{self, Batches, column_as};
use anyhow::{Result, bail};
use arrow::array::{Array, AsArray, Float32Array, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "embeddings.parquet";

/// Vectors by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// What each vector stands for.
    pub names: Vec<String>,
    /// How long each is.
    pub dimensions: usize,
    /// One vector after the other.
    pub values: Vec<f32>,
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

impl Embeddings {
    /// Writes the table.
    pub fn write(&self, path: &Path) -> Result<()> {
        let names = StringArray::from_iter_values(&self.names);
        let ends = OffsetBuffer::from_lengths(self.names.iter().map(|_| self.dimensions));
        let values = Float32Array::from(self.values.clone());
        let values = ListArray::try_new(item(), ends, Arc::new(values), None)?;
        table::write(path, vec![("name", Arc::new(names)), ("values", Arc::new(values))])
    }

    /// Reads the table.
    pub fn read(path: &Path) -> Result<Embeddings> {
        let mut embeddings = Embeddings { names: Vec::new(), dimensions: 0, values: Vec::new() };
        for batch in Batches::open(path)? {
            let batch = batch?;
            let names = column_as(&batch, "name", &DataType::Utf8, "text", path)?;
            let values = column_as(&batch, "values", &DataType::List(item()), "lists of numbers", path)?;
            for (name, vector) in names.as_string::<i32>().iter().zip(values.as_list::<i32>().iter()) {
                let (Some(name), Some(vector)) = (name, vector) else {
                    bail!("{}: row {} lacks its name or its vector", path.display(), embeddings.names.len())
                };
                if embeddings.names.is_empty() {
                    embeddings.dimensions = vector.len();
                }
                if vector.len() != embeddings.dimensions {
                    let (found, expected) = (vector.len(), embeddings.dimensions);
                    bail!(
                        "{}: the vector of `{name}` has {found} numbers, others {expected}",
                        path.display()
                    );
                }
                embeddings.names.push(name.to_owned());
                embeddings.values.extend_from_slice(vector.as_primitive::<Float32Type>().values());
            }
        }
        Ok(embeddings)
    }

    /// The vectors of these names in their order.
    pub fn of(&self, names: &[String], path: &Path) -> Result<Vec<f32>> {
        let index: std::collections::HashMap<&str, usize> =
            self.names.iter().enumerate().map(|(index, name)| (name.as_str(), index)).collect();
        let mut values = Vec::with_capacity(names.len() * self.dimensions);
        for name in names {
            let Some(index) = index.get(name.as_str()) else {
                bail!("{}: has no vector for `{name}`", path.display())
            };
            values.extend_from_slice(&self.values[index * self.dimensions..(index + 1) * self.dimensions]);
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_back_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let names = vec!["a".to_owned(), "b".to_owned()];
        let embeddings = Embeddings { names, dimensions: 2, values: vec![1.0, 2.0, 3.0, 4.0] };
        embeddings.write(&path).unwrap();
        let read = Embeddings::read(&path).unwrap();
        assert_eq!(read, embeddings);
        assert_eq!(read.of(&["b".to_owned()], &path).unwrap(), [3.0, 4.0]);
        let error = read.of(&["c".to_owned()], &path).unwrap_err().to_string();
        assert!(error.ends_with("embeddings.parquet: has no vector for `c`"), "{error}");
    }
}
