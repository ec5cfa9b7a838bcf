//! `tokens.parquet`: one row per cell, its tokens by the position of their gene in the vocabulary.
//!
//! Columns: `cell` (text), `genes` (list of u32, rising; the last one is the size of the vocabulary and
//! stands for no gene), `tokens` (list of u8, as long as `genes`).

use super::table::Writer;
use anyhow::{Context, Result};
use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray, UInt8Array, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use std::path::Path;
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "tokens.parquet";

const TOKENS_PER_BATCH: usize = 1 << 20;
const BATCHES_PER_GROUP: usize = 16;

/// Writes cells one by one.
pub struct TokenWriter {
    writer: Writer,
    schema: Arc<Schema>,
    ids: Vec<String>,
    ends: Vec<i32>,
    genes: Vec<u32>,
    tokens: Vec<u8>,
    batches: usize,
}

fn item(of: DataType) -> Arc<Field> {
    Arc::new(Field::new("element", of, false))
}

impl TokenWriter {
    /// Prereq: nothing is at `path`.
    pub fn create(path: &Path) -> Result<TokenWriter> {
        let schema = Arc::new(Schema::new(vec![
            Field::new("cell", DataType::Utf8, false),
            Field::new("genes", DataType::List(item(DataType::UInt32)), false),
            Field::new("tokens", DataType::List(item(DataType::UInt8)), false),
        ]));
        let writer = Writer::create(path, schema.clone())?;
        let (ids, genes, tokens) = (Vec::new(), Vec::new(), Vec::new());
        Ok(TokenWriter { writer, schema, ids, ends: vec![0], genes, tokens, batches: 0 })
    }

    /// Appends a cell. Prereq: `genes` are as many as `tokens`.
    pub fn push(&mut self, id: &str, genes: &[u32], tokens: &[u8]) -> Result<()> {
        self.ids.push(id.to_owned());
        self.genes.extend_from_slice(genes);
        self.tokens.extend_from_slice(tokens);
        self.ends.push(
            i32::try_from(self.genes.len()).with_context(|| format!("cell `{id}` has too many tokens"))?,
        );
        if self.genes.len() >= TOKENS_PER_BATCH { self.write_batch() } else { Ok(()) }
    }

    /// Writes what is left and closes the file.
    pub fn finish(mut self) -> Result<()> {
        self.write_batch()?;
        self.writer.finish()
    }

    fn write_batch(&mut self) -> Result<()> {
        let ends = OffsetBuffer::new(std::mem::replace(&mut self.ends, vec![0]).into());
        let genes = UInt32Array::from(std::mem::take(&mut self.genes));
        let tokens = UInt8Array::from(std::mem::take(&mut self.tokens));
        let genes = ListArray::try_new(item(DataType::UInt32), ends.clone(), Arc::new(genes), None)?;
        let tokens = ListArray::try_new(item(DataType::UInt8), ends, Arc::new(tokens), None)?;
        let ids = StringArray::from_iter_values(std::mem::take(&mut self.ids));
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(genes), Arc::new(tokens)];
        self.writer.write(RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.batches += 1;
        if self.batches.is_multiple_of(BATCHES_PER_GROUP) { self.writer.end_group() } else { Ok(()) }
    }
}
