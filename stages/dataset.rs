//! `dataset`: reads expression data in the usual file formats.

use anyhow::{Context, Result, bail};
use contract::bounds::{not_blank, within};
use contract::code;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, always, sometimes};
use data::cells::{self, CellWriter};
use data::formats::{self, Beside, Choices, Format, Names, Orient, Sink};
use data::genes;
use data::names::{Matching, before_the_spreadsheet, is_barcode, is_ensembl};
use data::network;
use data::pseudotime;
use data::types;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Dataset>(
    "dataset",
    "reads expression data: h5ad, 10x, loom, BEELINE, GENELink, csv, Parquet",
    Slots::Named(&[
        Slot { name: "data", about: "the file or folder", required: true, takes: FOLDERS },
        Slot {
            name: "network",
            about: "a known network: `Gene1,Gene2[,Type]` or `TF,target`, with that header or without",
            required: false,
            takes: Takes::File,
        },
        Slot {
            name: "genes",
            about: "names of genes, one a line, that the data's names are brought to",
            required: false,
            takes: Takes::File,
        },
        Slot {
            name: "types",
            about: "a table of cells with their types, for data without columns of cells: csv, tsv, Parquet",
            required: false,
            takes: Takes::File,
        },
    ]),
    code!(),
)
.makes(&[
    sometimes(cells::FILE),
    always(genes::FILE),
    sometimes(network::FILE),
    sometimes(pseudotime::FILE),
    sometimes(types::FILE),
]);

/// Folders whose format can be detected.
const FOLDERS: Takes = Takes::OneOf(&[
    &[cells::FILE, genes::FILE],
    &["ExpressionData.csv"],
    &["BL--network.csv"],
    &["BL--ExpressionData.csv"],
    &["matrix.mtx"],
    &["matrix.mtx.gz"],
]);

/// Reads expression data in a common format.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Dataset {
    /// The file format; detected from the content by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    /// Whether the rows of a text or Parquet matrix are cells or genes; this cannot be detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    orient: Option<Orient>,
    /// For h5ad and loom: `X`, `raw`, or the name of a layer.
    matrix: String,
    /// What genes are named by: in 10x by `symbol` or `id`, in h5ad and loom by a column of theirs, `{column: …}`.
    names: Names,
    /// Whether the values must be counts.
    values: Values,
    /// The base of the logarithm log(1 + x) that was taken of the values; x is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo_log1p: Option<Base>,
    /// The least share of the network's or the list's genes that the data must contain.
    least_matched: f64,
    /// Where the types of the cells are.
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<OfCells>,
}

/// The base of a logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Base {
    /// e.
    Natural,
    /// 2.
    Base2,
}

impl Base {
    /// The x of this log(1 + x).
    fn undo(self, value: f32) -> f32 {
        match self {
            Base::Natural => libm::expm1(f64::from(value)) as f32,
            Base::Base2 => libm::expm1(f64::from(value) * std::f64::consts::LN_2) as f32,
        }
    }
}

/// A column of cells.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OfCells {
    /// The column's name in `obs` (h5ad), in the attributes of cells (loom) or in the table in the input `types`.
    column: String,
}

/// The values that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Values {
    /// Any finite numbers.
    Any,
    /// Non-negative integers.
    Counts,
}

impl Default for Dataset {
    fn default() -> Dataset {
        Dataset {
            format: None,
            orient: None,
            matrix: "X".to_owned(),
            names: Names::Symbol,
            values: Values::Any,
            undo_log1p: None,
            least_matched: 0.5,
            types: None,
        }
    }
}

impl Stage for Dataset {
    fn check(&self, wires: Wires<'_>) -> Result<(), Mistake> {
        not_blank("matrix", &self.matrix)?;
        if let Names::Column(column) = &self.names {
            not_blank("names.column", column)?;
        }
        within("least_matched", self.least_matched, 0.0..=1.0)?;
        match &self.types {
            Some(OfCells { column }) => not_blank("types.column", column)?,
            None if wires.has("types") => {
                let message = "name the column that holds the types: `types: {column: …}`";
                return Err(Mistake::slot("types", message));
            }
            None => {}
        }
        types::check("types", wires)
    }

