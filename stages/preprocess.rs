//! `preprocess`: quality filters, normalisation, selection of genes.

mod selection;

use crate::code;
use crate::disk;
use crate::kit::cells::{self, CellBatch, CellFile, CellWriter};
use crate::kit::network::{self, Network};
use crate::kit::statistics::Moments;
use crate::kit::{genes, pseudotime, types};
use crate::stage::{Io, Kind, Slot, Slots, Stage};
use anyhow::{Result, bail};
use schemars::JsonSchema;
use selection::Selection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::path::Path;

/// Values that stay in memory from one pass over the cells to the next: 256 MiB.
const HELD_VALUES: usize = 1 << 25;

/// The kind itself.
pub const KIND: Kind = Kind::of::<Preprocess>(
    "preprocess",
    "filters cells and genes, normalises, takes logarithms, selects genes, scales",
    Slots::Named(&[
        Slot { name: "data", about: "cells and genes", required: true },
        Slot {
            name: "tfs",
            about: "names of TFs, one a line; without it, the network's regulators",
            required: false,
        },
    ]),
    code::PREPROCESS,
);

/// Filters, then normalisation, logarithm, selection, scaling: in this order, each only where it is asked for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Preprocess {
    /// Leaves out cells with fewer genes that are not zero.
    min_genes: usize,
    /// Leaves out cells with less in all.
    min_counts: f64,
    /// Leaves out genes that are not zero in fewer cells.
    min_cells: usize,
    /// What every cell is scaled to have in all: a number, or `median` for that of the cells.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_sum: Option<TargetSum>,
    /// Whether values become log(1 + value), to which base.
    log1p: Base,
    /// Keeps TFs that vary along pseudotime, with the genes that vary most, as BEELINE does.
    #[serde(skip_serializing_if = "Option::is_none")]
    select: Option<Selection>,
    /// Whether each gene is brought to mean 0 and variance 1.
    scale: bool,
    /// Clips scaled values above this, and below its negative.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_value: Option<f64>,
}

/// What the values of a cell should add up to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum TargetSum {
    /// This.
    Number(f64),
    /// What the cells have.
    Of(Median),
}

/// The middle one of the cells' sums.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Median {
    /// Half of the cells have more.
    Median,
}

/// The base of the logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Base {
    /// No logarithm is taken.
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

/// Which cells and genes pass the filters, and what the cells are scaled to.
struct Kept {
    /// Nothing where every cell passes.
    cells: Option<Vec<bool>>,
    genes: Vec<bool>,
    target_sum: Option<f64>,
}

impl Kept {
    fn keeps(&self, cell: usize) -> bool {
        self.cells.as_ref().is_none_or(|cells| cells[cell])
    }
}

fn count(kept: &[bool]) -> usize {
    kept.iter().filter(|kept| **kept).count()
}

