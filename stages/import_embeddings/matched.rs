//! Which row of somebody's table belongs to each gene of the data.

use anyhow::{Result, bail};
use contract::stage::Io;
use data::names::form;
use std::collections::{BTreeMap, HashMap};

/// The rows of the data's genes.
pub struct Matched {
    /// The row of each gene, if it has one.
    pub rows: Vec<Option<usize>>,
    /// How many were found by their own name, in any case and version, and by a name in the table of both.
    found: [usize; 2],
    /// Some genes without a vector.
    lacking: Vec<String>,
}

impl Matched {
    /// Matches genes with the names of rows, directly or by a table of pairs of names. An error if no gene has a row.
    pub fn new(
        genes: &[String],
        rows: &BTreeMap<String, usize>,
        pairs: &[(String, String)],
    ) -> Result<Matched> {
        let mut forms: HashMap<String, usize> = HashMap::new();
        for (name, row) in rows {
            forms.entry(form(name)).or_insert(*row);
        }
        let mut others: HashMap<String, Vec<&str>> = HashMap::new();
        for (a, b) in pairs {
            others.entry(form(a)).or_default().push(b);
            others.entry(form(b)).or_default().push(a);
        }
        let mut matched =
            Matched { rows: Vec::with_capacity(genes.len()), found: [0; 2], lacking: Vec::new() };
        for gene in genes {
            let own = rows.get(gene).or_else(|| forms.get(&form(gene)));
            let by_pair = || others.get(&form(gene))?.iter().find_map(|other| forms.get(&form(other)));
            let row = match own {
                Some(row) => Some((0, row)),
                None => by_pair().map(|row| (1, row)),
            };
            match row {
                Some((way, _)) => matched.found[way] += 1,
                None => matched.lacking.push(gene.clone()),
            }
            matched.rows.push(row.map(|(_, row)| *row));
        }
        if matched.lacking.len() == genes.len() {
            let theirs = rows.keys().find(|name| !name.starts_with('<')).map_or("", String::as_str);
            let ours = genes.first().map_or("", String::as_str);
            bail!(
                "none of the {} genes of the data has a vector: the data has names such as `{ours}`, the vectors \
                 `{theirs}`; a table of symbols and Ensembl ids can be given in the input `names`",
                genes.len()
            );
        }
        Ok(matched)
    }

    /// Says how many genes have a vector; a warning if some have none.
    pub fn tell(&self, io: &Io) {
        let all = self.rows.len();
        let mut text = format!("{} of {all} genes of the data have a vector", all - self.lacking.len());
        if self.found[1] > 0 {
            text += &format!(", {} by their other name", self.found[1]);
        }
        if self.lacking.is_empty() {
            return io.note(text);
        }
        let first: Vec<&str> = self.lacking.iter().take(3).map(String::as_str).collect();
        let rest = if self.lacking.len() > first.len() { ", …" } else { "" };
        io.warn(format!("{text}; not found: `{}`{rest}", first.join("`, `")));
    }
}

#[cfg(test)]
mod tests {
    use super::Matched;

    #[test]
    fn genes_are_found_by_symbol_and_by_id() {
        let rows = [("<pad>", 0), ("SOX9", 1), ("ENSG00000184895", 2), ("sry", 3)];
        let rows = rows.map(|(name, row)| (name.to_owned(), row)).into();
        let pairs = [("SRY".to_owned(), "ENSG00000184895".to_owned())];
        let genes = ["Sox9", "ENSG00000184895.7", "SRY", "ENSG00000125398"].map(str::to_owned);
        let found = Matched::new(&genes, &rows, &pairs).unwrap();
        assert_eq!(found.rows, [Some(1), Some(2), Some(3), None]);
        let only_ids = [("ENSG00000184895".to_owned(), 5)].into();
        let found = Matched::new(&genes[2..], &only_ids, &pairs).unwrap();
        assert_eq!((found.rows, found.found), (vec![Some(5), None], [0, 1]));
    }
}