    fn leaves_out(&self) -> &'static [&'static str] {
        if self.types.is_some() { &[] } else { &[types::FILE] }
    }

    fn run(&self, io: &Io) -> Result<()> {
        let path = io.input("data")?;
        let format = self.format.map_or_else(|| formats::detect(path), Ok)?;
        let choices = Choices { orient: self.orient, matrix: self.matrix.clone(), names: self.names.clone() };
        // Before the matrix, so that a wrong column is reported at once.
        let types = self.types(io, path, format)?;
        let mut checked = Checked::new(io, path, self)?;
        let mut beside = formats::read(path, format, &choices, &mut checked)?;
        if let Some(network) = io.optional_input("network") {
            let Beside { network, left_out, .. } = formats::read_network(network)?;
            beside = Beside { network, left_out, ..beside };
        }
        let (mut names, ids) = checked.finish(beside.labels_only)?;
        self.bring_to_lists(io, &beside, &mut names, &ids, (path, format))?;
        genes::write(&io.out(genes::FILE), &names)?;
        write_network(io, beside.network, beside.left_out, &names)?;
        write_pseudotime(io, beside.pseudotime, &ids)?;
        types.map_or(Ok(()), |types| write_types(io, types, &ids))
    }
}

impl Dataset {
    /// The cells that have a type, with their types.
    fn types(&self, io: &Io, path: &Path, format: Format) -> Result<Option<Vec<(String, String)>>> {
        let Some(OfCells { column }) = &self.types else { return Ok(None) };
        match io.optional_input("types") {
            Some(table) => types::read_any(table, Some(column)).map(Some),
            None => types::known(formats::read_labels(path, format, column)?, path).map(Some),
        }
    }

    /// Renames genes to the spelling that the network or the list uses.
    fn bring_to_lists(
        &self,
        io: &Io,
        beside: &Beside,
        names: &mut [String],
        ids: &HashSet<String>,
        source: (&Path, Format),
    ) -> Result<()> {
        let mut known = HashSet::new();
        if let Some(path) = io.optional_input("genes") {
            let list = formats::read_list(path)?;
            let list: BTreeSet<&str> = list.iter().map(String::as_str).collect();
            self.bring_to(io, ("the list", &list), names, ids, source)?;
            known.extend(list.into_iter().map(str::to_owned));
        }
        if let Some(network) = &beside.network {
            let list: BTreeSet<&str> = network.edges().flat_map(|(tf, target, _)| [tf, target]).collect();
            self.bring_to(io, ("the network", &list), names, ids, source)?;
            known.extend(list.into_iter().map(str::to_owned));
        }
        let unexplained = |name: &&String| !before_the_spreadsheet(name).is_empty() && !known.contains(*name);
        let dates: Vec<&String> = names.iter().filter(unexplained).collect();
        if let Some(first) = dates.first() {
            io.warn(format!(
                "{} names of genes look like dates that a spreadsheet made of them, such as `{first}`",
                dates.len()
            ));
        }
        Ok(())
    }

    fn bring_to(
        &self,
        io: &Io,
        (what, list): (&str, &BTreeSet<&str>),
        names: &mut [String],
        ids: &HashSet<String>,
        source: (&Path, Format),
    ) -> Result<()> {
        let matching = Matching::new(names, list.iter().copied());
        let share = matching.matched() as f64 / list.len().max(1) as f64;
        let among_cells = list.iter().filter(|name| ids.contains(**name)).count();
        if among_cells > matching.matched() {
            bail!(
                "{among_cells} genes of {what} are among the names of the cells and {} among those of the genes; \
                 the matrix lies the other way round, see `orient`",
                matching.matched()
            );
        }
        if let Some(sentence) = matching.sentence(what) {
            if share < self.least_matched {
                bail!(
                    "{sentence}; at least {:.0} % must be there (`least_matched`){}",
                    self.least_matched * 100.0,
                    self.better_column(source, list, matching.matched())
                );
            }
            io.warn(sentence);
        }
        for (index, name) in matching.renamed {
            names[index] = name;
        }
        Ok(())
    }
}

