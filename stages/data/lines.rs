//! Lines of text files as found in practice: gzipped or not, with a byte order mark, with CRLF.

use anyhow::{Context, Result, bail};
use contract::disk;
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Longer lines cannot belong to a table; without this limit a file without line breaks would be read as a whole.
const LONGEST_LINE: u64 = 1 << 28;
const BUFFER_BYTES: usize = 1 << 18;
/// How much is read at a time to be parsed by several threads: enough for all cores, but little compared with a matrix.
const BYTES_PER_BLOCK: u64 = 1 << 18;

/// Reads a text file line by line.
pub struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    line: String,
    number: u64,
    /// Whether the current line is to be returned once more.
    again: bool,
}

impl Lines {
    /// Opens a file, unpacking it if its content is gzip.
    pub fn open(path: &Path) -> Result<Lines> {
        let file = File::open(path).map_err(|error| disk::fault("opening", path, error))?;
        let mut file = BufReader::with_capacity(BUFFER_BYTES, file);
        let start = file.fill_buf().with_context(|| format!("reading {}", path.display()))?;
        let mut reader: Box<dyn BufRead> = if start.starts_with(&[0x1f, 0x8b]) {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        let start = reader.fill_buf().with_context(|| format!("unpacking {}", path.display()))?;
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            bail!("{}: is UTF-16 text; save it as UTF-8", path.display());
        }
        if start.starts_with(&[0xef, 0xbb, 0xbf]) {
            reader.consume(3);
        }
        Ok(Lines { reader, path: path.to_owned(), line: String::new(), number: 0, again: false })
    }

    /// The next line without its line break; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<&str>> {
        Ok(self.advance()?.then_some(&self.line))
    }

    /// Moves to the next line; returns whether there is one.
    pub fn advance(&mut self) -> Result<bool> {
        if std::mem::take(&mut self.again) {
            return Ok(true);
        }
        let mut bytes = std::mem::take(&mut self.line).into_bytes();
        bytes.clear();
        let mut limited = (&mut self.reader).take(LONGEST_LINE);
        let read = limited.read_until(b'\n', &mut bytes).with_context(|| {
            format!("{}: line {}: it may have been cut off", self.path.display(), self.number + 1)
        })?;
        if read == 0 {
            return Ok(false);
        }
        self.number += 1;
        if read as u64 == LONGEST_LINE {
            bail!("{}: line {} never ends; this is no table of text", self.path.display(), self.number);
        }
        while let Some(b'\n' | b'\r') = bytes.last() {
            bytes.pop();
        }
        match String::from_utf8(bytes) {
            Ok(line) => self.line = line,
            Err(_) => bail!("{}: line {} is not UTF-8 text", self.path.display(), self.number),
        }
        Ok(true)
    }

    /// Fills a block with the next whole lines, about `BYTES_PER_BLOCK` bytes; it is empty at the end of the file.
    pub fn fill(&mut self, block: &mut Block) -> Result<()> {
        let mut bytes = std::mem::take(&mut block.text).into_bytes();
        bytes.clear();
        block.first = self.number + 1;
        if std::mem::take(&mut self.again) {
            block.first -= 1;
            bytes.extend_from_slice(self.line.as_bytes());
            bytes.push(b'\n');
        }
        let cut = || format!("{}: after line {}: it may have been cut off", self.path.display(), self.number);
        (&mut self.reader).take(BYTES_PER_BLOCK).read_to_end(&mut bytes).with_context(cut)?;
        if bytes.last().is_some_and(|byte| *byte != b'\n') {
            (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut bytes).with_context(cut)?;
        }
        let whole = memchr::memchr_iter(b'\n', &bytes).count() as u64;
        self.number = block.first - 1 + whole + u64::from(bytes.last().is_some_and(|byte| *byte != b'\n'));
        if bytes.len() as u64 >= LONGEST_LINE {
            bail!("{}: line {} never ends; this is no table of text", self.path.display(), self.number);
        }
        match String::from_utf8(bytes) {
            Ok(text) => block.text = text,
            Err(error) => {
                let fine = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = block.first + memchr::memchr_iter(b'\n', fine).count() as u64;
                bail!("{}: line {line} is not UTF-8 text", self.path.display());
            }
        }
        Ok(())
    }

    /// The current line.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Makes `advance` return the current line once more.
    pub fn again(&mut self) {
        self.again = true;
    }

    /// File and line, for messages about the line that was read last.
    pub fn place(&self) -> String {
        format!("{}: line {}", self.path.display(), self.number)
    }
}

/// Consecutive whole lines of a file, which other threads can parse.
#[derive(Debug, Default)]
pub struct Block {
    text: String,
    /// The number of the first line.
    first: u64,
}

impl Block {
    /// Whether it has no lines: the file has ended.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The lines without their line breaks, with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &str)> {
        let text = self.text.strip_suffix('\n').unwrap_or(&self.text);
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain(std::iter::once(text.len()));
        let mut start = 0;
        (self.first..).zip(ends.map(move |end| {
            let line = &text[start..end];
            start = end + 1;
            line.trim_end_matches(['\r', '\n'])
        }))
    }
}

/// The first bytes of a file, from which its format is detected.
pub fn first_bytes(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| disk::fault("opening", path, error))?;
    let mut bytes = Vec::new();
    file.take(8).read_to_end(&mut bytes).map_err(|error| disk::fault("reading", path, error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut lines = Lines::open(&path)?;
        let mut found = Vec::new();
        while let Some(line) = lines.next_line()? {
            found.push(line.to_owned());
        }
        Ok(found)
    }

    #[test]
    fn marks_line_ends_and_compression_are_taken_off() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"a\nb").unwrap();
        let packed = packed.finish().unwrap();
        for bytes in [&b"a\nb\n"[..], b"\xef\xbb\xbfa\r\nb\r\n", &packed] {
            assert_eq!(lines(bytes).unwrap(), ["a", "b"]);
        }
    }

    #[test]
    fn blocks_hold_the_lines_that_were_not_gone_on_to_with_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let long = "x".repeat(BYTES_PER_BLOCK as usize);
        std::fs::write(&path, format!("\u{feff}head\r\nfirst\r\n\n{long}\nlast")).unwrap();
        let mut lines = Lines::open(&path).unwrap();
        assert_eq!(lines.next_line().unwrap(), Some("head"));
        lines.advance().unwrap();
        lines.again();
        let (mut block, mut found) = (Block::default(), Vec::new());
        loop {
            lines.fill(&mut block).unwrap();
            if block.is_empty() {
                break;
            }
            found.extend(block.lines().map(|(number, line)| (number, line.to_owned())));
        }
        let expected = [(2, "first"), (3, ""), (4, &long), (5, "last")];
        assert_eq!(found, expected.map(|(number, line)| (number, line.to_owned())));
        assert!(lines.place().ends_with("a.txt: line 5"), "{}", lines.place());
    }

    #[test]
    fn a_block_that_is_no_text_is_told_by_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, b"a\nb\n\xe4\nc\n").unwrap();
        let error = Lines::open(&path).unwrap().fill(&mut Block::default()).unwrap_err().to_string();
        assert!(error.ends_with("a.txt: line 3 is not UTF-8 text"), "{error}");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let utf16 = lines(b"\xff\xfea\0").unwrap_err().to_string();
        assert!(utf16.ends_with("a.txt: is UTF-16 text; save it as UTF-8"), "{utf16}");
        let latin1 = lines(b"a\n\xe4\n").unwrap_err().to_string();
        assert!(latin1.ends_with("a.txt: line 2 is not UTF-8 text"), "{latin1}");
    }
}
