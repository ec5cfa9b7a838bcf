//! The folders of GENELink, whose labels are indices into the rows of the expression.

use super::{Beside, Orient, Sink, tables, text};
use crate::names::{before_the_spreadsheet, differ_by_a_date};
use anyhow::{Result, bail};
use std::path::Path;

/// Reads the expression and the network. Most published folders lack the expression: then the genes
/// are taken from `Target.csv`, and there are no cells.
pub fn read(path: &Path, sink: &mut dyn Sink) -> Result<Beside> {
    let (network, left_out) = tables::network(&path.join("BL--network.csv"))?;
    let beside = Beside { network: Some(network), left_out, ..Beside::default() };
    let targets = path.join("Target.csv");
    let indexed = if targets.exists() { Some(tables::genes_by_index(&targets)?) } else { None };
    let expression = path.join("BL--ExpressionData.csv");
    if expression.exists() {
        let mut checked = Checked { inner: sink, indexed, place: targets.display().to_string() };
        text::read(&expression, Orient::GenesByCells, &mut checked)?;
        return Ok(beside);
    }
    let Some(genes) = indexed else {
        bail!("{}: has neither `BL--ExpressionData.csv` nor `Target.csv`", path.display())
    };
    sink.genes(genes)?;
    sink.warn(
        "there is no `BL--ExpressionData.csv`: the labels can be used, but nothing that needs cells"
            .to_owned(),
    );
    Ok(Beside { labels_only: true, ..beside })
}

/// Checks that an index means the same gene in the labels as in the expression.
struct Checked<'a> {
    inner: &'a mut dyn Sink,
    indexed: Option<Vec<String>>,
    place: String,
}

impl Sink for Checked<'_> {
    fn genes(&mut self, mut names: Vec<String>) -> Result<()> {
        let Some(indexed) = &self.indexed else { return self.inner.genes(names) };
        let same = |(a, b): (&String, &String)| a == b || differ_by_a_date(a, b);
        let differs = indexed.iter().zip(&names).position(|pair| !same(pair));
        if let Some(differs) =
            differs.or((indexed.len() != names.len()).then(|| indexed.len().min(names.len())))
        {
            bail!("{}: the gene at index {differs} is not that of the expression's row", self.place);
        }
        let mut dates = Vec::new();
        for (own, indexed) in names.iter_mut().zip(indexed).filter(|(own, indexed)| own != indexed) {
            let (date, name) = if before_the_spreadsheet(own).is_empty() {
                (indexed, own.clone())
            } else {
                (&*own, indexed.clone())
            };
            dates.push(format!("`{date}` is `{name}`"));
            *own = name;
        }
        if !dates.is_empty() {
            self.inner.warn(format!("a spreadsheet made dates of names of genes: {}", dates.join(", ")));
        }
        self.inner.genes(names)
    }

    fn cell(&mut self, id: &str, genes: &[u32], values: &[f32]) -> Result<()> {
        self.inner.cell(id, genes, values)
    }

    fn warn(&mut self, text: String) {
        self.inner.warn(text);
    }

    fn poll(&self) -> Result<()> {
        self.inner.poll()
    }
}