impl Dataset {
    /// Names the column of genes that matches a list best, if one does better than the names in use.
    fn better_column(
        &self,
        (path, format): (&Path, Format),
        list: &BTreeSet<&str>,
        matched: usize,
    ) -> String {
        let columns = formats::gene_columns(path, format, &self.matrix).unwrap_or_default();
        let matched_by = |(name, values): (String, Vec<String>)| {
            (Matching::new(&values, list.iter().copied()).matched(), name)
        };
        let best = columns.into_iter().map(matched_by).max_by_key(|(matched, _)| *matched);
        best.filter(|(found, _)| *found > matched).map_or_else(String::new, |(found, name)| {
            format!(
                "; of the column `{name}` of genes {found} are: `names: {{column: {name}}}` takes those names"
            )
        })
    }
}

fn write_network(
    io: &Io,
    network: Option<network::Network>,
    left_out: usize,
    names: &[String],
) -> Result<()> {
    let Some(mut network) = network else { return Ok(()) };
    if left_out > 0 {
        io.warn(format!("left out {left_out} edges that are there twice or lead from a gene to itself"));
    }
    let known: HashSet<&str> = names.iter().map(String::as_str).collect();
    let all = network.len();
    network.retain(|tf, target| known.contains(tf) && known.contains(target));
    if network.len() < all {
        io.warn(format!("left out {} of {all} edges between genes that the data lacks", all - network.len()));
    }
    network.write(&io.out(network::FILE))
}

fn write_pseudotime(io: &Io, mut moments: Vec<pseudotime::Moment>, ids: &HashSet<String>) -> Result<()> {
    if moments.is_empty() {
        return Ok(());
    }
    let all = moments.len();
    moments.retain(|moment| ids.contains(&moment.cell));
    if moments.len() < all {
        io.warn(format!(
            "left out {} of {all} pseudotimes of cells that the data lacks",
            all - moments.len()
        ));
    }
    pseudotime::write(&io.out(pseudotime::FILE), &moments)
}

fn write_types(io: &Io, mut types: Vec<(String, String)>, ids: &HashSet<String>) -> Result<()> {
    let all = types.len();
    let first = types.first().map_or_else(String::new, |(cell, _)| cell.clone());
    types.retain(|(cell, _)| ids.contains(cell));
    if types.is_empty() {
        bail!("none of the {all} cells that have a type, such as `{first}`, is in the data");
    }
    if types.len() < all {
        io.warn(format!("left out {} of {all} types of cells that the data lacks", all - types.len()));
    }
    let names: BTreeSet<&str> = types.iter().map(|(_, of)| of.as_str()).collect();
    io.note(format!("{} of {} cells have one of {} types", types.len(), ids.len(), names.len()));
    types::write(&io.out(types::FILE), &types)
}

/// Writes cells as they are read, and rejects values that no expression data can have.
struct Checked<'a> {
    io: &'a Io,
    place: &'a Path,
    counts: bool,
    undo_log1p: Option<Base>,
    genes: Vec<String>,
    ids: HashSet<String>,
    writer: CellWriter,
    negative: u64,
    empty: bool,
}

