//! Errors in a user's file, shown with the source line they refer to.
//!
//! The text comes from the user and goes to a terminal: control characters are made visible and long lines
//! are cut, so a complaint stays short and never contains an escape sequence.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How many characters of a source line are shown.
const LINE_CHARS: usize = 100;
/// How many characters of a line stay visible before the marked part.
const LEAD_CHARS: usize = 40;
/// How many characters of a message are shown.
const MESSAGE_CHARS: usize = 600;

/// A value in a YAML file, or the key in front of it, given by its path from the top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Keys and indices, outermost first.
    pub segments: Vec<Segment>,
    /// Whether the key is meant instead of the value.
    pub at_key: bool,
}

/// One step down into a YAML value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Into a map.
    Key(String),
    /// Into a list, counted from 0.
    Index(usize),
}

impl Place {
    /// The whole file.
    pub fn top() -> Place {
        Place::default()
    }

    /// The value that these keys lead to.
    pub fn of(keys: &[&str]) -> Place {
        keys.iter().fold(Place::top(), |place, key| place.key(key))
    }

    /// Below a key.
    pub fn key(mut self, key: &str) -> Place {
        self.segments.push(Segment::Key(key.to_owned()));
        self
    }

    /// Below an index.
    pub fn index(mut self, index: usize) -> Place {
        self.segments.push(Segment::Index(index));
        self
    }

    /// The same path, but meaning the last key itself.
    pub fn at_key(mut self) -> Place {
        self.at_key = true;
        self
    }

    /// Below all of these.
    pub fn join(mut self, below: impl IntoIterator<Item = Segment>) -> Place {
        self.segments.extend(below);
        self
    }
}

/// An error in a file: what is wrong, where, and what to do.
#[derive(Debug, Clone)]
pub struct Complaint {
    file: PathBuf,
    title: String,
    spots: Vec<Spot>,
    hint: Option<String>,
}

/// A marked piece of one line.
#[derive(Debug, Clone)]
struct Spot {
    /// Counted from 1.
    line: usize,
    /// Characters, counted from 1.
    column: usize,
    /// The line as shown: hidden characters replaced, cut if long.
    shown: String,
    /// The bytes of `shown` that are marked.
    marked: Range<usize>,
    /// Whether `shown` leaves out the line's beginning.
    cut: bool,
    label: String,
}

impl Complaint {
    /// A complaint about a file as a whole.
    pub fn new(file: &Path, title: impl AsRef<str>) -> Complaint {
        Complaint { file: file.to_owned(), title: harmless(title.as_ref()), spots: Vec::new(), hint: None }
    }

    /// Marks these bytes of the file's text. The label may be empty.
    pub fn at(mut self, text: &str, span: Range<usize>, label: impl AsRef<str>) -> Complaint {
        self.spots.push(Spot::new(text, span, harmless(label.as_ref())));
        self
    }

    /// Adds a hint about what to do.
    pub fn hint(self, hint: impl AsRef<str>) -> Complaint {
        Complaint { hint: Some(harmless(hint.as_ref())), ..self }
    }

