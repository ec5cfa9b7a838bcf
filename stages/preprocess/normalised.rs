//! The cells that pass the filters, normalised and on a logarithmic scale.

use super::{Base, Kept, Preprocess};
use anyhow::{Result, bail};
use contract::stage::Io;
use data::cells::CellBatch;
use data::cells::passes::CellFile;
use data::statistics::Moments;

/// The new index of a gene that is left out.
pub const LEFT_OUT: u32 = u32::MAX;
/// Most values are small counts: their logarithms are computed once for a cell, which saves nine in ten.
const SMALL_COUNTS: usize = 32;
/// What the processor adds at once.
const LANES: usize = 8;

/// The cells that are left, as they shall be.
pub struct Normalised<'a> {
    pub io: &'a Io,
    pub preprocess: &'a Preprocess,
    pub cells: &'a CellFile,
    pub kept: &'a Kept,
}

/// What there is to know of the cells before genes are selected.
#[derive(Default)]
pub struct Summary {
    /// The ids of the cells.
    pub ids: Vec<String>,
    /// Of each gene.
    pub moments: Vec<Moments>,
    /// Of each gene that is traced, its value in each cell.
    pub profiles: Vec<Vec<f64>>,
}

/// What is gathered of one row group.
#[derive(Default)]
struct Gathered {
    ids: Vec<String>,
    moments: Vec<Moments>,
    /// Which of the traced genes, in which cell, its value.
    traced: Vec<(u32, usize, f64)>,
}

impl Normalised<'_> {
    /// Reads all cells and sums them up.
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

    /// Gives each cell with its genes by their new indices. Prereq: those that are not left out passed the filters.
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

    /// Gives each cell of a batch that passed, as it came, with what its values become. Prereq: `first` is the index of
    /// the batch's first cell.
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

    /// What brings a cell to the wanted sum.
    fn factor(&self, genes: &[u32], values: &[f32]) -> f64 {
        let Some(target) = self.kept.target_sum else { return 1.0 };
        let total = self.kept.total(genes, values);
        // As scanpy has it: a cell without anything stays as it is.
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

/// What the values of one cell become.
struct Scale {
    base: Base,
    factor: f64,
    /// Values that were asked for and what they become, counts at their own place; NaN, which equals nothing, before.
    known: [(f32, f64); SMALL_COUNTS],
}

impl Scale {
    fn new(base: Base, factor: f64) -> Scale {
        Scale { base, factor, known: [(f32::NAN, 0.0); SMALL_COUNTS] }
    }

    fn of(&mut self, value: f32) -> f64 {
        // From here on floats have no fractions: the last bits of the sum are those of the nearest whole number.
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

/// What is left of a batch of cells.
#[derive(Default)]
struct Left {
    /// Ids, and where each cell ends.
    ends: Vec<(String, usize)>,
    genes: Vec<u32>,
    values: Vec<f32>,
    /// How many genes and values count; what lies behind is old.
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
        // Each is put down, and the next one over it if it is not wanted: which are, no processor foresees.
        for (gene, value) in genes.iter().zip(values) {
            let index = new_index[*gene as usize];
            self.genes[end] = index;
            self.values[end] = *value;
            end += usize::from(index != LEFT_OUT);
        }
        self.filled = end;
    }
}
