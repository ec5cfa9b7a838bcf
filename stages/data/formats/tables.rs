//! The small tables beside a matrix: networks, pseudotimes, lists of genes.

use crate::lines::Lines;
use crate::network::{Added, Network};
use crate::pseudotime::Moment;
use crate::records::Records;
use anyhow::{Result, bail};
use std::path::Path;

/// Reads `Gene1,Gene2[,Type]`; returns how many edges were left out as duplicates or self loops.
pub fn network(path: &Path) -> Result<(Network, usize)> {
    let mut records = Records::open(path)?;
    let (tf, target) = (records.column("Gene1")?, records.column("Gene2")?);
    let sign = records.column("Type").ok();
    let mut network = Network::default();
    let mut left_out = 0;
    while records.advance()? {
        let record = records.record();
        let effect = match sign.map(|column| record.field(column).trim()) {
            None | Some("") => 0,
            Some("+") => 1,
            Some("-") => -1,
            Some(other) => bail!("{}: the type `{other}` is neither `+` nor `-`", records.place()),
        };
        let (tf, target) = (record.field(tf).trim(), record.field(target).trim());
        if tf.is_empty() || target.is_empty() {
            bail!("{} lacks the name of a gene", records.place());
        }
        left_out += usize::from(network.add(tf, target, effect) != Added::Kept);
    }
    Ok((network, left_out))
}

/// Reads BEELINE's pseudotimes: a column of cells, then a column `PseudoTime…` per lineage, `NA` where
/// a cell is not on it.
pub fn pseudotime(path: &Path) -> Result<Vec<Moment>> {
    let mut records = Records::open(path)?;
    let is_lineage = |column: &usize| records.header()[*column].starts_with("PseudoTime");
    let lineages: Vec<usize> = (1..records.header().len()).filter(is_lineage).collect();
    if lineages.is_empty() {
        bail!("{} has no column whose name begins with `PseudoTime`", records.place());
    }
    let mut moments = Vec::new();
    while records.advance()? {
        let record = records.record();
        for column in &lineages {
            let field = record.field(*column).trim();
            if field == "NA" || field.is_empty() {
                continue;
            }
            match field.parse::<f64>() {
                Ok(pseudotime) if pseudotime.is_finite() => {
                    let (cell, lineage) = (record.field(0).to_owned(), records.header()[*column].clone());
                    moments.push(Moment { cell, lineage, pseudotime });
                }
                _ => bail!("{}: the pseudotime `{field}` is no number", records.place()),
            }
        }
    }
    Ok(moments)
}

/// Reads the genes of GENELink's `Target.csv`, whose `index` must be the row.
pub fn genes_by_index(path: &Path) -> Result<Vec<String>> {
    let mut records = Records::open(path)?;
    let (gene, index) = (records.column("Gene")?, records.column("index")?);
    let mut genes = Vec::new();
    while records.advance()? {
        let record = records.record();
        if record.field(index).trim().parse() != Ok(genes.len()) {
            bail!(
                "{}: the index is `{}` where {} was expected",
                records.place(),
                record.field(index),
                genes.len()
            );
        }
        genes.push(record.field(gene).to_owned());
    }
    Ok(genes)
}

/// Reads a list of names, one per line.
pub fn list(path: &Path) -> Result<Vec<String>> {
    let mut lines = Lines::open(path)?;
    let mut names = Vec::new();
    while let Some(line) = lines.next_line()? {
        if !line.trim().is_empty() {
            names.push(line.trim().to_owned());
        }
    }
    Ok(names)
}

/// Reads `TF,Target,Label`, whose genes are indices below `genes`.
pub fn index_pairs(path: &Path, genes: usize) -> Result<Vec<(usize, usize, bool)>> {
    let mut records = Records::open(path)?;
    let columns = [records.column("TF")?, records.column("Target")?, records.column("Label")?];
    let mut pairs = Vec::new();
    while records.advance()? {
        let record = records.record();
        let [tf, target, label] = columns.map(|column| record.field(column).trim().parse::<usize>());
        match (tf, target, label) {
            (Ok(tf), Ok(target), Ok(label @ 0..=1)) if tf < genes && target < genes => {
                pairs.push((tf, target, label == 1));
            }
            _ => bail!("{} should be two indices below {genes} and a label, 0 or 1", records.place()),
        }
    }
    Ok(pairs)
}
