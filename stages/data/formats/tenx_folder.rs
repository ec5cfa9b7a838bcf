//! The folders of Cell Ranger: a Matrix Market file of genes × cells with two lists of names.

use super::Sink;
use super::transpose::Transposer;
use crate::lines::Lines;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// How many entries are inspected to tell whether the file is ordered by cell.
const LOOKED_AT: usize = 1 << 16;

/// Reads the genes' counts. Genes are named by id or by symbol.
pub fn read(path: &Path, by_id: bool, sink: &mut dyn Sink) -> Result<()> {
    let find = |candidates: &[&str]| -> Result<PathBuf> {
        let names = candidates.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.gz")]);
        let found = names.map(|name| path.join(name)).find(|path| path.exists());
        found.with_context(|| format!("{}: has no `{}`", path.display(), candidates.join("`, no `")))
    };
    let cells = column(&find(&["barcodes.tsv"])?, 0)?;
    let features = find(&["features.tsv", "genes.tsv"])?;
    let genes = column(&features, if by_id { 0 } else { 1 })?;
    let types = if column_count(&features)? > 2 { column(&features, 2)? } else { Vec::new() };
    let mut only = GenesOnly::new(sink, &types);
    let mut entries = Entries::open(&find(&["matrix.mtx"])?, genes.len(), cells.len())?;
    only.genes(genes)?;
    entries.cells(&cells, &mut only)
}

fn column_count(path: &Path) -> Result<usize> {
    Ok(Lines::open(path)?.next_line()?.map_or(0, |line| line.split('\t').count()))
}

/// One column of a file without a header.
fn column(path: &Path, index: usize) -> Result<Vec<String>> {
    let mut lines = Lines::open(path)?;
    let mut values = Vec::new();
    while let Some(line) = lines.next_line()? {
        // Files from before Cell Ranger 3 may have a single column, which then is the name.
        let mut fields = line.split('\t');
        let field = fields.nth(index).or_else(|| line.split('\t').next_back()).unwrap_or("");
        if field.is_empty() {
            bail!("{} has no name", lines.place());
        }
        values.push(field.to_owned());
    }
    Ok(values)
}

/// Passes on genes and leaves out antibodies, guides and other features that Cell Ranger counts.
pub struct GenesOnly<'a> {
    inner: &'a mut dyn Sink,
    /// The new index of each feature; `None` if all are kept.
    kept: Option<Vec<Option<u32>>>,
}

impl<'a> GenesOnly<'a> {
    /// Prereq: `types` is empty or has one type per feature.
    pub fn new(inner: &'a mut dyn Sink, types: &[String]) -> GenesOnly<'a> {
        let is_gene = |feature: &String| feature == "Gene Expression";
        if types.iter().all(is_gene) {
            return GenesOnly { inner, kept: None };
        }
        let mut next = 0..;
        let kept = types.iter().map(|feature| if is_gene(feature) { next.next() } else { None }).collect();
        GenesOnly { inner, kept: Some(kept) }
    }
}

impl Sink for GenesOnly<'_> {
    fn genes(&mut self, names: Vec<String>) -> Result<()> {
        let Some(kept) = &self.kept else { return self.inner.genes(names) };
        if kept.len() != names.len() {
            bail!("there are {} types of features for {} features", kept.len(), names.len());
        }
        let all = names.len();
        let names: Vec<String> =
            names.into_iter().zip(kept).filter(|(_, kept)| kept.is_some()).map(|(name, _)| name).collect();
        self.inner.warn(format!("left out {} of {all} features that are no genes", all - names.len()));
        self.inner.genes(names)
    }

    fn cell(&mut self, id: &str, genes: &[u32], values: &[f32]) -> Result<()> {
        let Some(kept) = &self.kept else { return self.inner.cell(id, genes, values) };
        let pairs =
            genes.iter().zip(values).filter_map(|(gene, value)| Some((kept[*gene as usize]?, *value)));
        let (genes, values): (Vec<u32>, Vec<f32>) = pairs.unzip();
        self.inner.cell(id, &genes, &values)
    }

    fn warn(&mut self, text: String) {
        self.inner.warn(text);
    }

    fn poll(&self) -> Result<()> {
        self.inner.poll()
    }
}

/// The entries of a Matrix Market file: gene, cell, value.
struct Entries {
    lines: Lines,
    genes: usize,
    cells: usize,
    announced: u64,
}

