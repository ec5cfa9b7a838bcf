//! Reads somebody's vectors with the names of their rows.

use anyhow::{Context, Result, bail, ensure};
use contract::stage::{Io, Mistake, Wires};
use data::embeddings::{self, Embeddings};
use data::formats::{self, npy};
use data::genes;
use data::lines::{Lines, first_bytes};
use data::table::Table;
use data::tokens::VOCABULARY;
use learn::model::foreign::{self, Rows};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files of weights, whose rows have no names.
const WEIGHTS: [&str; 5] = ["pt", "pth", "bin", "safetensors", "npy"];
/// Tables, whose rows have names.
const TABLES: [&str; 6] = ["csv", "tsv", "txt", "gz", "parquet", "vec"];
/// The files of a folder that may hold the weights: scGPT's and Hugging Face's.
const IN_FOLDER: [&str; 3] = ["best_model.pt", "model.safetensors", "pytorch_model.bin"];

/// Vectors and the names of their rows.
pub struct Source {
    /// The row of each name.
    pub rows: BTreeMap<String, usize>,
    /// The length of a vector.
    pub dimensions: usize,
    /// All vectors, concatenated.
    pub values: Vec<f32>,
}

/// Refuses files whose names are neither those of tables nor those of weights with a vocabulary.
pub fn check(wires: Wires<'_>) -> Result<(), Mistake> {
    let extension = wires.file("weights").map(Path::new).and_then(Path::extension);
    // A folder may have any name and contains its own vocabulary.
    let Some(extension) = extension.and_then(|extension| extension.to_str()) else { return Ok(()) };
    if WEIGHTS.contains(&extension) && !wires.has("vocabulary") {
        let message = "weights do not say which genes they are of; give `vocab.json`, the token dictionary or a list \
                       in the input `vocabulary`";
        return Err(Mistake::slot("vocabulary", message));
    }
    if ["h5ad", "h5", "loom", "json", "pkl", "zip", "tar"].contains(&extension) {
        let message = format!(
            "`.{extension}` is no file of gene vectors: weights end in .{}, tables in .{}",
            WEIGHTS.join(", ."),
            TABLES.join(", .")
        );
        return Err(Mistake::slot("weights", message));
    }
    Ok(())
}

impl Source {
    /// Reads the inputs `weights` and `vocabulary`.
    pub fn read(io: &Io) -> Result<Source> {
        let path = io.input("weights")?;
        let given = io.optional_input("vocabulary");
        let source = if path.is_dir() { of_folder(path, given)? } else { of_file(path, given)? };
        let finite = source.values.iter().all(|value| value.is_finite());
        ensure!(finite, "{}: a vector holds what is no number", path.display());
        Ok(source)
    }

    fn named(names: Vec<String>, dimensions: usize, values: Vec<f32>) -> Source {
        let mut rows = BTreeMap::new();
        // Of rows with the same name the first counts.
        for (row, name) in names.into_iter().enumerate() {
            rows.entry(name).or_insert(row);
        }
        Source { rows, dimensions, values }
    }
}

fn of_folder(folder: &Path, given: Option<&Path>) -> Result<Source> {
    let vectors = folder.join(embeddings::FILE);
    if vectors.exists() {
        let Embeddings { names, dimensions, values } = Embeddings::read(&vectors)?;
        return Ok(Source::named(names, dimensions, values));
    }
    let found = IN_FOLDER.iter().map(|name| folder.join(name)).find(|path| path.exists());
    let weights = found.with_context(|| {
        format!("{}: has none of `{}`, `{}`", folder.display(), IN_FOLDER.join("`, `"), embeddings::FILE)
    })?;
    match given.map(Path::to_path_buf).or_else(|| vocabulary_in(folder)) {
        Some(vocabulary) => of_weights(foreign::table(&weights)?, &weights, &vocabulary),
        None => bail!(
            "{}: has no `vocab.json`, `token_dictionary….pkl` or list of genes; give one in the input `vocabulary`",
            folder.display()
        ),
    }
}

/// The file of a folder that names the rows.
fn vocabulary_in(folder: &Path) -> Option<PathBuf> {
    let usual = ["vocab.json", VOCABULARY, "vocab.txt"].map(|name| folder.join(name));
    usual.into_iter().find(|path| path.exists()).or_else(|| {
        // Geneformer's repository has it one level below.
        let folders = [folder.to_owned(), folder.join("geneformer")];
        let files = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
        let is_dictionary = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("token_dictionary") && name.ends_with(".pkl")
        };
        let mut found: Vec<PathBuf> = files.map(|entry| entry.path()).filter(is_dictionary).collect();
        found.sort();
        // Of several nobody can say which it is.
        if found.len() == 1 { found.pop() } else { None }
    })
}

fn of_file(path: &Path, given: Option<&Path>) -> Result<Source> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !WEIGHTS.contains(&extension) {
        return if first_bytes(path)?.starts_with(b"PAR1") { of_parquet(path) } else { of_text(path) };
    }
    let vocabulary =
        given.context("weights do not say which genes they are of; see the input `vocabulary`")?;
    if extension == "npy" {
        let array = npy::read(path)?;
        let [_, dimensions] = array.shape[..] else {
            bail!("{}: has the shape {:?}; a table of genes has two axes", path.display(), array.shape)
        };
        return of_weights(Rows { dimensions, values: array.floats() }, path, vocabulary);
    }
    of_weights(foreign::table(path)?, path, vocabulary)
}

