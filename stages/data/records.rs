//! Records of csv and tsv files.
//!
//! Fields may be in double quotes, in which a doubled quote stands for one. Line breaks in quotes are
//! rejected: gene tables do not have them, and an unclosed quote would otherwise swallow the rest of the file.

use crate::lines::Lines;
use anyhow::{Result, anyhow, bail};
use std::ops::Range;
use std::path::Path;

/// All are ASCII.
const DELIMITERS: [char; 3] = [',', '\t', ';'];

/// Reads a file with a header record by record.
pub struct Records {
    lines: Lines,
    layout: Layout,
    header: Vec<String>,
    record: Record,
}

/// How the lines of a file are split, so that other threads can do it.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The field delimiter; ASCII.
    pub delimiter: char,
    /// The number of fields in the header.
    pub fields: usize,
}

impl Layout {
    /// Splits a line. The error begins with "has": the caller puts the line's place before it.
    pub fn split(self, line: &str, record: &mut Record) -> Result<(), String> {
        record.split(line, self.delimiter)?;
        match record.len() {
            found if found == self.fields => Ok(()),
            found => Err(format!("has {found} fields where the header has {}", self.fields)),
        }
    }
}

/// Whether a line is blank and therefore skipped.
pub fn is_blank(line: &str) -> bool {
    line.trim_matches(' ').is_empty()
}

/// One line split into fields.
#[derive(Debug, Default)]
pub struct Record {
    text: String,
    fields: Vec<Range<usize>>,
}

impl Record {
    /// The number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Prereq: `index < self.len()`.
    pub fn field(&self, index: usize) -> &str {
        &self.text[self.fields[index].clone()]
    }

    /// All fields.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|range| &self.text[range.clone()])
    }

    fn split(&mut self, line: &str, delimiter: char) -> Result<(), String> {
        self.text.clear();
        self.fields.clear();
        if !line.contains('"') {
            self.text.push_str(line);
            let mut start = 0;
            for at in memchr::memchr_iter(delimiter as u8, line.as_bytes()) {
                self.fields.push(start..at);
                start = at + 1;
            }
            self.fields.push(start..line.len());
            return Ok(());
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
        if quoted { Err("has a quote that is never closed".to_owned()) } else { Ok(()) }
    }
}

impl Records {
    /// Opens a file and reads its header; the delimiter is the one that occurs most often in it.
    pub fn open(path: &Path) -> Result<Records> {
        let mut lines = Lines::open(path)?;
        let Some(first) = lines.next_line()? else { bail!("{}: is empty", path.display()) };
        let count = |delimiter: &char| first.matches(*delimiter).count();
        let delimiter = DELIMITERS.into_iter().rev().max_by_key(count).unwrap_or(',');
        let mut record = Record::default();
        let split = record.split(first, delimiter);
        split.map_err(|why| anyhow!("{} {why}", lines.place()))?;
        let mut header: Vec<String> = record.fields().map(|field| field.trim().to_owned()).collect();
        if lines.advance()? {
            // R omits the column of row names from the header: only the length of the second line shows this.
            if record.split(lines.line(), delimiter).is_ok() && record.len() == header.len() + 1 {
                header.insert(0, String::new());
            }
            lines.again();
        }
        let layout = Layout { delimiter, fields: header.len() };
        Ok(Records { lines, layout, header, record })
    }

    /// The names of the columns; the first may be empty.
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

    /// Moves to the next record, which must be as long as the header; returns whether there is one. Skips blank lines.
    pub fn advance(&mut self) -> Result<bool> {
        while self.lines.advance()? {
            if !is_blank(self.lines.line()) {
                let split = self.layout.split(self.lines.line(), &mut self.record);
                split.map_err(|why| anyhow!("{} {why}", self.place()))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The lines of the file, to be split elsewhere.
    pub fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    /// How lines are split.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The current record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// File and line, for messages about the record that was read last.
    pub fn place(&self) -> String {
        self.lines.place()
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
