//! Matches names of genes that mean the same but are written differently.

use std::collections::{BTreeMap, HashMap};

/// How a name was matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The names are equal.
    Exact,
    /// They differ in the version: `ENSG00000125398.7`.
    Version,
    /// They differ in case, as human and mouse symbols do.
    Case,
    /// A spreadsheet had turned it into a date: `15-Sep` was `SEP15`.
    Date,
}

/// Which names of a list were found among the genes.
#[derive(Debug, Default)]
pub struct Matching {
    /// The list's name for each gene whose name is written differently there.
    pub renamed: BTreeMap<usize, String>,
    /// How many names were matched in each way.
    pub found: BTreeMap<Way, usize>,
    /// Names of the list that match no gene.
    pub missing: Vec<String>,
    examples: BTreeMap<Way, String>,
}

impl Matching {
    /// Matches each name of a list with the genes.
    pub fn new<'a>(genes: &[String], list: impl IntoIterator<Item = &'a str>) -> Matching {
        let exact: HashMap<&str, usize> =
            genes.iter().enumerate().map(|(index, gene)| (gene.as_str(), index)).collect();
        let mut forms: HashMap<String, (usize, Way)> = HashMap::new();
        for (index, gene) in genes.iter().enumerate() {
            let versionless = without_version(gene);
            if versionless != gene {
                forms.entry(versionless.to_uppercase()).or_insert((index, Way::Version));
            }
            forms.entry(gene.to_uppercase()).or_insert((index, Way::Case));
            for candidate in before_the_spreadsheet(gene) {
                forms.entry(candidate).or_insert((index, Way::Date));
            }
        }
        let mut matching = Matching::default();
        for name in list {
            if exact.contains_key(name) {
                *matching.found.entry(Way::Exact).or_default() += 1;
                continue;
            }
            let form = without_version(name).to_uppercase();
            let was_date = || before_the_spreadsheet(name).iter().find_map(|was| forms.get(was));
            let found = forms.get(&form).or_else(|| forms.get(&name.to_uppercase()));
            let found = found.map(|(index, way)| (index, *way));
            let found = found.or_else(|| was_date().map(|(index, _)| (index, Way::Date)));
            match found.filter(|(index, _)| !matching.renamed.contains_key(index)) {
                Some((index, way)) => {
                    let way = if without_version(name) == name { way } else { Way::Version };
                    *matching.found.entry(way).or_default() += 1;
                    matching
                        .examples
                        .entry(way)
                        .or_insert_with(|| format!("`{}` is `{name}`", genes[*index]));
                    matching.renamed.insert(*index, name.to_owned());
                }
                None => matching.missing.push(name.to_owned()),
            }
        }
        matching
    }

    /// How many names of the list were matched.
    pub fn matched(&self) -> usize {
        self.found.values().sum()
    }

    /// One sentence with counts; `None` if all names match exactly.
    pub fn sentence(&self, list: &str) -> Option<String> {
        let all = self.matched() + self.missing.len();
        let exact = self.found.get(&Way::Exact).copied().unwrap_or(0);
        if exact == all {
            return None;
        }
        let mut parts = vec![format!("{} of the {all} genes of {list} are in the data", self.matched())];
        for (way, count) in self.found.iter().filter(|(way, _)| **way != Way::Exact) {
            let how = match way {
                Way::Exact => "as they are written",
                Way::Version => "apart from the version",
                Way::Case => "apart from upper and lower case",
                Way::Date => "after a spreadsheet made a date of the name",
            };
            let example = self.examples.get(way).map_or("", String::as_str);
            parts.push(format!("{count} {how} ({example})"));
        }
        if !self.missing.is_empty() {
            let first: Vec<&str> = self.missing.iter().take(5).map(String::as_str).collect();
            let rest = if self.missing.len() > first.len() { ", …" } else { "" };
            parts.push(format!("not found: {} (`{}`{rest})", self.missing.len(), first.join("`, `")));
        }
        Some(parts.join("; "))
    }
}

/// A name in upper case, an Ensembl id without its version: names that mean the same gene have the same form.
pub fn form(name: &str) -> String {
    without_version(name).to_uppercase()
}