    /// Adds the hint, if there is one.
    pub fn hint_if(self, hint: Option<impl AsRef<str>>) -> Complaint {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// With colours, for a terminal whose user has not set `NO_COLOR`.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let file = harmless(&self.file.to_string_lossy());
        let mut group = Group::with_title(Level::ERROR.primary_title(self.title.as_str()));
        if self.spots.is_empty() {
            group = group.element(Origin::path(file.as_str()));
        }
        for (i, spot) in self.spots.iter().enumerate() {
            let kind = if i == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let mut annotation = kind.span(spot.marked.clone());
            if !spot.label.is_empty() {
                annotation = annotation.label(spot.label.as_str());
            }
            let mut snippet =
                Snippet::source(spot.shown.as_str()).line_start(spot.line).annotation(annotation);
            if spot.cut {
                // The shown line may be cut, so its column differs from that in the file.
                group = group.element(Origin::path(file.as_str()).line(spot.line).char_column(spot.column));
            } else {
                snippet = snippet.path(file.as_str());
            }
            group = group.element(snippet);
        }
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl Spot {
    /// Takes the line on which the span begins, and cuts it to a window around the span.
    fn new(text: &str, span: Range<usize>, label: String) -> Spot {
        let boundary =
            |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let start = boundary(span.start);
        let end = boundary(span.end).max(start);
        let breaks = |c: char| c == '\n' || c == '\r';
        let line_start = text[..start].rfind(breaks).map_or(0, |at| at + 1);
        let line_end = text[start..].find(breaks).map_or(text.len(), |at| start + at);
        let before = &text.as_bytes()[..line_start];
        // `\r\n` is one line break, and so is a lone `\r`.
        let line_breaks = before
            .iter()
            .enumerate()
            .filter(|(i, byte)| **byte == b'\n' || (**byte == b'\r' && before.get(i + 1) != Some(&b'\n')));
        let line = 1 + line_breaks.count();
        let column = 1 + text[line_start..start].chars().count();
        let end = end.min(line_end);

        let window = |from: usize| {
            text[line_start..from].char_indices().rev().nth(LEAD_CHARS - 1).map(|(at, _)| line_start + at)
        };
        let from = window(start).filter(|_| line_end - line_start > LINE_CHARS).unwrap_or(line_start);
        let mut shown = String::from(if from > line_start { "…" } else { "" });
        let mut marked = 0..0;
        for (taken, (at, c)) in text[from..line_end].char_indices().enumerate() {
            if from + at == start {
                marked.start = shown.len();
            }
            if taken == LINE_CHARS {
                shown.push('…');
                break;
            }
            match c {
                '\t' => shown.push(' '),
                c if is_hidden(c) => shown.push('\u{fffd}'),
                c => shown.push(c),
            }
            if from + at + c.len_utf8() <= end {
                marked.end = shown.len();
            }
        }
        if start == line_end {
            marked.start = shown.len();
        }
        if marked.end <= marked.start {
            // An empty span, for example at the end of a line, still has to mark something.
            shown.push(' ');
            marked.end = marked.start + shown[marked.start..].chars().next().map_or(1, char::len_utf8);
        }
        Spot { line, column, shown, marked, cut: from > line_start, label }
    }
}

/// Whether a character moves the cursor, changes the writing direction, or is invisible.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Makes a user's text safe to display: hidden characters replaced, length limited.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MESSAGE_CHARS));
    for (i, c) in text.chars().enumerate() {
        if i == MESSAGE_CHARS {
            shown.push('…');
            break;
        }
        match c {
            '\n' | '\t' => shown.push(' '),
            c if is_hidden(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// A user's word, quoted in a message and cut so that it leaves room for the rest.
pub fn word(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("`{}…`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// The candidate that the user probably meant.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a longer word, and edit distances take quadratic time.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = 1.max(word.chars().count() / 3);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The hint for an unknown word: the closest candidate, or else the list of all candidates.
pub fn known<'a>(word: &str, what: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(meant) = did_you_mean(word, candidates.iter().copied()) {
        return format!("did you mean `{meant}`?");
    }
    if candidates.is_empty() {
        return format!("there are no {what}");
    }
    if let [only] = candidates.as_slice() {
        return format!("there is only {}", self::word(only));
    }
    let shown: Vec<String> = candidates.iter().take(12).map(|name| self::word(name)).collect();
    let more = if candidates.len() > shown.len() { ", …" } else { "" };
    format!("the {what} are {}{more}", shown.join(", "))
}

/// Adds a second way out to a hint.
pub fn otherwise(hint: &str, more: &str) -> String {
    let between = if hint.ends_with('?') { " Otherwise" } else { ";" };
    format!("{hint}{between} {more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_file_line_column_label_and_hint() {
        let text = "name: x\nstages:\n  a: {knd: command}\n";
        let at = text.find("knd").unwrap();
        let complaint = Complaint::new(Path::new("p.yaml"), "unknown field `knd`")
            .at(text, at..at + 3, "not a field of a stage")
            .hint("did you mean `kind`?");
        let expected = "\
error: unknown field `knd`
 --> p.yaml:3:7
  |
3 |   a: {knd: command}
  |       ^^^ not a field of a stage
  |
  = help: did you mean `kind`?";
        assert_eq!(complaint.to_string(), expected);
        assert!(complaint.styled().contains("\u{1b}["));
    }

    #[test]
    fn shows_both_of_two_places() {
        let text = "a: 1\nb: 2\na: 3\n";
        let complaint = Complaint::new(Path::new("p.yaml"), "the key `a` appears twice")
            .at(text, 10..11, "again here")
            .at(text, 0..1, "first here")
            .to_string();
        assert!(complaint.contains("--> p.yaml:3:1"), "{complaint}");
        assert!(complaint.contains("3 | a: 3\n  | ^ again here"), "{complaint}");
        assert!(complaint.contains("1 | a: 1\n  | - first here"), "{complaint}");
    }

    #[test]
    fn names_the_file_where_there_is_no_place() {
        let complaint = Complaint::new(Path::new("p.yaml"), "the file is empty").to_string();
        assert!(
            complaint.contains("error: the file is empty") && complaint.contains("p.yaml"),
            "{complaint}"
        );
    }

    #[test]
    fn long_lines_and_hidden_characters_stay_short_and_harmless() {
        let long = format!("{}\u{1b}[2J\u{202e}\0here{}", "ä".repeat(1 << 19), "y".repeat(1 << 19));
        let at = long.find("here").unwrap();
        let complaint = Complaint::new(Path::new("p\u{1b}.yaml"), format!("bad {}", "z".repeat(1 << 20)))
            .at(&long, at..at + 4, "\u{1b}[31m")
            .hint("\u{7}");
        let text = complaint.to_string();
        assert!(text.len() < 2_000, "{}", text.len());
        assert!(!text.chars().any(|c| is_hidden(c) && c != '\n'), "{text:?}");
        assert!(text.contains("^^^^") && text.contains(&format!(":1:{}", (1 << 19) + 7)), "{text}");
    }

    #[test]
    fn any_span_of_any_text_can_be_shown() {
        for text in ["", "\n", "a", "ä\r\nb\rc\n\n", "\t\u{feff}x"] {
            for start in 0..=text.len() + 1 {
                for end in start..=text.len() + 2 {
                    Complaint::new(Path::new("p"), "x").at(text, start..end, "y").to_string();
                }
            }
        }
        let third = Complaint::new(Path::new("p"), "x").at("a\r\nb\rc", 5..6, "").to_string();
        assert!(third.contains("--> p:3:1"), "{third}");
    }

    #[test]
    fn guesses_what_was_meant_and_no_more() {
        let kinds = ["command", "tokenise", "train"];
        assert_eq!(did_you_mean("comand", kinds), Some("command"));
        assert_eq!(did_you_mean("Train", kinds), Some("train"));
        assert_eq!(did_you_mean("embed", kinds), None);
        assert_eq!(did_you_mean("x", ["y"]), None);
        assert_eq!(known("q", "kinds", kinds), "the kinds are `command`, `tokenise`, `train`");
    }
}
