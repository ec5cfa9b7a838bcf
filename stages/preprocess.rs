//! `preprocess`: quality filters, normalisation, gene selection.

mod normalised;
mod selection;

use anyhow::{Result, bail};
use contract::bounds::{LARGEST, MOST, above_zero, within};
use contract::code;
use contract::disk;
use contract::stage::{Io, Kind, Mistake, Slot, Slots, Stage, Takes, Wires, always, sometimes};
use data::cells::passes::CellFile;
use data::cells::{self, CellBatch, CellWriter};
use data::genes;
use data::network::{self, Network};
use data::pseudotime;
use data::statistics::Moments;
use data::types;
use normalised::{LEFT_OUT, Normalised, Summary, sum};
use schemars::JsonSchema;
use selection::Selection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Preprocess>(
    "preprocess",
    "filters cells and genes, normalises, takes logarithms, selects genes, scales",
    Slots::Named(&[
        Slot { name: "data", about: "cells and genes", required: true, takes: cells::ARTIFACT },
        Slot {
            name: "tfs",
            about: "names of TFs, one a line; without it, the network's regulators",
            required: false,
            takes: Takes::File,
        },
    ]),
    code!(),
)
.makes(&[
    always(cells::FILE),
    always(genes::FILE),
    always("summary.json"),
    sometimes(network::FILE),
    sometimes(pseudotime::FILE),
    sometimes(types::FILE),
]);

/// Filters, normalisation, logarithm, selection and scaling, in this order; each step is optional.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Preprocess {
    /// Removes cells with fewer non-zero genes.
    min_genes: usize,
    /// Removes cells with a smaller total.
    min_counts: f64,
    /// Removes genes that are non-zero in fewer cells.
    min_cells: usize,
    /// The total that every cell is scaled to: a number, or `median` for the median of the cells' totals.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_sum: Option<TargetSum>,
    /// The base of the transformation log(1 + value), or `none`.
    log1p: Base,
    /// Keeps TFs that vary along pseudotime, and the most variable genes, as BEELINE does.
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<Selection>,
    /// Scales each gene to mean 0 and variance 1.
    scale: bool,
    /// Clips scaled values to this limit and its negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_value: Option<f64>,
}

/// The total that the values of a cell are scaled to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number or `median`")]
enum TargetSum {
    /// A fixed total.
    Number(f64),
    /// A total computed from the cells.
    Of(Median),
}

/// A total computed from the cells.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Median {
    /// The median of the cells' totals.
    Median,
}

/// The base of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Base {
    /// No logarithm.
    None,
    /// e.
    Natural,
    /// 2.
    Base2,
}

impl Default for Preprocess {
    fn default() -> Preprocess {
        Preprocess {
            min_genes: 0,
            min_counts: 0.0,
            min_cells: 0,
            target_sum: Some(TargetSum::Number(1e4)),
            log1p: Base::Natural,
            select: None,
            scale: false,
            max_value: None,
        }
    }
}

/// The cells and genes that pass the filters, and the total that cells are scaled to.
struct Kept {
    /// `None` if every cell passes.
    cells: Option<Vec<bool>>,
    genes: Vec<bool>,
    /// Whether every gene passes.
    all_genes: bool,
    target_sum: Option<f64>,
}

impl Kept {
    fn keeps(&self, cell: usize) -> bool {
        self.cells.as_ref().is_none_or(|cells| cells[cell])
    }

    /// The total of a cell.
    fn total(&self, genes: &[u32], values: &[f32]) -> f64 {
        if self.all_genes {
            return sum(values);
        }
        let pairs = genes.iter().zip(values).filter(|(gene, _)| self.genes[**gene as usize]);
        pairs.map(|(_, value)| f64::from(*value)).sum()
    }
}

fn count(kept: &[bool]) -> usize {
    kept.iter().filter(|kept| **kept).count()
}

impl Stage for Preprocess {
    fn check(&self, _wires: Wires<'_>) -> Result<(), Mistake> {
        within("min_genes", self.min_genes, 0..=MOST)?;
        within("min_counts", self.min_counts, 0.0..=LARGEST)?;
        within("min_cells", self.min_cells, 0..=MOST)?;
        if let Some(TargetSum::Number(sum)) = self.target_sum {
            above_zero("target_sum", sum, LARGEST)?;
        }
        if let Some(selection) = &self.select {
            selection.check()?;
        }
        above_zero("max_value", self.max_value.unwrap_or(1.0), LARGEST)
    }

