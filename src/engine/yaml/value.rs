//! Parses YAML text to a value, and counts everything on the way to enforce limits.

use crate::complaint::{Place, Segment, word};
use crate::locate::Places;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// The maximum nesting depth.
const MAX_LEVELS: usize = 100;
/// With more brackets than this, the depth is checked first: the time of `serde_yaml` is quadratic in the
/// depth.
const MAX_BRACKETS: usize = 8_000;
/// The maximum number of values after alias expansion.
const MAX_NODES: usize = 1_000_000;
/// The maximum size of the text of all values after alias expansion, in bytes.
const MAX_TEXT: usize = 16 << 20;

/// The message for a text without a value.
pub const EMPTY: &str = "the file is empty";

/// Why a text could not be parsed.
pub struct Failure {
    /// What was expected and found.
    pub title: String,
    /// The text beside the marked place.
    pub label: &'static str,
    /// What to do.
    pub hint: Option<String>,
    /// The place, as a character index.
    pub index: Option<usize>,
    /// The place of a duplicate key.
    pub place: Place,
    /// Whether there is a duplicate key.
    pub twice: bool,
}

/// The value of a text.
pub fn parse(text: &str) -> Result<Value, Failure> {
    if text.matches(['[', '{']).count() > MAX_BRACKETS {
        match Places::too_deep(text, MAX_LEVELS) {
            Ok(None) => {}
            Ok(Some(index)) => return Err(Failure { index: Some(index), ..Failure::too_deep() }),
            Err((index, message)) => {
                let failure = Failure::new(format!("not valid YAML: {message}")).labelled("here");
                return Err(Failure { index: Some(index), ..failure });
            }
        }
    }
    let state = State::default();
    let result = Node { state: &state, level: 0 }.deserialize(serde_yaml::Deserializer::from_str(text));
    let error = match result {
        Ok(Value::Null)
            if text
                .lines()
                .all(|line| line.trim_start().is_empty() || line.trim_start().starts_with('#')) =>
        {
            return Err(Failure::new(EMPTY));
        }
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let index = error.location().map(|location| location.index());
    let mut segments = state.path.into_inner();
    segments.reverse();
    let place = Place { segments, at_key: true };
    let too_much = || Places::too_much(text, MAX_NODES as u64, MAX_TEXT as u64);
    if let Some(failure) = state.failure.into_inner() {
        let index = if failure.title == TOO_MUCH { too_much() } else { index };
        return Err(Failure { index, place, ..failure });
    }
    let mut message = error.to_string();
    if message.contains("more than one document") {
        let mut failure = Failure::new("expected one YAML document, found several");
        failure.hint = Some("put each pipeline into a file of its own".into());
        failure.index = second_document(text);
        failure.label = "another document";
        return Err(failure);
    }
    if message.contains("repetition limit") {
        let failure = Failure::new(TOO_MUCH).labelled(TOO_MUCH_LABEL).hinted(TOO_MUCH_HINT);
        return Err(Failure { index: too_much(), ..failure });
    }
    if let Some(end) = message.find(" at line ") {
        message.truncate(end);
    }
    message = message.replace("did not find expected", "expected");
    let found = index.and_then(|index| text.chars().nth(index));
    let mut failure = Failure::new(format!("not valid YAML: {message}"));
    failure.index = index;
    failure.label = if found.is_none() { "the file ends here" } else { "here" };
    failure.hint = match found {
        Some('\t') => Some("indent with spaces, not tabs".into()),
        Some(c @ ('@' | '`' | '%')) => Some(format!("put text that begins with `{c}` into quotes")),
        _ if message.contains("mapping values") => Some("put text that holds `: ` into quotes".into()),
        _ if message.contains("unknown anchor") => Some("put text that begins with `*` into quotes".into()),
        _ => None,
    };
    Err(failure)
}

const TOO_MUCH: &str = "the file expands to too much: more than a million values, or 16 MiB of text";
const TOO_MUCH_LABEL: &str = "reading stopped here";
const TOO_MUCH_HINT: &str = "use fewer aliases (`*name`)";

impl Failure {
    fn new(title: impl Into<String>) -> Failure {
        Failure { title: title.into(), label: "", hint: None, index: None, place: Place::top(), twice: false }
    }

    fn too_deep() -> Failure {
        Failure::new(format!("the file nests deeper than {MAX_LEVELS} levels")).labelled("too deep")
    }

    fn labelled(self, label: &'static str) -> Failure {
        Failure { label, ..self }
    }

    fn hinted(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

/// The counters so far, and why reading stopped.
#[derive(Default)]
struct State {
    nodes: Cell<usize>,
    text: Cell<usize>,
    failure: RefCell<Option<Failure>>,
    /// The path to an error, innermost segment first; filled only while the error is passed up.
    path: RefCell<Vec<Segment>>,
}

impl State {
    fn fail<E: serde::de::Error>(&self, failure: Failure) -> E {
        self.failure.borrow_mut().get_or_insert(failure);
        E::custom("")
    }

    fn count<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        self.text.set(self.text.get() + bytes);
        if self.nodes.get() > MAX_NODES || self.text.get() > MAX_TEXT {
            return Err(self.fail(Failure::new(TOO_MUCH).labelled(TOO_MUCH_LABEL).hinted(TOO_MUCH_HINT)));
        }
        Ok(())
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct Node<'s> {
    state: &'s State,
    /// The number of lists and maps around it.
    level: usize,
}

impl Node<'_> {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.level == MAX_LEVELS {
            return Err(self.state.fail(Failure::too_deep()));
        }
        Ok(Node { level: self.level + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.state.count(0)?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.state.count(0)?;
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.state.count(0)?;
        Ok(Value::from(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.state.count(0)?;
        Ok(Value::from(value))
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Value, E> {
        Err(self.state.fail(
            Failure::new("expected a number of at most 64 bits")
                .labelled("too large")
                .hinted("quote it if it is text"),
        ))
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<Value, E> {
        self.visit_u128(0)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.state.count(0)?;
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.state.fail(
                Failure::new("expected a finite number")
                    .labelled("not finite")
                    .hinted("quote it if it is text"),
            )),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.state.count(value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.state.fail(
            Failure::new("a tag is not allowed here")
                .labelled("a YAML tag")
                .hinted("leave it out, or quote text that begins with `!`"),
        ))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.state.count(0)?;
        let inner = self.inner()?;
        let mut items = Vec::new();
        loop {
            let next = list.next_element_seed(inner).inspect_err(|_| {
                self.state.path.borrow_mut().push(Segment::Index(items.len()));
            })?;
            match next {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.state.count(0)?;
        let inner = self.inner()?;
        let mut entries = Map::new();
        let mut merges = Vec::new();
        while let Some(key) = map.next_key_seed(Key(self.state))? {
            let value = map.next_value_seed(inner).inspect_err(|_| {
                self.state.path.borrow_mut().push(Segment::Key(key.clone()));
            })?;
            if key == "<<" && merges.is_empty() {
                merges = merge_sources(value).map_err(|failure| self.state.fail::<A::Error>(failure))?;
                continue;
            }
            if key == "<<" || entries.contains_key(&key) {
                self.state.path.borrow_mut().push(Segment::Key(key.clone()));
                let mut failure = Failure::new(format!("the key {} appears twice", word(&key)));
                failure.twice = true;
                return Err(self.state.fail(failure.hinted("rename or remove one of them")));
            }
            entries.insert(key, value);
        }
        for source in merges {
            for (key, value) in source {
                entries.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(entries))
    }
}

/// The maps that `<<` merges.
fn merge_sources(value: Value) -> Result<Vec<Map<String, Value>>, Failure> {
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let maps = values.into_iter().map(|value| match value {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::new("`<<` takes a map or a list of maps").labelled("in this map")),
    });
    maps.collect()
}

/// Reads a key as its text in the file.
struct Key<'s>(&'s State);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        let state = self.0;
        deserializer.deserialize_str(self).map_err(|error| {
            if state.failure.borrow().is_some() {
                return error;
            }
            let failure = Failure::new("a key must be plain text").labelled("in this map");
            state.fail(failure.hinted("write `key: value`; put a key that holds `[`, `{` or `?` into quotes"))
        })
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<String, E> {
        self.0.count(value.len())?;
        Ok(value.to_owned())
    }
}

/// The character index of a second document: of the second `---`, or of what follows `...`.
fn second_document(text: &str) -> Option<usize> {
    let mut index = 0;
    let mut seen = false;
    for line in text.split_inclusive('\n') {
        let marker = line.starts_with("---") || line.starts_with("...");
        if seen && marker {
            return Some(index);
        }
        seen |= marker || !(line.trim().is_empty() || line.starts_with(['#', '%']));
        index += line.chars().count();
    }
    None
}
