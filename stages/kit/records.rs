//! Records of csv and tsv files.
//!
//! A field may stand in double quotes, in which a doubled quote is one. Line ends in quotes are
//! refused: no table of genes has them, and a quote that is never closed would swallow the file.

use super::lines::Lines;
use anyhow::{Result, bail};
use std::ops::Range;
use std::path::Path;

const DELIMITERS: [char; 3] = [',', '\t', ';'];

/// Reads a file with a header record by record.
pub struct Records {
    lines: Lines,
    delimiter: char,
    header: Vec<String>,
    record: Record,
    /// The second line is read ahead: only its length tells whether the header names the first column.
    ahead: bool,
}

/// One line as its fields.
#[derive(Debug, Default)]
pub struct Record {
    text: String,
    fields: Vec<Range<usize>>,
}

impl Record {
    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Prereq: `index < self.len()`.
    pub fn field(&self, index: usize) -> &str {
        &self.text[self.fields[index].clone()]
    }

    /// The fields, one after the other.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|range| &self.text[range.clone()])
    }

    /// Takes a line apart; says whether its quotes are in order.
    fn split(&mut self, line: &str, delimiter: char) -> bool {
        self.text.clear();
        self.fields.clear();
        if !line.contains('"') {
            self.text.push_str(line);
            let mut start = 0;
            // Byte by byte: fields are so short that a search per field costs more. The delimiters are ASCII.
            for (at, byte) in line.bytes().enumerate() {
                if byte == delimiter as u8 {
                    self.fields.push(start..at);
                    start = at + 1;
                }
            }
            self.fields.push(start..line.len());
            return true;
        }
        let (mut start, mut quoted) = (0, false);
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    self.text.push('"');
                }
                '"' => quoted = !quoted,
                _ if character == delimiter && !quoted => {
                    self.fields.push(start..self.text.len());
                    start = self.text.len();
                }
                _ => self.text.push(character),
            }
        }
        self.fields.push(start..self.text.len());
        !quoted
    }
}

impl Records {
    /// Opens a file and reads its header; the delimiter is whichever stands most often in it.
    pub fn open(path: &Path) -> Result<Records> {
        let mut lines = Lines::open(path)?;
        let Some(first) = lines.next_line()? else { bail!("{}: is empty", path.display()) };
        let count = |delimiter: &char| first.matches(*delimiter).count();
        let delimiter = DELIMITERS.into_iter().rev().max_by_key(count).unwrap_or(',');
        let mut record = Record::default();
        let whole = record.split(first, delimiter);
        let header: Vec<String> = record.fields().map(|field| field.trim().to_owned()).collect();
        let mut records = Records { lines, delimiter, header, record, ahead: false };
        records.check_quotes(whole)?;
        if let Some(line) = records.lines.next_line()? {
            let whole = records.record.split(line, delimiter);
            records.ahead = true;
            records.check_quotes(whole)?;
            // R leaves the column of row names out of the header.
            if records.record.len() == records.header.len() + 1 {
                records.header.insert(0, String::new());
            }
        }
        Ok(records)
    }

    /// The names of the columns; the first one may be empty.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// The index of a named column.
    pub fn column(&self, name: &str) -> Result<usize> {
        match self.header.iter().position(|column| column == name) {
            Some(index) => Ok(index),
            None => {
                bail!("{} has no column `{name}`, only `{}`", self.lines.place(), self.header.join("`, `"))
            }
        }
    }

    /// Goes on to the next record, as long as the header; says whether there is one. Empty lines are passed over.
    pub fn advance(&mut self) -> Result<bool> {
        let mut there = std::mem::take(&mut self.ahead);
        while !there || (self.record.len() == 1 && self.record.field(0).trim().is_empty()) {
            let Some(line) = self.lines.next_line()? else { return Ok(false) };
            let whole = self.record.split(line, self.delimiter);
            there = true;
            self.check_quotes(whole)?;
        }
        let (found, expected) = (self.record.len(), self.header.len());
        if found != expected {
            bail!("{} has {found} fields where the header has {expected}", self.place());
        }
        Ok(true)
    }

    /// The record that was gone on to last.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The same, to be kept beyond the next one.
    pub fn take_record(&mut self) -> Record {
        std::mem::take(&mut self.record)
    }

    /// File and line, for messages about the record that was read last.
    pub fn place(&self) -> String {
        self.lines.place()
    }

    fn check_quotes(&self, whole: bool) -> Result<()> {
        if whole { Ok(()) } else { bail!("{} has a quote that is never closed", self.place()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, text).unwrap();
        let mut records = Records::open(&path)?;
        let mut found = vec![records.header().to_vec()];
        while records.advance()? {
            found.push(records.record().fields().map(str::to_owned).collect());
        }
        Ok(found)
    }

    #[test]
    fn the_delimiter_is_found_and_quotes_are_taken_off() {
        for text in ["a,b\nc,d\n", "a\tb\nc\td", "a;b\n\nc;d\n\n", "\"a\",\"b\"\n\"c\",d\n"] {
            assert_eq!(read(text).unwrap(), [["a", "b"], ["c", "d"]], "{text:?}");
        }
        assert_eq!(read("a,b\n\"x, \"\"y\"\"\",d").unwrap()[1], ["x, \"y\"", "d"]);
    }

    #[test]
    fn a_header_without_the_column_of_names_gets_it() {
        assert_eq!(read("a,b\nrow,1,2").unwrap()[0], ["", "a", "b"]);
    }

    #[test]
    fn a_broken_record_is_named_by_its_line() {
        for (text, message) in [
            ("", "a.csv: is empty"),
            ("a,b\nc,d\ne\n", "a.csv: line 3 has 1 fields where the header has 2"),
            ("a,b\nc,\"d\n", "a.csv: line 2 has a quote that is never closed"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
    }
}