    fn run(&self, io: &Io) -> Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let cells = CellFile::open(&data.join(cells::FILE), names.len())?;
        let kept = self.filter(io, &cells, names.len())?;
        let normalised = Normalised { io, preprocess: self, cells: &cells, kept: &kept };
        let selected = match &self.select {
            Some(selection) => selection.select(&normalised, &names)?,
            None => kept.genes.clone(),
        };
        if count(&selected) == 0 {
            bail!("no gene is left of {}: see `min_cells` and `select`", names.len());
        }
        let ids = self.write_cells(&normalised, &selected)?;
        let left: Vec<&str> =
            names.iter().zip(&selected).filter(|(_, kept)| **kept).map(|(name, _)| name.as_str()).collect();
        genes::write(&io.out(genes::FILE), &left)?;
        pass_on(io, data, &left.iter().copied().collect(), &ids)?;
        let before = kept.cells.as_ref().map_or(ids.len(), Vec::len);
        let (cells, genes) = ((before, ids.len()), (names.len(), count(&kept.genes), left.len()));
        io.note(format!("kept {} of {} cells and {} of {} genes", cells.1, cells.0, genes.2, genes.0));
        let summary = json!({
            "cells": {"before": cells.0, "after": cells.1},
            "genes": {"before": genes.0, "in_enough_cells": genes.1, "after": genes.2},
        });
        Ok(disk::write(&io.out("summary.json"), format!("{summary:#}\n").as_bytes())?)
    }
}

impl Preprocess {
    fn filter(&self, io: &Io, cells: &CellFile, genes: usize) -> Result<Kept> {
        let mut kept = Kept { cells: None, genes: vec![true; genes], all_genes: true, target_sum: None };
        if self.min_genes > 0 || self.min_counts != 0.0 || self.min_cells > 0 {
            let (cells, genes) = self.pass_filters(io, cells, genes)?;
            let all_genes = count(&genes) == genes.len();
            kept = Kept { cells: Some(cells), genes, all_genes, ..kept };
        }
        kept.target_sum = match self.target_sum {
            None => None,
            Some(TargetSum::Number(sum)) => Some(sum),
            Some(TargetSum::Of(Median::Median)) => Some(median_total(io, cells, &kept)?),
        };
        Ok(kept)
    }

    /// Decides for each cell and each gene whether it passes the filters.
    fn pass_filters(&self, io: &Io, cells: &CellFile, genes: usize) -> Result<(Vec<bool>, Vec<bool>)> {
        #[derive(Default)]
        struct Passed {
            cells: Vec<bool>,
            /// For each gene, the number of these cells in which it is non-zero.
            in_cells: Vec<usize>,
        }
        let add = |_, cells: &CellBatch, passed: &mut Passed| {
            passed.in_cells.resize(genes, 0);
            for (_, genes, values) in cells.cells() {
                // A limit of 0 disables the filter: scaled data may have negative totals.
                let enough = self.min_counts == 0.0 || sum(values) >= self.min_counts;
                let keep = genes.len() >= self.min_genes && enough;
                if keep {
                    genes.iter().for_each(|gene| passed.in_cells[*gene as usize] += 1);
                }
                passed.cells.push(keep);
            }
            Ok(())
        };
        let mut all = Passed { cells: Vec::new(), in_cells: vec![0; genes] };
        cells.fold_groups(add, |passed: Passed| {
            io.check_stop()?;
            all.cells.extend(passed.cells);
            all.in_cells.iter_mut().zip(passed.in_cells).for_each(|(all, more)| *all += more);
            Ok(())
        })?;
        if count(&all.cells) == 0 {
            bail!("no cell is left of {}: see `min_genes` and `min_counts`", all.cells.len());
        }
        Ok((all.cells, all.in_cells.iter().map(|count| *count >= self.min_cells).collect()))
    }