/// An Ensembl id without its version. Other names are unchanged, because the `.1` of `NKX2.1` is not a version.
fn without_version(name: &str) -> &str {
    match name.split_once('.') {
        Some((id, version)) if is_ensembl(id) && version.bytes().all(|byte| byte.is_ascii_digit()) => id,
        _ => name,
    }
}

/// Whether a name is an Ensembl id: `ENSG…`, `ENSMUSG…`.
pub fn is_ensembl(name: &str) -> bool {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    name.starts_with("ENS") && digits >= 8
}

/// Whether a name is a cell barcode of a droplet method: `AAACCTGAGCGATTCT-1`.
pub fn is_barcode(name: &str) -> bool {
    let bases = name.bytes().take_while(|byte| b"ACGT".contains(byte)).count();
    bases >= 10
}

/// Whether one of two names is the date that a spreadsheet made of the other.
pub fn differ_by_a_date(one: &str, other: &str) -> bool {
    let made_of = |date: &str, name: &str| before_the_spreadsheet(date).contains(&name.to_uppercase());
    made_of(one, other) || made_of(other, one)
}

/// The names, in upper case, that a spreadsheet may have turned into this date.
pub fn before_the_spreadsheet(name: &str) -> Vec<String> {
    let Some((a, b)) = name.split_once('-') else { return Vec::new() };
    let (day, month) = if a.bytes().all(|byte| byte.is_ascii_digit()) { (a, b) } else { (b, a) };
    let stems: &[&str] = match month.to_lowercase().as_str() {
        "sep" => &["SEP", "SEPT", "SEPTIN"],
        "mar" => &["MARCH", "MARC", "MARCHF", "MTARC"],
        "dec" => &["DEC", "DELEC"],
        "oct" => &["OCT"],
        _ => &[],
    };
    match day.parse::<u8>() {
        Ok(day @ 1..=31) => stems.iter().map(|stem| format!("{stem}{day}")).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genes(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        let genes = genes(&["SOX9", "Sry", "15-Sep", "ENSG00000125398.7", "1-Mar", "NKX2.1"]);
        let list = ["SOX9", "SRY", "SEP15", "ENSG00000125398", "MARCHF1", "NKX2", "DMRT1"];
        let matching = Matching::new(&genes, list);
        let counts: Vec<(Way, usize)> = matching.found.into_iter().collect();
        assert_eq!(counts, [(Way::Exact, 1), (Way::Version, 1), (Way::Case, 1), (Way::Date, 2)]);
        assert_eq!(matching.renamed.get(&2).map(String::as_str), Some("SEP15"));
        assert_eq!(matching.missing, ["NKX2", "DMRT1"]);
    }

    #[test]
    fn the_sentence_counts_what_differs() {
        let matching = Matching::new(&genes(&["SOX9", "15-Sep"]), ["SOX9", "SEP15", "DMRT1"]);
        assert_eq!(
            matching.sentence("the network").unwrap(),
            "2 of the 3 genes of the network are in the data; 1 after a spreadsheet made a date of the name \
             (`15-Sep` is `SEP15`); not found: 1 (`DMRT1`)"
        );
        assert_eq!(Matching::new(&genes(&["SOX9"]), ["SOX9"]).sentence("the network"), None);
    }

    #[test]
    fn a_date_of_the_list_is_the_gene_that_it_was() {
        let matching = Matching::new(&genes(&["SEP15", "Mar1"]), ["15-Sep", "1-Mar"]);
        assert_eq!(matching.found, BTreeMap::from([(Way::Date, 1)]), "`MARCH1` is not `Mar1`");
        assert_eq!(matching.renamed, BTreeMap::from([(0, "15-Sep".to_owned())]));
        assert!(differ_by_a_date("SEP15", "15-Sep") && differ_by_a_date("1-Mar", "March1"));
        assert!(!differ_by_a_date("SEP15", "SEP15") && !differ_by_a_date("SEP1", "15-Sep"));
    }

    #[test]
    fn one_gene_answers_to_one_name_only() {
        let matching = Matching::new(&genes(&["1-Mar"]), ["MARCH1", "MARC1"]);
        assert_eq!((matching.matched(), matching.missing.len()), (1, 1));
    }
}
