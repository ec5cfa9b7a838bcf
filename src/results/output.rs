//! Standard output. Only results go there.

use contract::disk::{self, fault};
use engine::error::{Error, Result};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use unicode_width::UnicodeWidthStr;

/// Writes a result. If the reader has closed the pipe (`| head`), the program ends quietly; any other error
/// is reported, because a full disk must not look like success.
pub fn write(text: &str) -> Result<()> {
    match pager(text) {
        Some(pager) => paged(pager, text),
        None => write_out(text),
    }
}

/// The command of the pager if the text is longer than the terminal that standard output is connected to: `$PAGER`,
/// else `less`; none if that is empty or `cat`.
fn pager(text: &str) -> Option<String> {
    let (_, terminal_size::Height(rows)) = terminal_size::terminal_size_of(std::io::stdout())?;
    let long = std::io::stdout().is_terminal() && text.lines().count() > usize::from(rows);
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less".to_owned());
    (long && !pager.trim().is_empty() && pager.trim() != "cat").then_some(pager)
}

/// Gives a text to the pager, and writes it as it is if there is no such program.
fn paged(pager: String, text: &str) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Colours as colours, and the screen as it was if it turns out to suffice.
        command.env("LESS", "FRX");
    }
    let Ok(mut child) = command.spawn() else { return write_out(text) };
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever leaves the pager has read enough.
        let _ = stdin.write_all(text.as_bytes());
    }
    match child.wait() {
        // What a shell answers if it finds no such program.
        Ok(status) if status.code() == Some(127) => write_out(text),
        _ => Ok(()),
    }
}

fn write_out(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Error::NobodyReads),
        Err(error) => Err(fault("writing", Path::new("standard output"), error).into()),
    }
}

/// Writes one value as JSON, indented for readability.
pub fn write_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).expect("results are plain data with text keys");
    write(&format!("{text}\n"))
}

/// Writes a file or replaces an older one atomically: a concurrent reader sees either the old or the new content.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |draft| disk::write(draft, bytes))
}

/// The same with a function that writes the file under the name of a draft.
pub fn replace_with(path: &Path, write: impl FnOnce(&Path) -> disk::Result<()>) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        disk::create_folders(folder)?;
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = Path::new(&draft);
    let written = write(draft).and_then(|()| disk::rename(draft, path));
    if written.is_err() {
        // The first error is already being reported.
        let _ = disk::remove_file(draft);
    }
    Ok(written?)
}

/// A name as that of a file: what may mean something to a shell or a file system becomes a hyphen.
pub fn file_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | ',') { c } else { '-' })
        .collect::<String>()
        .trim_end_matches('-')
        .to_owned()
}

/// A path as a person would type it here: relative to the current folder if it lies there.
pub fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).display().to_string()
}

/// Whether a stream may be coloured: it is a terminal and `NO_COLOR` is not set.
pub fn may_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Emphasises text if standard output is a terminal.
pub fn strong(text: &str) -> String {
    if may_colour(&std::io::stdout()) { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// Rows with aligned columns; the last column is not padded. If the terminal is too narrow, the columns are split into
/// several blocks, one below the other, each of which repeats the first column.
pub fn table(rows: &[Vec<String>]) -> String {
    table_within(rows, columns())
}

/// Shows changes as a table of old and new values or, if that is too wide, in three lines per change.
pub fn was_and_is(changes: impl Iterator<Item = (String, (String, String))>, names: [&str; 2]) -> String {
    let changes: Vec<_> = changes.collect();
    let mut rows = vec![vec![String::new(), names[0].to_owned(), names[1].to_owned()]];
    rows.extend(changes.iter().map(|(what, (was, is))| vec![format!("  {what}"), was.clone(), is.clone()]));
    let aligned = table_within(&rows, None);
    let columns = columns().unwrap_or(usize::MAX);
    if aligned.lines().all(|line| visible(line) <= columns) {
        return aligned;
    }
    let [first, second] = names;
    let lines = changes
        .into_iter()
        .map(|(what, (was, is))| format!("  {what}\n    {first}: {was}\n    {second}: {is}\n"));
    lines.collect()
}

/// A paragraph, wrapped at spaces if standard output is a terminal; all lines but the first are indented.
pub fn paragraph(text: &str) -> String {
    let lines = columns().map_or_else(|| vec![text.to_owned()], |columns| broken(text, columns, 2));
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The width of the terminal that standard output is connected to; `None` for files and pipes.
pub fn columns() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns).max(NARROWEST))
}