impl<'a> Checked<'a> {
    fn new(io: &'a Io, place: &'a Path, dataset: &Dataset) -> Result<Checked<'a>> {
        let writer = CellWriter::create(&io.out(cells::FILE))?;
        let (counts, undo_log1p) = (dataset.values == Values::Counts, dataset.undo_log1p);
        let (genes, ids) = (Vec::new(), HashSet::new());
        Ok(Checked { io, place, counts, undo_log1p, genes, ids, writer, negative: 0, empty: true })
    }

    /// Finishes; returns the names of genes and cells.
    fn finish(self, labels_only: bool) -> Result<(Vec<String>, HashSet<String>)> {
        self.writer.finish()?;
        if labels_only {
            let path = self.io.out(cells::FILE);
            contract::disk::remove_file(&path)?;
            return Ok((self.genes, self.ids));
        }
        let place = self.place.display();
        if self.ids.is_empty() {
            bail!("{place}: has no cells");
        }
        if self.empty {
            bail!("{place}: all values are zero");
        }
        if self.ids.iter().filter(|id| is_ensembl(id)).count() * 2 > self.ids.len() {
            bail!(
                "{place}: the cells have names of genes; the matrix lies the other way round, see `orient`"
            );
        }
        if self.negative > 0 {
            self.io.warn(format!(
                "{} values are negative: this is scaled data; counts may be in another `matrix`, such as `raw`",
                self.negative
            ));
        }
        Ok((self.genes, self.ids))
    }

    fn check_value(&self, id: &str, gene: u32, value: f32) -> Result<()> {
        let place = || {
            let gene = self.genes.get(gene as usize).map_or("?", String::as_str);
            format!("{}: cell `{id}`, gene `{gene}`", self.place.display())
        };
        if !value.is_finite() {
            bail!("{}: the value is {value}, which is no number", place());
        }
        if self.counts && value < 0.0 {
            bail!("{}: the count is {value}, which is negative", place());
        }
        if self.counts && !is_count(value) {
            bail!(
                "{}: the count is {value}, which is no whole number; these may be normalised values",
                place()
            );
        }
        Ok(())
    }
}

/// Whether a value is a non-negative integer. Without calls or branches, because it runs on every value.
fn is_count(value: f32) -> bool {
    // From here on floats have no fractional part; adding it to a smaller float rounds to an integer.
    const WHOLE: f32 = (1 << (f32::MANTISSA_DIGITS - 1)) as f32;
    (value >= 0.0) & ((value >= WHOLE) | ((value + WHOLE) - WHOLE == value))
}

impl Sink for Checked<'_> {
    fn genes(&mut self, names: Vec<String>) -> Result<()> {
        let place = self.place.display();
        if names.is_empty() {
            bail!("{place}: has no genes");
        }
        if let Some(index) = names.iter().position(|name| name.trim().is_empty()) {
            bail!("{place}: gene {} has no name", index + 1);
        }
        let mut seen = HashSet::with_capacity(names.len());
        if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
            bail!(
                "{place}: the gene `{twice}` is there twice; of 10x files, `names: id` takes names that are unique"
            );
        }
        if names.iter().filter(|name| is_barcode(name)).count() * 2 > names.len() {
            let first = &names[0];
            bail!(
                "{place}: the genes have names of cells (`{first}`); the matrix lies the other way round, see `orient`"
            );
        }
        self.genes = names;
        Ok(())
    }

    fn cell(&mut self, id: &str, genes: &[u32], values: &[f32]) -> Result<()> {
        if self.ids.len().is_multiple_of(1024) {
            self.poll()?;
        }
        let undone: Option<Vec<f32>> =
            self.undo_log1p.map(|base| values.iter().map(|value| base.undo(*value)).collect());
        let values = undone.as_deref().unwrap_or(values);
        let (mut fine, mut negative, mut empty) = (true, 0, true);
        for value in values {
            fine &= value.is_finite() & (!self.counts | is_count(*value));
            negative += u32::from(*value < 0.0);
            empty &= *value == 0.0;
        }
        if !fine {
            for (gene, value) in genes.iter().zip(values) {
                self.check_value(id, *gene, *value)?;
            }
        }
        self.negative += u64::from(negative);
        self.empty &= empty;
        if id.trim().is_empty() {
            bail!("{}: cell {} has no name", self.place.display(), self.ids.len() + 1);
        }
        if !self.ids.insert(id.to_owned()) {
            bail!("{}: the cell `{id}` is there twice", self.place.display());
        }
        self.writer.push(id, genes, values).with_context(|| format!("cell `{id}`"))
    }

    fn warn(&mut self, text: String) {
        self.io.warn(text);
    }

    fn poll(&self) -> Result<()> {
        Ok(self.io.check_stop()?)
    }
}
