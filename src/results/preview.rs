//! Previews a file for people: its schema and first rows, and a short summary of some kinds of content.

use crate::cell::Columns;
use crate::exhibit::{self, Exhibit, History, Layer};
use crate::metrics::{self, Metric};
use crate::output;
use crate::plot;
use crate::yardsticks;
use contract::disk::{self, fault};
use engine::error::Result;
use engine::text::number;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How much of a file is read if it is not a table.
const TEXT_BYTES: u64 = 1 << 16;
const LINE_CHARACTERS: usize = 160;
/// The width of a sparkline.
const SPARK_CHARACTERS: usize = 48;
/// The sorts of content that are summarised.
const GLANCES: [exhibit::Sort; 3] = [exhibit::Sort::History, exhibit::Sort::Links, exhibit::Sort::Layers];

/// The schema and first rows of a Parquet table, the layers of a model, or the first lines of a text; empty for
/// anything else.
pub fn file(path: &Path, rows: usize) -> Result<String> {
    let file = File::open(path).map_err(|error| fault("opening", path, error))?;
    // Damage is reported when the table itself is read.
    let glance = exhibit::of(path, &GLANCES).ok().flatten().filter(|_| rows > 0);
    if let Some(Exhibit::Layers(layers)) = glance {
        return Ok(model(&layers, rows));
    }
    if path.extension().is_some_and(|extension| extension == "parquet") {
        // A file named `.parquet` that cannot be read as Parquet gets one line with the reason.
        let columns = Columns::of(path);
        let shown = match &glance {
            Some(glance) => {
                table(file, &columns, 0).map(|about| about + &at_a_glance(glance, beside(path), rows))
            }
            None => table(file, &columns, rows),
        };
        return Ok(shown.unwrap_or_else(|error| format!("  not a readable table: {error}\n")));
    }
    text(file, path, rows)
}

/// The metrics in the same folder; what cannot be read there is told where it is shown itself.
fn beside(path: &Path) -> Vec<Metric> {
    let folder = path.parent().unwrap_or(path);
    let file = metrics::FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    file.and_then(|file| metrics::read(&file).ok()).unwrap_or_default()
}

fn at_a_glance(exhibit: &Exhibit, metrics: Vec<Metric>, rows: usize) -> String {
    match exhibit {
        Exhibit::History(history) => sparklines(history, &metrics),
        Exhibit::Links(links, all) => {
            let mut table = vec![["  ", "from", "to", "weight"].map(str::to_owned).to_vec()];
            for (i, (from, to, weight)) in links.iter().take(rows).enumerate() {
                table.push(vec![format!("  {}", i + 1), from.clone(), to.clone(), number(*weight)]);
            }
            format!("  the strongest of {all} links\n{}", output::table(&table))
        }
        _ => String::new(),
    }
}

/// One line for each column: a sparkline, its ends, its extremes, and what others reach.
fn sparklines(history: &History, metrics: &[Metric]) -> String {
    let History { along, steps, columns } = history;
    let mut table = Vec::new();
    for (name, values) in columns {
        let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let (Some(first), Some(last)) = (known.first(), known.last()) else { continue };
        let pairs = || steps.iter().zip(values).filter(|(_, value)| value.is_finite());
        let extreme = |sign: f64| pairs().min_by(|(_, a), (_, b)| (sign * **a).total_cmp(&(sign * **b)));
        let told = |what: &str, found: Option<(&f64, &f64)>| {
            found.map_or_else(String::new, |(at, value)| format!("{what} {} at {along} {at}", number(*value)))
        };
        table.push(vec![
            format!("  {name}"),
            plot::sparkline(&known, SPARK_CHARACTERS),
            format!("{} → {}", number(*first), number(*last)),
            told("least", extreme(1.0)),
            told("most", extreme(-1.0)),
            yardsticks::of(name, metrics)
                .iter()
                .map(|(other, value)| format!("{other} {}", number(*value)))
                .collect::<Vec<_>>()
                .join(", "),
        ]);
    }
    output::table(&table)
}

/// The layers of a model, and how large it is.
fn model(layers: &[Layer], rows: usize) -> String {
    let numbers: u64 = layers.iter().map(Layer::size).sum();
    let mut table = vec![["  layer", "shape", "numbers", "type"].map(str::to_owned).to_vec()];
    // A model is shown with all its layers unless only one line was asked for.
    let shown = layers.len().min(rows.max(1) * 40);
    for layer in &layers[..shown] {
        let shape: Vec<String> = layer.shape.iter().map(ToString::to_string).collect();
        let shape = if shape.is_empty() { "one number".to_owned() } else { shape.join(" × ") };
        table.push(vec![format!("  {}", layer.name), shape, grouped(layer.size()), layer.of.clone()]);
    }
    let more = layers.len() - shown;
    let more = if more > 0 { format!("  … {more} more\n") } else { String::new() };
    format!("  {} layers, {} numbers\n{}{more}", layers.len(), grouped(numbers), output::table(&table))
}

/// `1,234,567`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut shown = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

fn table(file: File, columns: &Columns, rows: usize) -> anyhow::Result<String> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let total = builder.metadata().file_metadata().num_rows();
    let schema = builder.schema().clone();
    let mut shown = format!("  {total} rows, {} columns\n", schema.fields().len());
    for field in schema.fields() {
        let null = if field.is_nullable() { ", may be null" } else { "" };
        writeln!(shown, "  {}: {}{null}", field.name(), field.data_type()).expect("a string takes all");
    }
    if rows > 0 {
        let batches = builder
            .with_limit(rows)
            .with_batch_size(rows)
            .build()?
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let shown_names = columns.shown(&names);
        let mut table = vec![shown_names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
        for batch in &batches {
            let cells =
                |row: usize| shown_names.iter().map(|name| columns.cell(batch, name, row).text()).collect();
            table.extend((0..batch.num_rows()).map(cells));
        }
        table.iter_mut().filter_map(|row| row.first_mut()).for_each(|cell| cell.insert_str(0, "  "));
        shown.push('\n');
        shown.push_str(&output::table(&table));
    }
    Ok(shown)
}

fn text(file: File, path: &Path, rows: usize) -> Result<String> {
    let mut bytes = Vec::new();
    let mut start = (&file).take(TEXT_BYTES);
    start.read_to_end(&mut bytes).map_err(|error| fault("reading", path, error))?;
    disk::close(file, path)?;
    // Reading a fixed number of bytes may have cut the last character in two.
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() + 4 > TEXT_BYTES as usize => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("it is valid up to there")
        }
        Err(_) => return Ok(String::new()),
    };
    let mut shown = String::new();
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().take(rows) {
        let clean: String =
            line.chars().filter(|c| !c.is_control() || *c == '\t').take(LINE_CHARACTERS).collect();
        writeln!(shown, "  | {clean}").expect("a string takes all");
    }
    if rows > 0 && lines.len() > rows {
        shown.push_str("  | …\n");
    }
    Ok(shown)
}
