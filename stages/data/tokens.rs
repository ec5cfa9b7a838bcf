//! `tokens.parquet`: one row per cell, its tokens indexed by the position of their gene in the vocabulary.
//!
//! Columns: `cell` (text), `genes` (list of u32, ascending; the last one is the size of the vocabulary and
//! stands for no gene), `tokens` (list of u8, as long as `genes`). Genes that are not listed have the token zero.
//! The artifact also contains `tokens.json`, with the dimensions of a model for these tokens, and the vocabulary.

use crate::genes;
use crate::table::{Batches, Groups, Writer, column_as};
use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StringArray, UInt8Array, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, UInt8Type, UInt32Type};
use contract::disk;
use contract::stage::Takes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the file in an artifact.
pub const FILE: &str = "tokens.parquet";
/// The file with the dimensions of a model for these tokens.
pub const ABOUT: &str = "tokens.json";
/// The names of the genes in order, as `data/genes.rs` writes them.
pub const VOCABULARY: &str = "vocabulary.parquet";
/// The artifact that a slot accepts if it needs tokens.
pub const ARTIFACT: Takes = Takes::OneOf(&[&[FILE, ABOUT, VOCABULARY]]);

/// Describes the tokens, so that a model can check that it fits them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The highest token of a gene.
    pub bins: u8,
    /// The token that masks another.
    pub mask: u8,
    /// The number of tokens.
    pub classes: usize,
    /// The size of the vocabulary.
    pub genes: usize,
    /// The position of the last token, which belongs to no gene.
    pub trailing: usize,
    /// Whether genes whose token is zero are listed.
    pub zeros: Zeros,
}

/// How zeros are represented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Zeros {
    /// Every cell lists a token for every gene.
    Keep,
    /// A cell lists tokens only for the genes that it expresses.
    Drop,
}

impl About {
    /// Describes tokens from 0 to `bins` for this number of genes.
    pub fn new(bins: u8, genes: usize, zeros: Zeros) -> About {
        About { bins, mask: bins + 1, classes: usize::from(bins) + 2, genes, trailing: genes, zeros }
    }

    /// Writes the description and the vocabulary into an artifact.
    pub fn write(&self, folder: &Path, vocabulary: &[String]) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        disk::write(&folder.join(ABOUT), format!("{text}\n").as_bytes())?;
        genes::write(&folder.join(VOCABULARY), vocabulary)
    }

    /// Reads the description and the vocabulary.
    pub fn read(folder: &Path) -> Result<(About, Vec<String>)> {
        let path = folder.join(ABOUT);
        let about: About = serde_json::from_slice(&disk::read(&path)?)
            .with_context(|| format!("reading {}", path.display()))?;
        let vocabulary = genes::read(&folder.join(VOCABULARY))?;
        let expected = About::new(about.bins.min(u8::MAX - 1), vocabulary.len(), about.zeros);
        ensure!(about == expected, "{}: its numbers do not fit each other or the vocabulary", path.display());
        Ok((about, vocabulary))
    }
}

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

    /// Appends a cell. Prereq: `genes` and `tokens` have the same length.
    pub fn push(&mut self, id: &str, genes: &[u32], tokens: &[u8]) -> Result<()> {
        self.ids.push(id.to_owned());
        self.genes.extend_from_slice(genes);
        self.tokens.extend_from_slice(tokens);
        self.ends.push(
            i32::try_from(self.genes.len()).with_context(|| format!("cell `{id}` has too many tokens"))?,
        );
        if self.genes.len() >= TOKENS_PER_BATCH { self.write_batch() } else { Ok(()) }
    }

    /// Writes the remaining cells and closes the file.
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

/// Consecutive cells of the file.
pub struct TokenBatch {
    ids: StringArray,
    genes: ListArray,
    tokens: ListArray,
}

/// One cell: its id, the positions of its genes, and their tokens.
pub type Tokens<'a> = (&'a str, &'a [u32], &'a [u8]);

impl TokenBatch {
    /// The cells of the batch.
    pub fn cells(&self) -> impl Iterator<Item = Tokens<'_>> {
        let genes: &[u32] = self.genes.values().as_primitive::<UInt32Type>().values();
        let tokens: &[u8] = self.tokens.values().as_primitive::<UInt8Type>().values();
        (0..self.ids.len()).map(move |row| {
            let range = |list: &ListArray| {
                let ends = list.value_offsets();
                ends[row] as usize..ends[row + 1] as usize
            };
            (self.ids.value(row), &genes[range(&self.genes)], &tokens[range(&self.tokens)])
        })
    }
}

/// Reads cells batch by batch.
pub struct TokenReader {
    batches: Batches,
    cells: usize,
    about: About,
    path: PathBuf,
}

impl TokenReader {
    /// Opens the tokens of an artifact.
    pub fn open(folder: &Path, about: About) -> Result<TokenReader> {
        let path = folder.join(FILE);
        let groups = Groups::open(&path)?;
        let cells = (0..groups.count()).map(|group| groups.rows(group)).sum();
        Ok(TokenReader { batches: Batches::open(&path)?, cells, about, path })
    }

