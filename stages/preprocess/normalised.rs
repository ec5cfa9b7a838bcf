//! The cells that pass the filters, normalised and log-transformed.

use super::{Base, Kept, Preprocess};
use anyhow::{Result, bail};
use contract::stage::Io;
use data::cells::CellBatch;
use data::cells::passes::CellFile;
use data::statistics::Moments;

/// Marks a gene that is left out, in place of its new index.
pub const LEFT_OUT: u32 = u32::MAX;
/// Most values are small counts. Computing each of their logarithms once per cell saves nine in ten.
const SMALL_COUNTS: usize = 32;
/// Numbers added at once by the CPU.
const LANES: usize = 8;

/// The remaining cells, after normalisation.
pub struct Normalised<'a> {
    pub io: &'a Io,
    pub preprocess: &'a Preprocess,
    pub cells: &'a CellFile,
    pub kept: &'a Kept,
}

/// Statistics of the cells, needed to select genes.
#[derive(Default)]
pub struct Summary {
    /// The ids of the cells.
    pub ids: Vec<String>,
    /// The moments of each gene.
    pub moments: Vec<Moments>,
    /// For each traced gene, its value in each cell.
    pub profiles: Vec<Vec<f64>>,
}

/// The statistics of one row group.
#[derive(Default)]
struct Gathered {
    ids: Vec<String>,
    moments: Vec<Moments>,
    /// The index among the traced genes, the cell, and the value.
    traced: Vec<(u32, usize, f64)>,
}

impl Normalised<'_> {
    /// Reads all cells and computes their statistics.
    pub fn summary(&self, traced: &[usize]) -> Result<Summary> {
        let genes = self.kept.genes.len();
        let mut profile_of = vec![LEFT_OUT; genes];
        for (profile, gene) in (0..).zip(traced) {
            profile_of[*gene] = profile;
        }
        let mut summary = Summary {
            ids: Vec::new(),
            moments: vec![Moments::default(); genes],
            profiles: vec![Vec::new(); traced.len()],
        };
        let add = |first, cells: &CellBatch, gathered: &mut Gathered| {
            gathered.moments.resize(genes, Moments::default());
            self.each_of(first, cells, |id, scale, genes, values| {
                for (gene, value) in genes.iter().zip(values) {
                    gathered.moments[*gene as usize].add(scale.of(*value));
                }
                if !traced.is_empty() {
                    let profiles = genes.iter().map(|gene| profile_of[*gene as usize]);
                    let here = profiles.zip(values).filter(|(profile, _)| *profile != LEFT_OUT);
                    let cell = gathered.ids.len();
                    gathered.traced.extend(here.map(|(profile, value)| (profile, cell, scale.of(*value))));
                }
                gathered.ids.push(id.to_owned());
            })
        };
        self.cells.fold_groups(add, |gathered| {
            self.io.check_stop()?;
            let first = summary.ids.len();
            summary.ids.extend(gathered.ids);
            summary.moments.iter_mut().zip(&gathered.moments).for_each(|(all, more)| all.join(more));
            summary.profiles.iter_mut().for_each(|profile| profile.resize(summary.ids.len(), 0.0));
            for (profile, cell, value) in gathered.traced {
                summary.profiles[profile as usize][first + cell] = value;
            }
            Ok(())
        })?;
        Ok(summary)
    }

    /// Passes on each cell, with new gene indices. Prereq: every gene that is not left out passed the filters.
    pub fn each_cell(
        &self,
        new_index: &[u32],
        mut cell_is: impl FnMut(&str, &[u32], &[f32]) -> Result<()>,
    ) -> Result<()> {
        self.cells.each_batch(
            |first, cells, left: &mut Left| {
                left.ends.clear();
                left.filled = 0;
                self.each_of(first, cells, |id, scale, genes, values| {
                    left.add(new_index, genes, values);
                    let start = left.ends.last().map_or(0, |(_, end)| *end);
                    left.values[start..left.filled]
                        .iter_mut()
                        .for_each(|value| *value = scale.of(*value) as f32);
                    left.ends.push((id.to_owned(), left.filled));
                })
            },
            |left| {
                self.io.check_stop()?;
                let mut start = 0;
                for (id, end) in &left.ends {
                    cell_is(id, &left.genes[start..*end], &left.values[start..*end])?;
                    start = *end;
                }
                Ok(())
            },
        )
    }

    /// Passes on each cell of a batch that passed the filters, both as read and with its new values. Prereq: `first` is
    /// the index of the batch's first cell.
    fn each_of(
        &self,
        first: usize,
        cells: &CellBatch,
        mut cell_is: impl FnMut(&str, &mut Scale, &[u32], &[f32]),
    ) -> Result<()> {
        let kept = cells.cells().enumerate().filter(|(index, _)| self.kept.keeps(first + index));
        for (_, (id, genes, values)) in kept {
            let mut scale = Scale::new(self.preprocess.log1p, self.factor(genes, values));
            if scale.base != Base::None && values.iter().fold(false, |any, value| any | (*value < 0.0)) {
                self.check_logarithms(id, scale.factor, genes, values)?;
            }
            cell_is(id, &mut scale, genes, values);
        }
        Ok(())
    }

    /// The factor that scales a cell to the target total.
    fn factor(&self, genes: &[u32], values: &[f32]) -> f64 {
        let Some(target) = self.kept.target_sum else { return 1.0 };
        let total = self.kept.total(genes, values);
        // As in scanpy, a cell with a total of zero is left as it is.
        if total == 0.0 { 1.0 } else { target / total }
    }

    fn check_logarithms(&self, id: &str, factor: f64, genes: &[u32], values: &[f32]) -> Result<()> {
        let mut kept = genes.iter().zip(values).filter(|(gene, _)| self.kept.genes[**gene as usize]);
        match kept.find(|(_, value)| f64::from(**value) * factor <= -1.0) {
            Some((_, value)) => {
                bail!("cell `{id}` holds {value}, which has no logarithm; is the data scaled already?")
            }
            None => Ok(()),
        }
    }
}

