//! Turns a fault of a stage into a complaint about the place in the file that caused it.

use crate::complaint::{Complaint, Place, Segment};
use crate::parsed::Untyped;
use crate::spec::Said;
use crate::yaml;
use serde_json::Value;

/// An error in a stage.
#[derive(Debug)]
pub struct StageFault {
    /// The path below the stage.
    pub path: Vec<Segment>,
    /// Whether the last key is at fault instead of its value.
    pub at_key: bool,
    /// The piece of the value's text that is at fault; empty means all of it.
    pub piece: Box<str>,
    /// What was expected and found.
    pub title: String,
    /// The text beside the marked place.
    pub label: Box<str>,
    /// What to do.
    pub hint: Option<String>,
    /// Where the value came from, if not from the place itself.
    pub origin: Option<Box<Origin>>,
}

/// The source of a template's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// This argument of `--set`.
    CommandLine(String),
    /// A place in the file.
    File(Place),
}

impl StageFault {
    /// A fault of the value at a path.
    pub fn new(path: Vec<Segment>, title: impl Into<String>) -> StageFault {
        StageFault {
            path,
            at_key: false,
            piece: Box::default(),
            title: title.into(),
            label: Box::default(),
            hint: None,
            origin: None,
        }
    }

    /// A fault reported by serde.
    pub fn said(path: Vec<Segment>, message: &str) -> StageFault {
        let Said { title, label, hint, at_key } = Said::of(message);
        StageFault { path, at_key, piece: Box::default(), title, label: label.into(), hint, origin: None }
    }

    /// `from` fills the same slot as an entry of `in`.
    pub fn filled_twice(path: Vec<Segment>) -> StageFault {
        let fault = StageFault::new(path, "`from` and `in: {input: …}` fill the same slot");
        fault.at_key().label("the second one").hint("keep one of them")
    }

    /// Blames the last key of the path.
    pub fn at_key(self) -> StageFault {
        StageFault { at_key: true, ..self }
    }

    /// Blames a piece of the text.
    pub fn piece(self, piece: impl Into<Box<str>>) -> StageFault {
        StageFault { piece: piece.into(), ..self }
    }

    /// Sets the text beside the place.
    pub fn label(self, label: impl Into<Box<str>>) -> StageFault {
        StageFault { label: label.into(), ..self }
    }

    /// Sets the hint.
    pub fn hint(self, hint: impl Into<String>) -> StageFault {
        StageFault { hint: Some(hint.into()), ..self }
    }
}

/// The path made of these keys, below a stage.
pub fn path(keys: &[&str]) -> Vec<Segment> {
    keys.iter().map(|key| Segment::Key((*key).to_owned())).collect()
}

/// Finds the place of a fault: in the variant's override if it is there, else in the stage itself.
#[derive(Clone, Copy)]
pub struct Blame<'a> {
    /// The text.
    pub source: &'a yaml::PipelineText,
    /// The whole file.
    pub file: &'a Untyped,
    /// The variant that is being read.
    pub variant: Option<&'a str>,
}

impl Blame<'_> {
    /// The complaint about a fault of a stage.
    pub fn complain(&self, stage: &str, fault: StageFault) -> Complaint {
        let StageFault { path, at_key, piece, mut title, label, hint, origin } = fault;
        let mut place = self.place(stage, &path);
        place.at_key = at_key;
        if let Some(variant) = self.variant {
            title = format!("{title} (in the variant `{variant}`)");
        }
        let complaint = match origin.map(|origin| *origin) {
            None => self.source.complain_of(&place, &piece, title, label),
            Some(Origin::CommandLine(set)) => {
                self.source.complain(&place, format!("{title} (given with `--set {set}`)"), label)
            }
            Some(Origin::File(origin)) => {
                let complaint = self.source.complain(&origin, title, label);
                self.source.mark(complaint, &place, "used here")
            }
        };
        complaint.hint_if(hint)
    }

    fn place(&self, stage: &str, path: &[Segment]) -> Place {
        let own = Place::of(&["stages", stage]);
        let overriding = self.variant.map(|variant| Place::of(&["variants", variant, "stages", stage]));
        for prefix in overriding.into_iter().chain([own.clone()]) {
            let place = prefix.clone().join(path.iter().cloned());
            if self.exists(&place) {
                return place;
            }
            // `from: x` is short for `in: {input: x}`.
            if let [Segment::Key(first), Segment::Key(second), rest @ ..] = path
                && first == "in"
                && second == "input"
            {
                let short = prefix.key("from").join(rest.iter().cloned());
                if self.exists(&short) {
                    return short;
                }
            }
        }
        own.join(path.iter().cloned())
    }

    fn exists(&self, place: &Place) -> bool {
        let mut value = self.file.get();
        place.segments.iter().all(|segment| {
            let below = match (value, segment) {
                (Value::Array(items), Segment::Index(index)) => items.get(*index),
                (Value::Array(items), Segment::Key(key)) => {
                    key.parse().ok().and_then(|i: usize| items.get(i))
                }
                (Value::Object(map), Segment::Key(key)) => map.get(key),
                _ => None,
            };
            below.map(|below| value = below).is_some()
        })
    }
}