impl Stage for Preprocess {
    fn run(&self, io: &Io) -> Result<()> {
        let data = io.input("data")?;
        let names = genes::read(&data.join(genes::FILE))?;
        let held_values = if self.select.is_some() || self.scale { HELD_VALUES } else { 0 };
        let cells = CellFile::open(&data.join(cells::FILE), names.len(), held_values)?;
        let source = Source { io, cells, genes: names.len() };
        let kept = self.filter(&source)?;
        let selected = match &self.select {
            Some(selection) => {
                selection.select(&Normalised { preprocess: self, source: &source, kept: &kept }, &names)?
            }
            None => kept.genes.clone(),
        };
        if count(&selected) == 0 {
            bail!("no gene is left of {}: see `min_cells` and `select`", names.len());
        }
        let normalised = Normalised { preprocess: self, source: &source, kept: &kept };
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
    fn filter(&self, source: &Source) -> Result<Kept> {
        let (cells, genes) = if self.min_genes == 0 && self.min_counts == 0.0 && self.min_cells == 0 {
            (None, vec![true; source.genes])
        } else {
            let (cells, genes) = self.pass_filters(source)?;
            (Some(cells), genes)
        };
        let mut kept = Kept { cells, genes, target_sum: None };
        kept.target_sum = match self.target_sum {
            None => None,
            Some(TargetSum::Number(sum)) if sum > 0.0 && sum.is_finite() => Some(sum),
            Some(TargetSum::Number(sum)) => bail!("`target_sum` is {sum}; give a number above 0"),
            Some(TargetSum::Of(Median::Median)) => Some(median_total(source, &kept)?),
        };
        Ok(kept)
    }

    /// Says of each cell and each gene whether it passes.
    fn pass_filters(&self, source: &Source) -> Result<(Vec<bool>, Vec<bool>)> {
        let mut cells = Vec::new();
        let mut in_cells = vec![0; source.genes];
        source.each_cell(|_, genes, values| {
            let total: f64 = values.iter().copied().map(f64::from).sum();
            // A limit of 0 is none: scaled data may add up to less.
            let enough = self.min_counts == 0.0 || total >= self.min_counts;
            let keep = genes.len() >= self.min_genes && enough;
            if keep {
                genes.iter().for_each(|gene| in_cells[*gene as usize] += 1);
            }
            cells.push(keep);
            Ok(())
        })?;
        if count(&cells) == 0 {
            bail!("no cell is left of {}: see `min_genes` and `min_counts`", cells.len());
        }
        let genes = in_cells.iter().map(|count| *count >= self.min_cells).collect();
        Ok((cells, genes))
    }

    /// Writes the cells that are left; returns their ids.
    fn write_cells(&self, normalised: &Normalised, selected: &[bool]) -> Result<HashSet<String>> {
        let scaling =
            if self.scale { Some(Scaling::new(normalised, selected, self.max_value)?) } else { None };
        let mut next = 0..;
        let new_index: Vec<Option<u32>> =
            selected.iter().map(|kept| if *kept { next.next() } else { None }).collect();
        let all: Vec<u32> = (0..count(selected) as u32).collect();
        let mut ids = HashSet::new();
        let mut writer = CellWriter::create(&normalised.source.io.out(cells::FILE))?;
        let (mut genes_left, mut values_left) = (Vec::new(), Vec::new());
        normalised.each_cell(selected, |id, genes, values| {
            genes_left.clear();
            values_left.clear();
            for (gene, value) in genes.iter().zip(values) {
                genes_left.extend(new_index[*gene as usize]);
                values_left.push(*value as f32);
            }
            ids.insert(id.to_owned());
            match &scaling {
                Some(scaling) => writer.push(id, &all, &scaling.apply(&genes_left, &values_left)),
                None => writer.push(id, &genes_left, &values_left),
            }
        })?;
        writer.finish()?;
        Ok(ids)
    }
}

/// The cells as they came.
struct Source<'a> {
    io: &'a Io,
    cells: CellFile,
    genes: usize,
}

impl Source<'_> {
    fn each_cell(&self, mut cell_is: impl FnMut(&str, &[u32], &[f32]) -> Result<()>) -> Result<()> {
        let take = |batch: &Option<CellBatch>| {
            self.io.check_stop()?;
            batch
                .iter()
                .flat_map(CellBatch::cells)
                .try_for_each(|(id, genes, values)| cell_is(id, genes, values))
        };
        let make = |_, batch: &CellBatch, made: &mut Option<CellBatch>| {
            *made = Some(batch.clone());
            Ok(())
        };
        self.cells.each_batch(make, take)
    }
}

/// The cells that are left, normalised and on a logarithmic scale.
struct Normalised<'a> {
    preprocess: &'a Preprocess,
    source: &'a Source<'a>,
    kept: &'a Kept,
}

impl Normalised<'_> {
    /// Gives each cell with its wanted genes. Prereq: these passed the filters.
    fn each_cell(
        &self,
        wanted: &[bool],
        mut cell_is: impl FnMut(&str, &[u32], &[f64]) -> Result<()>,
    ) -> Result<()> {
        let Normalised { preprocess, source, kept } = *self;
        source.cells.each_batch(
            |first, batch, left: &mut Left| preprocess.normalise(kept, wanted, first, batch, left),
            |left| {
                source.io.check_stop()?;
                let mut start = 0;
                for (id, end) in &left.ends {
                    cell_is(id, &left.genes[start..*end], &left.values[start..*end])?;
                    start = *end;
                }
                Ok(())
            },
        )
    }
}

/// What is left of a batch of cells.
#[derive(Default)]
struct Left {
    /// Ids, and where each cell ends.
    ends: Vec<(String, usize)>,
    genes: Vec<u32>,
    values: Vec<f64>,
}