/// The sum of many values.
pub fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().copied().map(f64::from).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, value)| *lane += f64::from(*value));
    }
    lanes.iter().sum::<f64>() + rest
}

/// Transforms the values of one cell.
struct Scale {
    base: Base,
    factor: f64,
    /// A cache of transformed values, with each small count at its own index. Unused entries hold NaN, which equals
    /// nothing.
    known: [(f32, f64); SMALL_COUNTS],
}

impl Scale {
    fn new(base: Base, factor: f64) -> Scale {
        Scale { base, factor, known: [(f32::NAN, 0.0); SMALL_COUNTS] }
    }

    fn of(&mut self, value: f32) -> f64 {
        // From here on floats have no fractional part, so the low bits of the sum are those of the nearest integer.
        const WHOLE: f32 = (1 << (f32::MANTISSA_DIGITS - 1)) as f32;
        let place = (value + WHOLE).to_bits() as usize % SMALL_COUNTS;
        let (known, becomes) = self.known[place];
        if known == value { becomes } else { self.compute(value, place) }
    }

    #[inline(never)]
    fn compute(&mut self, value: f32, place: usize) -> f64 {
        let scaled = f64::from(value) * self.factor;
        let becomes = match self.base {
            Base::None => scaled,
            Base::Natural => libm::log1p(scaled),
            Base::Base2 => libm::log1p(scaled) * std::f64::consts::LOG2_E,
        };
        self.known[place] = (value, becomes);
        becomes
    }
}

/// The remaining part of a batch of cells.
#[derive(Default)]
struct Left {
    /// The id and the end of each cell.
    ends: Vec<(String, usize)>,
    genes: Vec<u32>,
    values: Vec<f32>,
    /// The number of valid entries in `genes` and `values`; entries beyond it are stale.
    filled: usize,
}

impl Left {
    fn add(&mut self, new_index: &[u32], genes: &[u32], values: &[f32]) {
        let most = self.filled + genes.len();
        if self.genes.len() < most {
            self.genes.resize(most, 0);
            self.values.resize(most, 0.0);
        }
        let mut end = self.filled;
        // Branch-free: every value is written, and the next one overwrites it if it is left out. A branch would be
        // unpredictable.
        for (gene, value) in genes.iter().zip(values) {
            let index = new_index[*gene as usize];
            self.genes[end] = index;
            self.values[end] = *value;
            end += usize::from(index != LEFT_OUT);
        }
        self.filled = end;
    }
}
