//! The small tables beside a matrix: networks, pseudotimes, lists of genes.

use crate::lines::Lines;
use crate::network::{Added, Network};
use crate::pseudotime::Moment;
use crate::records::Records;
use anyhow::{Result, bail};
use std::path::Path;

/// What the columns of a network are called, in lower case: those of regulators, of targets and of signs.
const REGULATOR: [&str; 4] = ["gene1", "tf", "regulator", "source"];
const TARGET: [&str; 3] = ["gene2", "target", "gene"];
const SIGN: [&str; 2] = ["type", "sign"];

/// Reads a network, `Gene1,Gene2[,Type]` or `TF,target`, with a header or without; returns how many edges were left
/// out as duplicates or self loops.
pub fn network(path: &Path) -> Result<(Network, usize)> {
    let mut records = Records::open(path)?;
    let mut network = Network::default();
    let mut left_out = 0;
    let mut add = |place: &dyn Fn() -> String, tf: &str, target: &str, sign: Option<&str>| -> Result<()> {
        let Some(effect) = effect(sign.unwrap_or_default()) else {
            bail!("{}: the type `{}` is neither `+` nor `-`", place(), sign.unwrap_or_default());
        };
        let (tf, target) = (tf.trim(), target.trim());
        if tf.is_empty() || target.is_empty() {
            bail!("{} lacks the name of a gene", place());
        }
        left_out += usize::from(network.add(tf, target, effect) != Added::Kept);
        Ok(())
    };
    let header = records.header().to_vec();
    let called =
        |names: &[&str]| header.iter().position(|name| names.contains(&name.to_lowercase().as_str()));
    let (tf, target, sign) = match (called(&REGULATOR), called(&TARGET), &header[..]) {
        (Some(tf), Some(target), _) => (tf, target, called(&SIGN)),
        (None, None, [tf, target]) => {
            add(&|| records.place(), tf, target, None)?;
            (0, 1, None)
        }
        (None, None, [tf, target, sign]) if effect(sign).is_some() => {
            add(&|| records.place(), tf, target, Some(sign))?;
            (0, 1, Some(2))
        }
        _ => bail!(
            "{}: line 1 names no columns `Gene1` and `Gene2`, or `TF` and `target`, only `{}`",
            path.display(),
            header.join("`, `")
        ),
    };
    while records.advance()? {
        let record = records.record();
        add(
            &|| records.place(),
            record.field(tf),
            record.field(target),
            sign.map(|column| record.field(column)),
        )?;
    }
    Ok((network, left_out))
}

/// What a type of regulation stands for; `None` if it is none.
fn effect(of: &str) -> Option<i8> {
    match of.trim() {
        "" => Some(0),
        "+" => Some(1),
        "-" => Some(-1),
        _ => None,
    }
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
