//! What a file holds that can be shown. This is recognised by its columns, whatever program wrote it.
//!
//! | columns | exhibit |
//! |---|---|
//! | text, `x`, `y` | curves |
//! | `step`, `epoch`, `batch` or `iteration`, and numbers | a history |
//! | text, text called `predicted`, whole number | a confusion matrix |
//! | text, text, one fraction called `share` | how evenly weight is distributed: the mean share of each name |
//! | text, text, another fraction | links, each with a weight |
//! | text, list of fractions | vectors |
//! | text, text | labels |
//! | text, one fraction | weights |
//! | text, numbers with two fractions or more among them | measures of each of many |
//! | a `.safetensors` file | layers |

mod layers;

pub use layers::Layer;

use anyhow::{Context, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Schema};
use data::table::Batches;
use indexmap::{IndexMap, IndexSet};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Names of the column that a history is indexed by.
const STEPS: [&str; 4] = ["step", "epoch", "batch", "iteration"];
/// Larger tables are not shown: reading them would take longer than looking at the figure.
const MOST_ROWS: usize = 4_000_000;
const MOST_VECTORS: usize = 3_000;
/// Only the strongest links are kept.
const MOST_LINKS: usize = 500;
/// Something to show.
pub enum Exhibit {
    /// Points by the name of their curve.
    Curves(IndexMap<String, Vec<(f64, f64)>>),
    /// Columns indexed by the steps of something that took time.
    History(History),
    /// The strongest links, strongest first, and the total number of links.
    Links(Vec<(String, String, f64)>, usize),
    /// Names and vectors: at most some thousands, evenly sampled.
    Vectors(Vec<String>, Vec<Vec<f32>>),
    /// One label for each name.
    Labels(Vec<(String, String)>),
    /// One weight for each name.
    Weights(Vec<(String, f64)>),
    /// Columns of numbers, one for each name.
    Measures(Vec<String>, IndexMap<String, Vec<f64>>),
    /// Names, and for each how many of it were taken for which.
    Confusion(Vec<String>, Vec<Vec<f64>>),
    /// The layers of a model: name, shape and type of number.
    Layers(Vec<Layer>),
}

/// What an exhibit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// [`Exhibit::Curves`].
    Curves,
    /// [`Exhibit::History`].
    History,
    /// [`Exhibit::Links`].
    Links,
    /// [`Exhibit::Vectors`].
    Vectors,
    /// [`Exhibit::Labels`].
    Labels,
    /// [`Exhibit::Weights`].
    Weights,
    /// [`Exhibit::Weights`], as means of shares.
    Shares,
    /// [`Exhibit::Measures`].
    Measures,
    /// [`Exhibit::Confusion`].
    Confusion,
    /// [`Exhibit::Layers`].
    Layers,
}

/// Every sort.
pub const ALL: [Sort; 10] = [
    Sort::Curves,
    Sort::History,
    Sort::Links,
    Sort::Vectors,
    Sort::Labels,
    Sort::Weights,
    Sort::Shares,
    Sort::Measures,
    Sort::Confusion,
    Sort::Layers,
];

/// What was recorded during training or fitting.
pub struct History {
    /// The column that it is indexed by.
    pub along: String,
    /// The values of that column.
    pub steps: Vec<f64>,
    /// What was measured; NaN where a value is missing.
    pub columns: IndexMap<String, Vec<f64>>,
}

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Text,
    Whole,
    Fraction,
    Fractions,
    Other,
}

fn holds(schema: &Schema) -> Vec<Holds> {
    let of = |of: &DataType| match of {
        DataType::Utf8 | DataType::LargeUtf8 => Holds::Text,
        of if of.is_integer() => Holds::Whole,
        of if of.is_floating() => Holds::Fraction,
        DataType::List(item) if item.data_type().is_floating() => Holds::Fractions,
        _ => Holds::Other,
    };
    schema.fields().iter().map(|field| of(field.data_type())).collect()
}

/// What a file can show, if that is one of the wanted sorts; an error if the file should be readable but is not.
/// If it is not wanted, only the footer is read.
pub fn of(path: &Path, wanted: &[Sort]) -> Result<Option<Exhibit>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => of_table(path, wanted),
        Some("safetensors") if wanted.contains(&Sort::Layers) => {
            Ok(Some(Exhibit::Layers(layers::read(path)?)))
        }
        _ => Ok(None),
    }
}

fn of_table(path: &Path, wanted: &[Sort]) -> Result<Option<Exhibit>> {
    let batches = Batches::open(path)?;
    match sort(&batches.schema()).filter(|sort| wanted.contains(sort)) {
        Some(Sort::Curves) => curves(batches).map(Some),
        Some(Sort::History) => history(batches).map(Some),
        Some(Sort::Links) => links(batches),
        Some(Sort::Vectors) => vectors(batches).map(Some),
        Some(Sort::Labels) => labels(batches),
        Some(Sort::Weights) => weights(batches),
        Some(Sort::Shares) => shares(batches),
        Some(Sort::Measures) => measures(batches),
        Some(Sort::Confusion) => confusion(batches),
        Some(Sort::Layers) | None => Ok(None),
    }
}

