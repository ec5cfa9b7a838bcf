//! Boolean rules of gene regulation, in the notation of the published models.
//!
//! `(Cebpa or Pu1) and not (Gata1 or Gata2)`: `not` binds closest, then `and`, then `or`.

use anyhow::{Result, bail};
use std::collections::BTreeSet;

/// A rule over genes, which are given by index.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// The gene is on.
    Gene(usize),
    /// The rule does not hold.
    Not(Box<Rule>),
    /// Both hold.
    And(Box<Rule>, Box<Rule>),
    /// One holds or both do.
    Or(Box<Rule>, Box<Rule>),
}

impl Rule {
    /// Parses a rule over the named genes.
    pub fn parse(text: &str, genes: &[&str]) -> Result<Rule> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let mut words = Words { words: spaced.split_whitespace().collect(), at: 0, genes };
        let rule = words.any_of()?;
        match words.next() {
            None => Ok(rule),
            Some(word) => bail!("the rule `{text}` should end before `{word}`"),
        }
    }

    /// Whether the rule holds, given which genes are on.
    pub fn holds(&self, on: &impl Fn(usize) -> bool) -> bool {
        match self {
            Rule::Gene(gene) => on(*gene),
            Rule::Not(rule) => !rule.holds(on),
            Rule::And(a, b) => a.holds(on) && b.holds(on),
            Rule::Or(a, b) => a.holds(on) || b.holds(on),
        }
    }

    /// Every gene in the rule, with the sign of its influence as written.
    pub fn regulators(&self) -> BTreeSet<(usize, i8)> {
        let mut found = BTreeSet::new();
        self.collect(1, &mut found);
        found
    }

    fn collect(&self, sign: i8, found: &mut BTreeSet<(usize, i8)>) {
        match self {
            Rule::Gene(gene) => drop(found.insert((*gene, sign))),
            Rule::Not(rule) => rule.collect(-sign, found),
            Rule::And(a, b) | Rule::Or(a, b) => {
                a.collect(sign, found);
                b.collect(sign, found);
            }
        }
    }
}

struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    genes: &'a [&'a str],
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }

    fn take(&mut self, word: &str) -> bool {
        let taken = self.words.get(self.at) == Some(&word);
        self.at += usize::from(taken);
        taken
    }

    fn any_of(&mut self) -> Result<Rule> {
        let mut rule = self.all_of()?;
        while self.take("or") {
            rule = Rule::Or(Box::new(rule), Box::new(self.all_of()?));
        }
        Ok(rule)
    }

    fn all_of(&mut self) -> Result<Rule> {
        let mut rule = self.one()?;
        while self.take("and") {
            rule = Rule::And(Box::new(rule), Box::new(self.one()?));
        }
        Ok(rule)
    }

    fn one(&mut self) -> Result<Rule> {
        match self.next() {
            Some("not") => Ok(Rule::Not(Box::new(self.one()?))),
            Some("(") => {
                let rule = self.any_of()?;
                if !self.take(")") {
                    bail!("a `(` is never closed");
                }
                Ok(rule)
            }
            Some(word) => match self.genes.iter().position(|gene| *gene == word) {
                Some(gene) => Ok(Rule::Gene(gene)),
                None => bail!("`{word}` is no gene of the model"),
            },
            None => bail!("the rule ends where a gene should stand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENES: [&str; 3] = ["a", "b", "c"];

    #[test]
    fn not_binds_closest_then_and_then_or() {
        let rule = Rule::parse("a or b and not c", &GENES).unwrap();
        assert!(rule.holds(&|gene| gene == 0));
        assert!(rule.holds(&|gene| gene == 1));
        assert!(!rule.holds(&|gene| gene == 1 || gene == 2));
        assert!(!Rule::parse("not (a or b)", &GENES).unwrap().holds(&|gene| gene == 1));
    }

    #[test]
    fn regulators_have_the_sign_that_the_rule_gives_them() {
        let rule = Rule::parse("(a or b) and not (c and not b)", &GENES).unwrap();
        assert_eq!(rule.regulators().into_iter().collect::<Vec<_>>(), [(0, 1), (1, 1), (2, -1)]);
    }

    #[test]
    fn a_broken_rule_says_what_is_wrong() {
        for (text, message) in [
            ("a b", "the rule `a b` should end before `b`"),
            ("(a", "a `(` is never closed"),
            ("a and d", "`d` is no gene of the model"),
            ("a and", "the rule ends where a gene should stand"),
        ] {
            assert_eq!(Rule::parse(text, &GENES).unwrap_err().to_string(), message);
        }
    }
}
