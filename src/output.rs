//! Standard output: results, and nothing else.

use crate::error::{Error, Result};
use stages::disk::{self, fault};
use std::io::Write;
use std::path::Path;

/// Writes a result. A reader that has seen enough (`| head`) ends the program in peace; any other error
/// is told, because a full disk must not look like success.
pub fn write(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::NobodyReads),
        Err(error) => Err(fault("writing", Path::new("standard output"), error).into()),
    }
}

/// Writes one value as JSON, readable by people too.
pub fn write_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).expect("results are plain data with text keys");
    write(&format!("{text}\n"))
}

/// Writes a file, over an older one: whoever reads it meanwhile sees the one or the other, whole.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        disk::create_folders(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = Path::new(&draft);
    let written = disk::write(draft, bytes).and_then(|()| disk::rename(draft, path));
    if written.is_err() {
        // What went wrong is told already.
        let _ = disk::remove_file(draft);
    }
    Ok(written?)
}

/// Rows with their columns aligned; the last column is not padded.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