/// Terminals are assumed to be at least this wide, and the last column gets at least this much.
const NARROWEST: usize = 24;
const BETWEEN: usize = 2;

fn table_within(rows: &[Vec<String>], columns: Option<usize>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| visible(cell)).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let whole = widths.iter().sum::<usize>() + BETWEEN * count.saturating_sub(1);
    let Some(columns) = columns.filter(|columns| whole > *columns) else {
        return aligned(rows, &(0..count).collect::<Vec<_>>(), &widths, usize::MAX);
    };
    let mut text = String::new();
    let mut rest = 1;
    while rest < count {
        let mut shown = vec![0, rest];
        let mut taken = widths[0] + widths[rest] + BETWEEN;
        rest += 1;
        while rest < count && taken + BETWEEN + widths[rest] <= columns {
            taken += BETWEEN + widths[rest];
            shown.push(rest);
            rest += 1;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&aligned(rows, &shown, &widths, columns));
    }
    text
}

/// Some columns of a table; cells of the last one are wrapped if they do not fit.
fn aligned(rows: &[Vec<String>], shown: &[usize], widths: &[usize], columns: usize) -> String {
    let Some((last, before)) = shown.split_last() else { return String::new() };
    let left: usize = before.iter().map(|column| widths[*column] + BETWEEN).sum();
    let room = columns.saturating_sub(left).max(NARROWEST);
    let mut text = String::new();
    for row in rows {
        let cell = |column: &usize| row.get(*column).map_or("", String::as_str);
        let mut line = String::new();
        for column in before {
            line.push_str(cell(column));
            line.extend(std::iter::repeat_n(' ', widths[*column] - visible(cell(column)) + BETWEEN));
        }
        let ends = cell(last);
        let lines = if visible(ends) > room { broken(ends, room, 0) } else { vec![ends.to_owned()] };
        for (i, part) in lines.iter().enumerate() {
            if i > 0 {
                line.extend(std::iter::repeat_n(' ', left));
            }
            line.push_str(part);
            text.push_str(line.trim_end());
            text.push('\n');
            line.clear();
        }
    }
    text
}

/// How many terminal columns a text occupies: none for escape sequences, two for some characters.
fn visible(text: &str) -> usize {
    let mut shown = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (false, '\x1b') => escaped = true,
            (false, c) => shown.push(c),
            (true, c) => escaped = !c.is_ascii_alphabetic(),
        }
    }
    shown.width()
}

/// Wraps a text into lines of at most `columns` characters, at spaces where possible.
fn broken(text: &str, columns: usize, set_in: usize) -> Vec<String> {
    let mut lines = vec![" ".repeat(text.len() - text.trim_start().len())];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if line.trim_start().is_empty() {
            line.push_str(word);
        } else if visible(line) + 1 + visible(word) <= columns {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(" ".repeat(set_in) + word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cells: &[&[&str]]) -> Vec<Vec<String>> {
        cells.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn a_table_that_fits_is_one() {
        let table = rows(&[&["name", "a", "b"], &["x", "\x1b[1m1.0\x1b[0m", "2"]]);
        let expected = "name  a    b\nx     \x1b[1m1.0\x1b[0m  2\n";
        assert_eq!([table_within(&table, None), table_within(&table, Some(12))], [expected, expected]);
    }

    #[test]
    fn wide_and_combining_characters_take_the_columns_that_a_terminal_gives_them() {
        let table = rows(&[&["\u{9f20}\u{8111}", "a"], &["e\u{301}t\u{e9}", "b"]]);
        assert_eq!(table_within(&table, None), "\u{9f20}\u{8111}  a\ne\u{301}t\u{e9}   b\n");
    }

    #[test]
    fn columns_that_do_not_fit_come_below_beside_the_first_one() {
        let wide = "0123456789";
        let table = rows(&[&["name", wide, wide, wide], &["x", "1", "2", "a text of many short words"]]);
        assert_eq!(
            table_within(&table, Some(30)),
            "name  0123456789  0123456789\nx     1           2\n\nname  0123456789\nx     a text of many short\n      words\n"
        );
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(broken("note: of three words", 10, 2), ["note: of", "  three", "  words"]);
        assert_eq!(broken("unbreakable", 4, 2), ["unbreakable"]);
        assert_eq!(broken("  set in", 80, 0), ["  set in"]);
    }
}