impl Entries {
    fn open(path: &Path, genes: usize, cells: usize) -> Result<Entries> {
        let mut lines = Lines::open(path)?;
        let header = lines.next_line()?.unwrap_or("").to_lowercase();
        let words: Vec<&str> = header.split_whitespace().collect();
        if !matches!(words[..], ["%%matrixmarket", "matrix", "coordinate", "integer" | "real", "general"]) {
            bail!("{} should be `%%MatrixMarket matrix coordinate integer general`", lines.place());
        }
        let sizes = loop {
            match lines.next_line()? {
                Some(line) if line.starts_with('%') => {}
                Some(line) => break numbers(line),
                None => bail!("{}: has no sizes; it may have been cut off", path.display()),
            }
        };
        match sizes {
            Some([rows, columns, announced]) if rows == genes as u64 && columns == cells as u64 => {
                Ok(Entries { lines, genes, cells, announced })
            }
            Some([rows, columns, _]) => {
                bail!(
                    "{} announces {rows} × {columns}, and there are {genes} features and {cells} barcodes",
                    lines.place()
                )
            }
            None => bail!("{} should be three whole numbers", lines.place()),
        }
    }

    fn next_entry(&mut self) -> Result<Option<(u32, usize, f32)>> {
        let Some(line) = self.lines.next_line()? else { return Ok(None) };
        let mut words = line.split_ascii_whitespace();
        let (gene, cell, value) = (words.next(), words.next(), words.next());
        let parsed = (|| {
            Some((gene?.parse::<usize>().ok()?, cell?.parse::<usize>().ok()?, value?.parse::<f32>().ok()?))
        })();
        let Some((gene, cell, value)) = parsed else {
            bail!("{} should be a gene, a cell and a value", self.lines.place())
        };
        if gene == 0 || cell == 0 {
            bail!("{} holds the index 0, and Matrix Market counts from 1", self.lines.place());
        }
        if gene > self.genes || cell > self.cells {
            let (genes, cells) = (self.genes, self.cells);
            bail!(
                "{} is about gene {gene} and cell {cell} of {genes} genes and {cells} cells",
                self.lines.place()
            );
        }
        Ok(Some(((gene - 1) as u32, cell - 1, value)))
    }

    /// Files ordered by cell, as Cell Ranger writes them, can be streamed; other programs order by gene.
    fn cells(&mut self, ids: &[String], sink: &mut dyn Sink) -> Result<()> {
        let mut ahead = Vec::new();
        while ahead.len() < LOOKED_AT
            && let Some(entry) = self.next_entry()?
        {
            ahead.push(entry);
        }
        let announced = self.announced;
        let mut found = 0;
        if ahead.is_sorted_by_key(|(_, cell, _)| *cell) {
            let mut stream = Stream { ids, next: 0, genes: Vec::new(), values: Vec::new() };
            let mut ahead = ahead.into_iter();
            while let Some((gene, cell, value)) =
                ahead.next().map_or_else(|| self.next_entry(), |entry| Ok(Some(entry)))?
            {
                found += 1;
                if cell < stream.next {
                    bail!(
                        "{} goes back to an earlier cell; write the file again, sorted by column",
                        self.lines.place()
                    );
                }
                stream.advance(cell, sink)?;
                stream.genes.push(gene);
                stream.values.push(value);
            }
            self.check_count(found, announced)?;
            return stream.advance(ids.len(), sink);
        }
        let mut transposer = Transposer::new(ids.len());
        let mut ahead = ahead.into_iter();
        while let Some((gene, cell, value)) =
            ahead.next().map_or_else(|| self.next_entry(), |entry| Ok(Some(entry)))?
        {
            found += 1;
            if found % 65_536 == 0 {
                sink.poll()?;
            }
            transposer.push(cell, gene, value);
        }
        self.check_count(found, announced)?;
        transposer.emit(ids, &self.lines.place(), sink)
    }

    fn check_count(&self, found: u64, announced: u64) -> Result<()> {
        if found == announced {
            return Ok(());
        }
        bail!(
            "{} is the last: {found} entries of {announced}; the file may have been cut off",
            self.lines.place()
        )
    }
}

fn numbers(line: &str) -> Option<[u64; 3]> {
    let numbers: Vec<u64> =
        line.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// The cell whose entries are being read.
struct Stream<'a> {
    ids: &'a [String],
    /// The index of that cell.
    next: usize,
    genes: Vec<u32>,
    values: Vec<f32>,
}

impl Stream<'_> {
    /// Passes on all cells before `cell`.
    fn advance(&mut self, cell: usize, sink: &mut dyn Sink) -> Result<()> {
        while self.next < cell {
            let id = &self.ids[self.next];
            if !self.genes.is_sorted_by(|a, b| a < b) {
                let mut pairs: Vec<(u32, f32)> = self.genes.drain(..).zip(self.values.drain(..)).collect();
                pairs.sort_by_key(|(gene, _)| *gene);
                (self.genes, self.values) = pairs.into_iter().unzip();
                if !self.genes.is_sorted_by(|a, b| a < b) {
                    bail!("the matrix has two values for the same gene in cell `{id}`");
                }
            }
            sink.cell(id, &self.genes, &self.values)?;
            self.genes.clear();
            self.values.clear();
            self.next += 1;
        }
        Ok(())
    }
}