/// Combines the table of a model with the names of its rows.
fn of_weights(table: Rows, path: &Path, vocabulary: &Path) -> Result<Source> {
    let count = table.count();
    let extension = vocabulary.extension().and_then(|extension| extension.to_str());
    let rows: BTreeMap<String, usize> = if vocabulary.is_file() && matches!(extension, Some("json" | "pkl")) {
        foreign::dictionary(vocabulary)?
    } else {
        let names = match vocabulary {
            folder if folder.is_dir() => genes::read(&folder.join(VOCABULARY))?,
            file if extension == Some("parquet") => genes::read(file)?,
            file => formats::read_list(file)?,
        };
        // The last row of scBERT's table belongs to no gene.
        if names.len() != count && names.len() + 1 != count {
            bail!(
                "{}: has {count} rows, and {} names {} genes",
                path.display(),
                vocabulary.display(),
                names.len()
            );
        }
        names.into_iter().zip(0..).collect()
    };
    if let Some((name, row)) = rows.iter().find(|(_, row)| **row >= count) {
        bail!("{}: has {count} rows, and {} has `{name}` in row {row}", path.display(), vocabulary.display());
    }
    Ok(Source { rows, dimensions: table.dimensions, values: table.values })
}

/// A column of text and columns of numbers, or a table of this program.
fn of_parquet(path: &Path) -> Result<Source> {
    let table = Table::open(path)?;
    if table.has("name") && table.has("values") {
        let Embeddings { names, dimensions, values } = Embeddings::read(path)?;
        return Ok(Source::named(names, dimensions, values));
    }
    let (texts, columns): (Vec<String>, Vec<String>) =
        table.columns().into_iter().partition(|name| table.strings(name).is_ok());
    let [text] = texts.as_slice() else {
        bail!("{}: should have one column of names and has {}", path.display(), texts.len())
    };
    let names: Vec<String> = table.strings(text)?.iter().flatten().map(str::to_owned).collect();
    let numbers = columns.iter().map(|column| table.floats(column)).collect::<Result<Vec<_>>>()?;
    let row = |row: usize| numbers.iter().map(move |column| column.value(row) as f32);
    let values = (0..names.len()).flat_map(row).collect();
    ensure!(!columns.is_empty(), "{}: has no numbers", path.display());
    Ok(Source::named(names, columns.len(), values))
}

/// Lines of a name and numbers, between commas, semicolons, tabs or blanks; with a header, with word2vec's line of two
/// counts, or with neither.
fn of_text(path: &Path) -> Result<Source> {
    let mut lines = Lines::open(path)?;
    let (mut names, mut values, mut dimensions) = (Vec::new(), Vec::new(), 0);
    let mut first = true;
    while let Some(line) = lines.next_line()? {
        let mut fields = line.split([',', ';', '\t', ' ']).filter(|field| !field.is_empty());
        let Some(name) = fields.next() else { continue };
        let numbers: Option<Vec<f32>> = fields.map(|field| field.trim_matches('"').parse().ok()).collect();
        let is_first = std::mem::take(&mut first);
        let counts = is_first && name.parse::<usize>().is_ok() && line.split_whitespace().count() == 2;
        if counts || is_first && numbers.is_none() {
            continue;
        }
        let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
            bail!("{} should be a name and numbers", lines.place());
        };
        if names.is_empty() {
            dimensions = numbers.len();
        }
        if numbers.len() != dimensions {
            bail!("{} has {} numbers where others have {dimensions}", lines.place(), numbers.len());
        }
        names.push(name.trim_matches('"').to_owned());
        values.extend(numbers);
    }
    ensure!(!names.is_empty(), "{}: has no vectors", path.display());
    Ok(Source::named(names, dimensions, values))
}

/// Reads pairs of names: a table of two columns, with a header or without, or a pickled dictionary.
pub fn pairs(path: &Path) -> Result<Vec<(String, String)>> {
    if path.extension().is_some_and(|extension| extension == "pkl") {
        return foreign::names(path);
    }
    if first_bytes(path)?.starts_with(b"PAR1") {
        let table = Table::open(path)?;
        let columns = table.columns();
        let [a, b] = columns.as_slice() else {
            bail!("{}: should have two columns and has {}", path.display(), columns.len())
        };
        let both = table.texts(a)?.into_iter().zip(table.texts(b)?);
        return Ok(both.filter_map(|(a, b)| Some((a?, b?))).collect());
    }
    let mut lines = Lines::open(path)?;
    let mut pairs = Vec::new();
    while let Some(line) = lines.next_line()? {
        let fields: Vec<&str> =
            line.split([',', ';', '\t']).map(|field| field.trim().trim_matches('"')).collect();
        let count = fields.len();
        if let [a, b] = fields[..] {
            if !a.is_empty() && !b.is_empty() {
                pairs.push((a.to_owned(), b.to_owned()));
            }
        } else if fields != [""] {
            bail!("{} should be a symbol and an Ensembl id, and has {count} fields", lines.place());
        }
    }
    Ok(pairs)
}
