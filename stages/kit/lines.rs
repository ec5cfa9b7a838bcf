//! Lines of text files as people have them: gzipped or not, with a byte order mark, with CRLF.

use crate::disk;
use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A line this long is no line of a table; a file without line ends would else be read whole.
const LONGEST_LINE: u64 = 1 << 28;
const BUFFER_BYTES: usize = 1 << 18;

/// Reads a text file line by line.
pub struct Lines {
    reader: Box<dyn BufRead>,
    path: PathBuf,
    line: String,
    number: u64,
    /// The line is to be given once more.
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

    /// The next line without its end, or nothing at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<&str>> {
        Ok(self.advance()?.then_some(&self.line))
    }

    /// Goes on to the next line; says whether there is one.
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

    /// The line that was gone on to last.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Makes the line that was gone on to last the next one.
    pub fn again(&mut self) {
        self.again = true;
    }

    /// File and line, for messages about the line that was read last.
    pub fn place(&self) -> String {
        format!("{}: line {}", self.path.display(), self.number)
    }
}

/// The first bytes of a file, which tell its format.
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
    fn what_is_no_text_is_refused() {
        let utf16 = lines(b"\xff\xfea\0").unwrap_err().to_string();
        assert!(utf16.ends_with("a.txt: is UTF-16 text; save it as UTF-8"), "{utf16}");
        let latin1 = lines(b"a\n\xe4\n").unwrap_err().to_string();
        assert!(latin1.ends_with("a.txt: line 2 is not UTF-8 text"), "{latin1}");
    }
}