fn sort(schema: &Schema) -> Option<Sort> {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let kinds = holds(schema);
    let numbers = |kind: &Holds| matches!(kind, Holds::Whole | Holds::Fraction);
    let fractions = kinds.iter().filter(|kind| **kind == Holds::Fraction).count();
    match kinds[..] {
        [Holds::Text, _, _] if names[1..] == ["x", "y"] => Some(Sort::Curves),
        _ if names.iter().any(|name| STEPS.contains(name)) && kinds.iter().any(numbers) => {
            Some(Sort::History)
        }
        // Metrics are shown elsewhere, in the comparison.
        [Holds::Text, ..] if names[0] == "metric" => None,
        [Holds::Text, Holds::Text, Holds::Whole] if names[1] == "predicted" => Some(Sort::Confusion),
        [Holds::Text, Holds::Text, Holds::Fraction] if names[2] == "share" => Some(Sort::Shares),
        [Holds::Text, Holds::Text, Holds::Fraction] => Some(Sort::Links),
        [Holds::Text, Holds::Fractions] => Some(Sort::Vectors),
        [Holds::Text, Holds::Text] => Some(Sort::Labels),
        [Holds::Text, Holds::Fraction] => Some(Sort::Weights),
        [Holds::Text, ref rest @ ..] if fractions > 1 && rest.iter().all(numbers) => Some(Sort::Measures),
        _ => None,
    }
}

fn floats(batch: &RecordBatch, column: usize) -> Result<Vec<f64>> {
    let column: ArrayRef = cast(batch.column(column), &DataType::Float64).context("reading numbers")?;
    let numbers = column.as_primitive::<Float64Type>();
    Ok((0..numbers.len())
        .map(|row| if numbers.is_valid(row) { numbers.value(row) } else { f64::NAN })
        .collect())
}

fn texts(batch: &RecordBatch, column: usize) -> Result<Vec<String>> {
    let column = cast(batch.column(column), &DataType::Utf8).context("reading text")?;
    Ok(column.as_string::<i32>().iter().map(|text| text.unwrap_or_default().to_owned()).collect())
}

fn curves(batches: Batches) -> Result<Exhibit> {
    let mut curves: IndexMap<String, Vec<(f64, f64)>> = IndexMap::new();
    for batch in batches {
        let batch = batch?;
        let points = floats(&batch, 1)?.into_iter().zip(floats(&batch, 2)?);
        for (name, point) in texts(&batch, 0)?.into_iter().zip(points) {
            curves.entry(name).or_default().push(point);
        }
    }
    Ok(Exhibit::Curves(curves))
}

fn history(batches: Batches) -> Result<Exhibit> {
    let schema = batches.schema();
    let kinds = holds(&schema);
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let along = STEPS.iter().find_map(|step| names.iter().position(|name| name == step)).unwrap_or(0);
    let mut history = History { along: names[along].clone(), steps: Vec::new(), columns: IndexMap::new() };
    for batch in batches {
        let batch = batch?;
        history.steps.extend(floats(&batch, along)?);
        for (column, name) in names.iter().enumerate() {
            // Whole numbers are counters, such as epochs or examples.
            if column != along && kinds[column] == Holds::Fraction {
                history.columns.entry(name.clone()).or_default().extend(floats(&batch, column)?);
            }
        }
    }
    Ok(Exhibit::History(history))
}

fn links(batches: Batches) -> Result<Option<Exhibit>> {
    let mut kept: Vec<(String, String, f64)> = Vec::new();
    let (mut rows, mut weakest) = (0, 0.0);
    let strongest_first = |kept: &mut Vec<(String, String, f64)>| {
        kept.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()).then_with(|| (&a.0, &a.1).cmp(&(&b.0, &b.1))));
        kept.truncate(MOST_LINKS);
    };
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > MOST_ROWS {
            return Ok(None);
        }
        let weights = floats(&batch, 2)?;
        let [from, to] = [0, 1].map(|column| cast(batch.column(column), &DataType::Utf8));
        let (from, to) = (from?, to?);
        let (from, to) = (from.as_string::<i32>(), to.as_string::<i32>());
        for (row, weight) in weights.into_iter().enumerate() {
            if weight.is_finite() && weight.abs() >= weakest {
                kept.push((from.value(row).to_owned(), to.value(row).to_owned(), weight));
            }
        }
        if kept.len() > 8 * MOST_LINKS {
            strongest_first(&mut kept);
            weakest = kept.last().map_or(0.0, |link| link.2.abs());
        }
    }
    strongest_first(&mut kept);
    Ok(Some(Exhibit::Links(kept, rows)))
}

fn vectors(batches: Batches) -> Result<Exhibit> {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    let (mut every, mut row) = (1, 0usize);
    for batch in batches {
        let batch = batch?;
        let lists = batch.column(1).as_list_opt::<i32>().context("reading vectors")?;
        for (i, name) in texts(&batch, 0)?.into_iter().enumerate() {
            if row.is_multiple_of(every) {
                let numbers = cast(&lists.value(i), &DataType::Float32).context("reading vectors")?;
                names.push(name);
                values.push(numbers.as_primitive::<arrow::datatypes::Float32Type>().values().to_vec());
            }
            row += 1;
            if names.len() > MOST_VECTORS {
                every *= 2;
                let mut places = 0..names.len();
                names.retain(|_| places.next().is_some_and(|place| place % 2 == 0));
                let mut places = 0..values.len();
                values.retain(|_| places.next().is_some_and(|place| place % 2 == 0));
            }
        }
    }
    Ok(Exhibit::Vectors(names, values))
}

