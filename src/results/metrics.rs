//! The metrics in an artifact.
//!
//! `metrics.parquet` or `metrics.csv` has one row per metric: `metric`, `value` and, if known, `low` and
//! `high` (the limits of an interval) and `n` (how many things it was measured over). `metrics.json` maps names
//! to numbers; scripts usually write this one.

use anyhow::{Context, Result, anyhow, bail};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use contract::disk;
use data::table::{Batches, column_as};
use engine::store::Artifact;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The names of metrics files, in the order in which they are looked for.
pub const FILES: [&str; 3] = ["metrics.parquet", "metrics.csv", "metrics.json"];

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// `None` if it is undefined.
    pub value: Option<f64>,
    /// The limits of its interval.
    pub interval: Option<(f64, f64)>,
    /// How many things it was measured over.
    pub count: Option<i64>,
}

/// The metrics file of an artifact, if it has one.
pub fn find(artifact: &Artifact) -> Option<PathBuf> {
    artifact.first_of(&FILES)
}

/// Reads the file that [`find`] found.
pub fn read(path: &Path) -> Result<Vec<Metric>> {
    let metrics = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => read_parquet(path)?,
        Some("csv") => read_csv(&text(path)?).with_context(|| format!("reading {}", path.display()))?,
        _ => read_json(&text(path)?).with_context(|| format!("reading {}", path.display()))?,
    };
    for (i, metric) in metrics.iter().enumerate() {
        if metrics[..i].iter().any(|before| before.name == metric.name) {
            bail!("{}: the metric `{}` is there twice", path.display(), metric.name);
        }
    }
    Ok(metrics)
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(disk::read(path)?).with_context(|| format!("reading {}", path.display()))
}

fn read_parquet(path: &Path) -> Result<Vec<Metric>> {
    let batches = Batches::open(path)?;
    let schema = batches.schema();
    let mut metrics = Vec::new();
    for batch in batches {
        let batch = batch?;
        let required = |name, of: &DataType, in_words| -> Result<ArrayRef> {
            column_as(&batch, name, of, in_words, path)
        };
        let optional = |name: &str, of: &DataType| -> Result<Option<ArrayRef>> {
            let there = schema.column_with_name(name).is_some();
            there.then(|| column_as(&batch, name, of, "numbers", path)).transpose()
        };
        let names = required("metric", &DataType::Utf8, "text")?;
        let values = required("value", &DataType::Float64, "numbers")?;
        let (low, high) = (optional("low", &DataType::Float64)?, optional("high", &DataType::Float64)?);
        let counts = optional("n", &DataType::Int64)?;
        let float = |column: &ArrayRef, row: usize| {
            let value = column.as_primitive::<Float64Type>().value(row);
            (column.is_valid(row) && value.is_finite()).then_some(value)
        };
        for row in 0..batch.num_rows() {
            if names.is_null(row) {
                bail!("{}: row {row} names no metric", path.display());
            }
            metrics.push(Metric {
                name: names.as_string::<i32>().value(row).to_owned(),
                value: float(&values, row),
                interval: low
                    .as_ref()
                    .zip(high.as_ref())
                    .and_then(|(low, high)| float(low, row).zip(float(high, row))),
                count: counts
                    .as_ref()
                    .filter(|counts| counts.is_valid(row))
                    .map(|counts| counts.as_primitive::<Int64Type>().value(row)),
            });
        }
    }
    Ok(metrics)
}

/// Splits at commas only: names of metrics contain neither commas nor quotes.
fn read_csv(text: &str) -> Result<Vec<Metric>> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let (_, heading) = lines.next().ok_or_else(|| anyhow!("is empty"))?;
    let cell = |text: &str| text.trim().trim_matches('"').to_owned();
    let heading: Vec<String> = heading.split(',').map(cell).collect();
    let column = |name: &str| heading.iter().position(|column| column == name);
    let needed = |name: &str| {
        column(name).ok_or_else(|| anyhow!("has no column `{name}`, only `{}`", heading.join("`, `")))
    };
    let (name, value) = (needed("metric")?, needed("value")?);
    let (low, high, count) = (column("low"), column("high"), column("n"));
    let mut metrics = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<String> = line.split(',').map(cell).collect();
        let number_at = |column: Option<usize>| -> Result<Option<f64>> {
            match column.and_then(|column| cells.get(column)).map(String::as_str) {
                None | Some("" | "NA" | "NaN" | "nan") => Ok(None),
                Some(text) => {
                    let value: f64 =
                        text.parse().map_err(|_| anyhow!("line {}: {text:?} is no number", number + 1))?;
                    Ok(Some(value).filter(|value| value.is_finite()))
                }
            }
        };
        metrics.push(Metric {
            name: cells
                .get(name)
                .filter(|name| !name.is_empty())
                .cloned()
                .ok_or_else(|| anyhow!("line {}: names no metric", number + 1))?,
            value: number_at(Some(value))?,
            interval: number_at(low)?.zip(number_at(high)?),
            count: number_at(count)?.map(|count| count as i64),
        });
    }
    Ok(metrics)
}

fn read_json(text: &str) -> Result<Vec<Metric>> {
    let map: Map<String, Value> = serde_json::from_str(text).context("expected a map of names to numbers")?;
    let metric = |(name, value): (String, Value)| match value {
        Value::Null => Ok(Metric { name, value: None, interval: None, count: None }),
        Value::Number(number) => Ok(Metric { name, value: number.as_f64(), interval: None, count: None }),
        other => bail!("`{name}` is no number: {other}"),
    };
    map.into_iter().map(metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_and_json_of_scripts_are_read() {
        let plain = |name: &str, value| Metric { name: name.into(), value, interval: None, count: None };
        let csv = "metric,value,low,high,n\nauroc,0.7,0.6,0.8,12\n\"loss\",NA,,,\n";
        let auroc = Metric { interval: Some((0.6, 0.8)), count: Some(12), ..plain("auroc", Some(0.7)) };
        assert_eq!(read_csv(csv).unwrap(), [auroc, plain("loss", None)]);
        let json = r#"{"auroc": 0.5, "loss": null, "epochs": 3}"#;
        let expected = [plain("auroc", Some(0.5)), plain("loss", None), plain("epochs", Some(3.0))];
        assert_eq!(read_json(json).unwrap(), expected);
    }

    #[test]
    fn what_is_no_number_is_named() {
        let error = |text| read_csv(text).unwrap_err().to_string();
        assert_eq!(error("metric,value\nauroc,high\n"), "line 2: \"high\" is no number");
        assert_eq!(error("name,value\n"), "has no column `metric`, only `name`, `value`");
        assert_eq!(read_json("{\"a\": \"b\"}").unwrap_err().to_string(), "`a` is no number: \"b\"");
    }
}