    /// The number of cells in the file.
    pub fn cells(&self) -> usize {
        self.cells
    }

    fn check(&self, batch: &RecordBatch) -> Result<TokenBatch> {
        let list = |name, of, in_words| {
            let column = column_as(batch, name, &DataType::List(item(of)), in_words, &self.path)?;
            Ok::<_, anyhow::Error>(column.as_list::<i32>().clone())
        };
        let batch = TokenBatch {
            ids: column_as(batch, "cell", &DataType::Utf8, "text", &self.path)?.as_string().clone(),
            genes: list("genes", DataType::UInt32, "lists of positions")?,
            tokens: list("tokens", DataType::UInt8, "lists of tokens")?,
        };
        if batch.ids.null_count() + batch.genes.null_count() + batch.tokens.null_count() > 0 {
            bail!("{}: a cell lacks its id, its genes or its tokens", self.path.display());
        }
        for (id, genes, tokens) in batch.cells() {
            let sound = genes.len() == tokens.len()
                && genes.is_sorted_by(|a, b| a < b)
                && genes.last().is_none_or(|last| *last as usize <= self.about.trailing)
                && tokens.iter().all(|token| *token <= self.about.bins);
            if !sound {
                bail!("{}: cell `{id}` has tokens that the vocabulary does not know", self.path.display());
            }
        }
        Ok(batch)
    }
}

impl Iterator for TokenReader {
    type Item = Result<TokenBatch>;

    fn next(&mut self) -> Option<Result<TokenBatch>> {
        let batch = self.batches.next()?;
        Some(batch.and_then(|batch| self.check(&batch)))
    }
}

/// The tokens of many cells in memory, 5 bytes for each non-zero token.
pub struct Corpus {
    /// The ids of the cells.
    pub ids: Vec<String>,
    /// How many tokens precede each cell, and the total.
    starts: Vec<usize>,
    genes: Vec<u32>,
    tokens: Vec<u8>,
    positions: usize,
}

impl Corpus {
    /// Reads an artifact. `batch_is_read` is called after each batch and may abort by returning an error.
    pub fn read(
        folder: &Path,
        about: About,
        mut batch_is_read: impl FnMut() -> Result<()>,
    ) -> Result<Corpus> {
        let mut corpus = Corpus {
            ids: Vec::new(),
            starts: vec![0],
            genes: Vec::new(),
            tokens: Vec::new(),
            positions: about.genes + 1,
        };
        for batch in TokenReader::open(folder, about)? {
            for (id, genes, tokens) in batch?.cells() {
                let expressed = genes.iter().zip(tokens).filter(|(_, token)| **token > 0);
                for (gene, token) in expressed {
                    corpus.genes.push(*gene);
                    corpus.tokens.push(*token);
                }
                corpus.ids.push(id.to_owned());
                corpus.starts.push(corpus.genes.len());
            }
            batch_is_read()?;
        }
        Ok(corpus)
    }

    /// The number of cells.
    pub fn cells(&self) -> usize {
        self.ids.len()
    }

    /// The non-zero tokens of a cell, with their positions.
    pub fn expressed(&self, cell: usize) -> impl Iterator<Item = (u32, u8)> {
        let range = self.starts[cell]..self.starts[cell + 1];
        self.genes[range.clone()].iter().copied().zip(self.tokens[range].iter().copied())
    }

    /// Appends the tokens of all positions of a cell, as a model takes them.
    pub fn append(&self, cell: usize, tokens: &mut Vec<u32>) {
        let start = tokens.len();
        tokens.resize(start + self.positions, 0);
        for (gene, token) in self.expressed(cell) {
            tokens[start + gene as usize] = u32::from(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{About, Corpus, FILE, TokenReader, TokenWriter, Zeros};

    #[test]
    fn cells_come_back_and_unlisted_genes_are_zero() {
        let folder = tempfile::tempdir().unwrap();
        let about = About::new(5, 3, Zeros::Drop);
        let names = ["A", "B", "C"].map(str::to_owned);
        about.write(folder.path(), &names).unwrap();
        let mut writer = TokenWriter::create(&folder.path().join(FILE)).unwrap();
        writer.push("a", &[1, 3], &[4, 0]).unwrap();
        writer.push("b", &[0, 1, 2, 3], &[1, 0, 5, 0]).unwrap();
        writer.finish().unwrap();
        assert_eq!(About::read(folder.path()).unwrap(), (about, names.to_vec()));
        let corpus = Corpus::read(folder.path(), about, || Ok(())).unwrap();
        let mut tokens = Vec::new();
        (0..corpus.cells()).for_each(|cell| corpus.append(cell, &mut tokens));
        assert_eq!(tokens, [0, 4, 0, 0, 1, 0, 5, 0]);
        assert_eq!(TokenReader::open(folder.path(), about).unwrap().cells(), 2);
        let fewer = About::new(4, 3, Zeros::Drop);
        let error = Corpus::read(folder.path(), fewer, || Ok(())).err().unwrap().to_string();
        assert!(error.ends_with("cell `b` has tokens that the vocabulary does not know"), "{error}");
    }
}
