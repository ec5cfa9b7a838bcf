//! Parses the text of a pipeline file, within fixed limits.
//!
//! `serde_yaml` decides every value. Further limits: at most 1 MiB, 100 levels and one document; at most a
//! million values after alias expansion; no tags, no `.nan`, no duplicate keys. A scalar key is its text as
//! written (`1: x` has the key `1`); any other key is refused. `<<` takes a map or a list of maps: explicit
//! keys win, and earlier maps win over later ones.

mod value;

use crate::complaint::{Complaint, Place, did_you_mean};
use crate::locate::Places;
use contract::disk::reason;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use value::{EMPTY, parse};

/// The maximum size of a pipeline file.
pub const MAX_BYTES: usize = 1 << 20;
/// A file's name and text.
pub struct PipelineText {
    /// The path as the user wrote it.
    pub path: PathBuf,
    /// Without a byte order mark.
    pub text: String,
}

impl PipelineText {
    /// Reads a file and checks that it may be a pipeline file.
    pub fn read(path: &Path) -> Result<PipelineText, Complaint> {
        let refuse = |title: String| Complaint::new(path, title);
        let cannot = |error: std::io::Error| {
            let complaint = refuse(format!("cannot read the pipeline file: {}", reason(&error)));
            complaint.hint_if(similar_file(path).filter(|_| error.kind() == std::io::ErrorKind::NotFound))
        };
        let metadata = std::fs::metadata(path).map_err(cannot)?;
        if metadata.is_dir() {
            return Err(refuse("expected a pipeline file, found a folder".into()).hint("name the file in it"));
        }
        if !metadata.is_file() {
            return Err(refuse("expected a pipeline file, found a pipe or a device".into()));
        }
        let file = File::open(path).map_err(cannot)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() > MAX_BYTES {
            let text = String::from_utf8_lossy(&bytes);
            return Err(refuse("the file is larger than 1 MiB".into())
                .at(&text, MAX_BYTES..MAX_BYTES + 1, "1 MiB ends here")
                .hint("a pipeline file describes the work; keep data in files of their own"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            refuse("the file is not UTF-8 text".into())
                .at(&text, good..good + '\u{fffd}'.len_utf8(), "not UTF-8")
                .hint("save it as UTF-8, or check that it is the right file")
        })?;
        Ok(PipelineText::new(path, text))
    }

    /// A text given in place of a file.
    pub fn new(path: &Path, mut text: String) -> PipelineText {
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        PipelineText { path: path.to_owned(), text }
    }

    /// The value of the whole text.
    pub fn parse(&self) -> Result<Value, Complaint> {
        if let Some(at) = self.text.find('\0') {
            let complaint = Complaint::new(&self.path, "the file is not text: it holds a NUL byte");
            return Err(complaint.at(&self.text, at..at + 1, "here"));
        }
        let failure = match parse(&self.text) {
            Ok(value) => return self.refuse_tags(value),
            Err(failure) => failure,
        };
        let places = Places::of(&self.text);
        let mut complaint = Complaint::new(&self.path, &failure.title);
        if failure.twice {
            let spans = places.find_all(&failure.place);
            for (i, span) in spans.into_iter().take(2).rev().enumerate() {
                complaint = complaint.at(&self.text, span, ["again here", "first here"][i]);
            }
        } else if let Some(index) = failure.index {
            let at = Places::byte(&self.text, index);
            complaint = complaint.at(&self.text, at..at + 1, failure.label);
        }
        Err(complaint.hint_if(failure.hint))
    }

    /// A complaint about the value or key at a place.
    pub fn complain(&self, place: &Place, title: impl AsRef<str>, label: impl AsRef<str>) -> Complaint {
        self.complain_of(place, "", title, label)
    }

    /// A complaint about a piece of the text at a place.
    pub fn complain_of(
        &self,
        place: &Place,
        piece: &str,
        title: impl AsRef<str>,
        label: impl AsRef<str>,
    ) -> Complaint {
        let complaint = Complaint::new(&self.path, title);
        let Some(span) = Places::of(&self.text).find(place) else { return complaint };
        let within = self.text[span.clone()].find(piece).filter(|_| !piece.is_empty());
        let span = within.map_or(span.clone(), |at| span.start + at..span.start + at + piece.len());
        complaint.at(&self.text, span, label)
    }

    /// Marks a second place in a complaint.
    pub fn mark(&self, complaint: Complaint, place: &Place, label: &str) -> Complaint {
        match Places::of(&self.text).find(place) {
            Some(span) => complaint.at(&self.text, span, label),
            None => complaint,
        }
    }

    /// `serde_yaml` silently resolves YAML's own tags, so they are searched for in the text.
    fn refuse_tags(&self, value: Value) -> Result<Value, Complaint> {
        if !may_hold_tag(&self.text) {
            return Ok(value);
        }
        match Places::of(&self.text).first_tag {
            Some(span) => Err(Complaint::new(&self.path, "a tag is not allowed here")
                .at(&self.text, span, "a YAML tag")
                .hint("leave it out, or quote text that begins with `!`")),
            None => Ok(value),
        }
    }
}

/// Parses a short text that is not a file: the argument of `--set`.
pub fn parse_argument(text: &str) -> Result<Value, String> {
    if text.len() > MAX_BYTES {
        return Err("larger than 1 MiB".into());
    }
    if text.contains('\0') {
        return Err("holds a NUL byte".into());
    }
    match parse(text) {
        Err(failure) if failure.title == EMPTY => Ok(Value::Null),
        Err(failure) => Err(failure.title),
        Ok(_) if may_hold_tag(text) && Places::of(text).first_tag.is_some() => {
            Err("a tag is not allowed here".into())
        }
        Ok(value) => Ok(value),
    }
}

/// Whether a `!` stands where a tag may: at the start of a line, or after an indicator or an anchor.
fn may_hold_tag(text: &str) -> bool {
    text.match_indices('!').any(|(at, _)| {
        let line = text[..at].rfind(['\n', '\r']).map_or(0, |end| end + 1);
        let before = text[line..at].trim_end();
        let last_word = before.rsplit([' ', '\t']).next().unwrap_or("");
        before.is_empty() || before.ends_with(['-', ':', ',', '[', '{', '?', '!']) || last_word.contains('&')
    })
}

/// A file in the same folder whose name is similar to the missing one.
fn similar_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).ok()?.take(1_000);
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.contains(".y"))
        .collect();
    let meant = did_you_mean(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(format!("did you mean `{}`?", path.with_file_name(meant).display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(text: &str) -> Value {
        source(text).parse().map_err(|complaint| complaint.to_string()).unwrap()
    }

    fn refused(text: &str) -> String {
        source(text).parse().map(|value| value.to_string()).unwrap_err().to_string()
    }

    fn source(text: &str) -> PipelineText {
        PipelineText::new(Path::new("p.yaml"), text.to_owned())
    }

    #[test]
    fn scalars_are_what_yaml_says() {
        let text = "\u{feff}a: 1\nb: 1.5\nc: true\nd: ~\ne: 'x'\nf: -3\ng: no\nh: 010\n1: {2.50: y}\n";
        let expected = json!({"a": 1, "b": 1.5, "c": true, "d": null, "e": "x", "f": -3, "g": "no", "h": "010",
            "1": {"2.50": "y"}});
        assert_eq!(parsed(text), expected);
    }

    #[test]
    fn merge_keys_fill_in_what_is_not_there() {
        let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\nd: {<<: *a}\n";
        let value = parsed(text);
        assert_eq!(value["c"], json!({"x": 3, "y": 1, "z": 2}));
        assert_eq!(value["d"], json!({"x": 1, "y": 1}));
        assert!(refused("a: {<<: 1}\n").contains("`<<` takes a map"));
        assert!(refused("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n").contains("p.yaml:2:"));
    }

    #[test]
    fn a_key_that_stands_twice_is_shown_at_both_places() {
        let text = refused("stages:\n  a: {kind: x}\n  b: {kind: x}\n  a: {kind: y}\n");
        assert!(text.contains("the key `a` appears twice") && text.contains("p.yaml:4:3"), "{text}");
        assert!(text.contains("again here") && text.contains("2 |   a: {kind: x}"), "{text}");
        let text = refused("a:\n- x\n- {1: a, '1': b}\n");
        assert!(text.contains("p.yaml:3:10") && text.contains("first here"), "{text}");
    }

    #[test]
    fn bombs_are_refused() {
        let mut text = String::from("b0: &b0 [lol, lol]\n");
        for i in 1..=9 {
            text += &format!("b{i}: &b{i} [{}]\n", vec![format!("*b{}", i - 1); 9].join(", "));
        }
        let said = refused(&text);
        // Each line expands to nine times as many values as the line before: 3 in the first, 1.7 million in
        // the seventh.
        assert!(said.contains("expands to too much") && said.contains("p.yaml:7:"), "{said}");
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(100));
        let said = refused(&long);
        assert!(said.contains("expands to too much") && said.contains("p.yaml:2:"), "{said}");
        let said = refused("x: 1\na: &a [*a]\n");
        assert!(said.contains("deeper than 100 levels") && said.contains("p.yaml:2:"), "{said}");
    }

    #[test]
    fn deep_nests_are_refused_and_a_hundred_levels_are_not() {
        let nest = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        parsed(&nest(100));
        let text = refused(&format!("a:\n  {}", nest(100)));
        assert!(text.contains("deeper than 100 levels") && text.contains("p.yaml:2:"), "{text}");
        let block: String = (0..1_400).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        for text in [
            nest(400_000),
            nest(8_000),
            "[']', ".repeat(150_000),
            "{a: ".repeat(200_000),
            "- ".repeat(400_000),
            "? ".repeat(400_000),
            "- - ? - ".repeat(100_000),
            block,
        ] {
            // CPU time of this thread, so that other load on the machine does not affect the test.
            let clock = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let millis = || {
                let now = clock();
                now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
            };
            let began = millis();
            refused(&text);
            assert!(millis() - began < 1_000, "{}", text.get(..10).unwrap_or_default());
        }
    }

    #[test]
    fn what_is_not_plain_data_is_refused_where_it_stands() {
        for (text, title, place) in [
            ("a: !!str x\n", "a tag is not allowed", "p.yaml:1:4"),
            ("a:\n- !mine {x: 1}\n", "a tag is not allowed", "p.yaml:2:"),
            ("a: &b !!binary aGk=\n", "a tag is not allowed", "p.yaml:1:"),
            ("a: !<tag:yaml.org,2002:str> x\n", "a tag is not allowed", "p.yaml:1:4"),
            ("x: 1\na: .nan\n", "expected a finite number", "p.yaml:2:4"),
            ("a: -.inf\n", "expected a finite number", "p.yaml:1:4"),
            ("a: 18446744073709551616\n", "at most 64 bits", "p.yaml:1:4"),
            ("a: 1\n---\nb: 2\n", "found several", "p.yaml:2:1"),
            ("a: {[x]: 1}\n", "a key must be plain text", "p.yaml:1:"),
            ("a: x\n\tb: 1\n", "not valid YAML", "p.yaml:2:"),
            ("a: @at\n", "not valid YAML", "p.yaml:1:4"),
            ("a: *none\n", "unknown anchor", "p.yaml:1:4"),
            ("ä: 'open\n", "not valid YAML", "p.yaml:"),
            ("a: b: c\n", "not valid YAML", "p.yaml:1:5"),
            ("a: x\0\n", "NUL", "p.yaml:1:5"),
        ] {
            let shown = refused(text);
            assert!(shown.contains(title) && shown.contains(place), "{text:?}: {shown}");
        }
        assert!(refused("").contains("the file is empty"));
        assert!(refused("# nothing\n\n").contains("the file is empty"));
        assert_eq!(parsed("a: if ! true; then b != c; fi\n")["a"], json!("if ! true; then b != c; fi"));
    }

    #[test]
    fn what_is_not_a_pipeline_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words.yaml");
        let refused = |path: &Path| PipelineText::read(path).map(|_| ()).unwrap_err().to_string();
        assert!(refused(folder.path()).contains("found a folder"));
        std::fs::write(&path, format!("a:\n{}", " ".repeat(MAX_BYTES))).unwrap();
        let text = refused(&path);
        assert!(text.contains("larger than 1 MiB") && text.contains("words.yaml:2:"), "{text}");
        std::fs::write(&path, b"a: 1\nb: x\xff\n").unwrap();
        let text = refused(&path);
        assert!(text.contains("not UTF-8") && text.contains("words.yaml:2:5"), "{text}");
        let text = refused(&folder.path().join("word.yaml"));
        assert!(text.contains("cannot read the pipeline file: no such file"), "{text}");
        assert!(text.contains("did you mean") && text.contains("words.yaml"), "{text}");
    }

    #[test]
    fn arguments_are_values_too() {
        assert_eq!(parse_argument("5"), Ok(json!(5)));
        assert_eq!(parse_argument("[a, 1]"), Ok(json!(["a", 1])));
        assert_eq!(parse_argument(""), Ok(Value::Null));
        assert!(parse_argument("[a").is_err());
        assert!(parse_argument("{a: 1, a: 2}").is_err());
        assert!(parse_argument("!!int 5").is_err());
    }
}