    /// Writes the remaining cells; returns their ids.
    fn write_cells(&self, normalised: &Normalised, selected: &[bool]) -> Result<HashSet<String>> {
        let scaling =
            if self.scale { Some(Scaling::new(normalised, selected, self.max_value)?) } else { None };
        let mut next = 0..;
        let new_index: Vec<u32> = selected
            .iter()
            .map(|kept| if *kept { next.next().unwrap_or(LEFT_OUT) } else { LEFT_OUT })
            .collect();
        let all: Vec<u32> = (0..count(selected) as u32).collect();
        let mut ids = HashSet::new();
        let mut writer = CellWriter::create(&normalised.io.out(cells::FILE))?;
        normalised.each_cell(&new_index, |id, genes, values| {
            ids.insert(id.to_owned());
            match &scaling {
                Some(scaling) => writer.push(id, &all, &scaling.apply(genes, values)),
                None => writer.push(id, genes, values),
            }
        })?;
        writer.finish()?;
        Ok(ids)
    }
}

fn median_total(io: &Io, cells: &CellFile, kept: &Kept) -> Result<f64> {
    let mut totals = Vec::new();
    let add = |first, cells: &CellBatch, totals: &mut Vec<f64>| {
        let kept_cells = cells.cells().enumerate().filter(|(index, _)| kept.keeps(first + index));
        totals.extend(kept_cells.map(|(_, (_, genes, values))| kept.total(genes, values)));
        Ok(())
    };
    cells.fold_groups(add, |more: Vec<f64>| {
        totals.extend(more);
        Ok(io.check_stop()?)
    })?;
    totals.retain(|total| *total > 0.0);
    totals.sort_unstable_by(f64::total_cmp);
    match totals.len() {
        0 => bail!("all cells are empty, so there is no median to scale them to"),
        odd if odd % 2 == 1 => Ok(totals[odd / 2]),
        even => Ok((totals[even / 2 - 1] + totals[even / 2]) / 2.0),
    }
}

/// Scales each gene to mean 0 and variance 1.
struct Scaling {
    /// Mean and standard deviation, by the new gene index.
    genes: Vec<(f64, f64)>,
    max_value: f64,
}

impl Scaling {
    fn new(normalised: &Normalised, selected: &[bool], max_value: Option<f64>) -> Result<Scaling> {
        let Summary { ids, moments, .. } = normalised.summary(&[])?;
        let of = |moments: &Moments| {
            let deviation = libm::sqrt(moments.variance(ids.len()));
            (moments.mean(ids.len()), if deviation == 0.0 { 1.0 } else { deviation })
        };
        let genes =
            moments.iter().zip(selected).filter(|(_, kept)| **kept).map(|(moments, _)| of(moments)).collect();
        Ok(Scaling { genes, max_value: max_value.unwrap_or(f64::INFINITY) })
    }

    /// The scaled values of all genes, including zeros.
    fn apply(&self, genes: &[u32], values: &[f32]) -> Vec<f32> {
        let scaled = |value: f64, (mean, deviation): (f64, f64)| {
            ((value - mean) / deviation).clamp(-self.max_value, self.max_value) as f32
        };
        let mut row: Vec<f32> = self.genes.iter().map(|gene| scaled(0.0, *gene)).collect();
        for (gene, value) in genes.iter().zip(values) {
            row[*gene as usize] = scaled(f64::from(*value), self.genes[*gene as usize]);
        }
        row
    }
}

/// Passes on the data's network, types and the like, for the genes and cells that remain.
fn pass_on(io: &Io, data: &Path, genes: &HashSet<&str>, ids: &HashSet<String>) -> Result<()> {
    let network = data.join(network::FILE);
    if network.exists() {
        let mut network = Network::read(&network)?;
        network.retain(|tf, target| genes.contains(tf) && genes.contains(target));
        network.write(&io.out(network::FILE))?;
    }
    let moments = data.join(pseudotime::FILE);
    if moments.exists() {
        let mut moments = pseudotime::read(&moments)?;
        moments.retain(|moment| ids.contains(&moment.cell));
        pseudotime::write(&io.out(pseudotime::FILE), &moments)?;
    }
    let types = data.join(types::FILE);
    if types.exists() {
        let mut types = types::read(&types)?;
        types.retain(|(cell, _)| ids.contains(cell));
        types::write(&io.out(types::FILE), &types)?;
    }
    Ok(())
}