/// Collects what `read` extracts from each batch; `None` if the table is too long.
fn rows<T>(batches: Batches, mut read: impl FnMut(&RecordBatch) -> Result<Vec<T>>) -> Result<Option<Vec<T>>> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(read(&batch?)?);
        if rows.len() > MOST_ROWS / 8 {
            return Ok(None);
        }
    }
    Ok(Some(rows))
}

fn labels(batches: Batches) -> Result<Option<Exhibit>> {
    let rows = rows(batches, |batch| Ok(texts(batch, 0)?.into_iter().zip(texts(batch, 1)?).collect()))?;
    Ok(rows.map(Exhibit::Labels))
}

fn weights(batches: Batches) -> Result<Option<Exhibit>> {
    let rows = rows(batches, |batch| Ok(texts(batch, 0)?.into_iter().zip(floats(batch, 1)?).collect()))?;
    Ok(rows.map(Exhibit::Weights))
}

/// The mean share of each name in the second column, averaged over the names in the first.
fn shares(batches: Batches) -> Result<Option<Exhibit>> {
    let mut sums: HashMap<String, f64> = HashMap::new();
    let mut dividing: HashSet<String> = HashSet::new();
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows();
        if rows > MOST_ROWS {
            return Ok(None);
        }
        let [from, to] = [0, 1].map(|column| cast(batch.column(column), &DataType::Utf8));
        let (from, to) = (from?, to?);
        let (from, to) = (from.as_string::<i32>(), to.as_string::<i32>());
        for (row, share) in floats(&batch, 2)?.into_iter().enumerate().filter(|(_, share)| share.is_finite())
        {
            if !dividing.contains(from.value(row)) {
                dividing.insert(from.value(row).to_owned());
            }
            match sums.get_mut(to.value(row)) {
                Some(sum) => *sum += share,
                None => drop(sums.insert(to.value(row).to_owned(), share)),
            }
        }
    }
    let mut means: Vec<(String, f64)> =
        sums.into_iter().map(|(name, sum)| (name, sum / dividing.len().max(1) as f64)).collect();
    means.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(Exhibit::Weights(means)))
}

/// `None` if there are more names than a drawing can show.
fn confusion(batches: Batches) -> Result<Option<Exhibit>> {
    const MOST_NAMES: usize = 60;
    let rows = rows(batches, |batch| {
        let pairs = texts(batch, 0)?.into_iter().zip(texts(batch, 1)?);
        Ok(pairs.zip(floats(batch, 2)?).collect())
    })?;
    let rows: Vec<((String, String), f64)> = rows.unwrap_or_default();
    let names: IndexSet<&String> = rows.iter().flat_map(|((of, said), _)| [of, said]).collect();
    if names.is_empty() || names.len() > MOST_NAMES {
        return Ok(None);
    }
    let mut counts = vec![vec![0.0; names.len()]; names.len()];
    let place = |name: &String| names.get_index_of(name).unwrap_or(0);
    rows.iter().for_each(|((of, said), count)| counts[place(of)][place(said)] += count);
    Ok(Some(Exhibit::Confusion(names.into_iter().cloned().collect(), counts)))
}

fn measures(batches: Batches) -> Result<Option<Exhibit>> {
    let schema = batches.schema();
    let kinds = holds(&schema);
    let mut columns: IndexMap<String, Vec<f64>> = IndexMap::new();
    let names = rows(batches, |batch| {
        for (column, field) in
            schema.fields().iter().enumerate().filter(|(column, _)| kinds[*column] == Holds::Fraction)
        {
            columns.entry(field.name().clone()).or_default().extend(floats(batch, column)?);
        }
        texts(batch, 0)
    })?;
    Ok(names.map(|names| Exhibit::Measures(names, columns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_confusion_matrix_has_a_row_for_each_name_and_a_network_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, columns: [&str; 3]| {
            let text = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
            let counts: ArrayRef = Arc::new(Int64Array::from(vec![3, 1, 0, 2]));
            let texts = [text(&["T", "T", "B", "B"]), text(&["T", "B", "T", "B"])];
            let path = folder.path().join(file);
            data::table::write(&path, columns.into_iter().zip(texts.into_iter().chain([counts])).collect())
                .unwrap();
            of(&path, &ALL).unwrap()
        };
        let found = write("a.parquet", ["type", "predicted", "cells"]);
        let Some(Exhibit::Confusion(names, counts)) = found else { panic!("no confusion matrix") };
        assert_eq!((names, counts), (vec!["T".into(), "B".into()], vec![vec![3.0, 1.0], vec![0.0, 2.0]]));
        assert!(write("b.parquet", ["tf", "target", "sign"]).is_none());
    }
}