impl Preprocess {
    /// Prereq: `first` is the index of the batch's first cell.
    fn normalise(
        &self,
        kept: &Kept,
        wanted: &[bool],
        first: usize,
        batch: &CellBatch,
        left: &mut Left,
    ) -> Result<()> {
        left.ends.clear();
        left.genes.clear();
        left.values.clear();
        let cells = batch.cells().enumerate().filter(|(index, _)| kept.keeps(first + index));
        for (_, (id, genes, values)) in cells {
            let start = left.genes.len();
            left.genes.resize(start + genes.len(), 0);
            left.values.resize(start + genes.len(), 0.0);
            let (mut end, mut total) = (start, 0.0);
            // Each is put down, and the next one over it if it is not wanted: which are, no processor foresees.
            for (gene, value) in genes.iter().zip(values) {
                let value = f64::from(*value);
                total += if kept.genes[*gene as usize] { value } else { 0.0 };
                left.genes[end] = *gene;
                left.values[end] = value;
                end += usize::from(wanted[*gene as usize]);
            }
            left.genes.truncate(end);
            left.values.truncate(end);
            let factor = match kept.target_sum {
                // As scanpy has it: a cell without anything stays as it is.
                Some(target) if total != 0.0 => target / total,
                _ => 1.0,
            };
            self.transform(id, factor, &mut left.values[start..])?;
            left.ends.push((id.to_owned(), end));
        }
        Ok(())
    }

    fn transform(&self, id: &str, factor: f64, values: &mut [f64]) -> Result<()> {
        if self.log1p == Base::None {
            values.iter_mut().for_each(|value| *value *= factor);
            return Ok(());
        }
        let per_unit = if self.log1p == Base::Base2 { std::f64::consts::LOG2_E } else { 1.0 };
        // Most values are small counts: each is computed once for a cell, which saves nine logarithms in ten.
        let mut of_counts = [f64::NAN; 32];
        for value in values {
            if *value * factor <= -1.0 {
                bail!("cell `{id}` holds {value}, which has no logarithm; is the data scaled already?");
            }
            let logarithm = |value: f64| libm::log1p(value * factor) * per_unit;
            let count = *value as usize;
            *value = match of_counts.get_mut(count) {
                Some(known) if count as f64 == *value => {
                    if known.is_nan() {
                        *known = logarithm(*value);
                    }
                    *known
                }
                _ => logarithm(*value),
            };
        }
        Ok(())
    }
}

fn median_total(source: &Source, kept: &Kept) -> Result<f64> {
    let mut totals = Vec::new();
    let mut cell = 0;
    source.each_cell(|_, genes, values| {
        cell += 1;
        if kept.keeps(cell - 1) {
            let pairs = genes.iter().zip(values).filter(|(gene, _)| kept.genes[**gene as usize]);
            totals.push(pairs.map(|(_, value)| f64::from(*value)).sum::<f64>());
        }
        Ok(())
    })?;
    totals.retain(|total| *total > 0.0);
    totals.sort_unstable_by(f64::total_cmp);
    match totals.len() {
        0 => bail!("all cells are empty, so there is no median to scale them to"),
        odd if odd % 2 == 1 => Ok(totals[odd / 2]),
        even => Ok((totals[even / 2 - 1] + totals[even / 2]) / 2.0),
    }
}

/// Brings each gene to mean 0 and variance 1.
struct Scaling {
    /// Mean and standard deviation by the new index of the gene.
    genes: Vec<(f64, f64)>,
    max_value: f64,
}

impl Scaling {
    fn new(normalised: &Normalised, selected: &[bool], max_value: Option<f64>) -> Result<Scaling> {
        let mut moments = vec![Moments::default(); selected.len()];
        let mut cells = 0;
        normalised.each_cell(selected, |_, genes, values| {
            cells += 1;
            genes.iter().zip(values).for_each(|(gene, value)| moments[*gene as usize].add(*value));
            Ok(())
        })?;
        let of = |moments: &Moments| {
            let deviation = libm::sqrt(moments.variance(cells));
            (moments.mean(cells), if deviation == 0.0 { 1.0 } else { deviation })
        };
        let genes =
            moments.iter().zip(selected).filter(|(_, kept)| **kept).map(|(moments, _)| of(moments)).collect();
        Ok(Scaling { genes, max_value: max_value.unwrap_or(f64::INFINITY) })
    }

    /// One value for every gene, zeros included.
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

/// What is known of genes and cells goes on with those that are left.
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
