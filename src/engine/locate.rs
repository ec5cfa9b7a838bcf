//! Finds the place of a value in the text of a YAML file.
//!
//! Used only for error messages: `yaml` decides what the values are. No function here recurses, and a text
//! that this parser cannot read simply has no places.

use crate::complaint::{Place, Segment};
use saphyr_parser::{Event, Parser, Span};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// The most nodes that are read; a file of the allowed size has fewer.
const MAX_NODES: usize = 1 << 20;

/// The places of all values in one text.
pub struct Places<'a> {
    text: &'a str,
    nodes: Vec<Node<'a>>,
    /// The first tag such as `!!str`, which a pipeline file may not use.
    pub first_tag: Option<Range<usize>>,
}

struct Node<'a> {
    span: Span,
    content: Content<'a>,
}

enum Content<'a> {
    Scalar(Cow<'a, str>),
    List(Vec<usize>),
    /// Keys and values alternate.
    Map(Vec<usize>),
    Alias(usize),
}

impl<'a> Places<'a> {
    /// Reads the text up to the first syntax error.
    pub fn of(text: &'a str) -> Places<'a> {
        let mut places = Places { text, nodes: Vec::new(), first_tag: None };
        let mut open: Vec<usize> = Vec::new();
        let mut anchors: HashMap<usize, usize> = HashMap::new();
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let (content, anchor, tagged) = match event {
                Event::Scalar(value, _, anchor, tag) => (Content::Scalar(value), anchor, tag.is_some()),
                Event::SequenceStart(anchor, tag) => (Content::List(Vec::new()), anchor, tag.is_some()),
                Event::MappingStart(anchor, tag) => (Content::Map(Vec::new()), anchor, tag.is_some()),
                Event::Alias(anchor) => match anchors.get(&anchor) {
                    Some(target) => (Content::Alias(*target), 0, false),
                    None => break,
                },
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(ended) = open.pop() {
                        places.nodes[ended].span.end = span.end;
                    }
                    continue;
                }
                Event::DocumentEnd => break,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => continue,
            };
            let id = places.nodes.len();
            if id == MAX_NODES {
                break;
            }
            if anchor > 0 {
                anchors.insert(anchor, id);
            }
            if tagged && places.first_tag.is_none() {
                places.first_tag = Some(places.tag_before(span));
            }
            if let Some(parent) = open.last() {
                match &mut places.nodes[*parent].content {
                    Content::List(items) | Content::Map(items) => items.push(id),
                    Content::Scalar(_) | Content::Alias(_) => {}
                }
            }
            if matches!(content, Content::List(_) | Content::Map(_)) {
                open.push(id);
            }
            places.nodes.push(Node { span, content });
        }
        places
    }

    /// The byte range of the value or key at a place. If the place does not exist, its nearest existing
    /// ancestor.
    pub fn find(&self, place: &Place) -> Option<Range<usize>> {
        let mut node = 0;
        let mut key = None;
        self.nodes.first()?;
        for (depth, segment) in place.segments.iter().enumerate() {
            match self.step(node, segment) {
                Some((found_key, value)) => (key, node) = (found_key.or(key), value),
                // If the last key is missing, mark the map that should hold it.
                None if depth > 0 => return self.key_or_value(key, node),
                None => return None,
            }
        }
        if place.at_key { self.key_or_value(key, node) } else { self.value_or_key(key, node) }
    }

    /// The byte range of every occurrence of the place's last key in its map.
    pub fn find_all(&self, place: &Place) -> Vec<Range<usize>> {
        let Some((Segment::Key(name), above)) = place.segments.split_last() else { return Vec::new() };
        let mut node = 0;
        for segment in above {
            match self.step(node, segment) {
                Some((_, value)) => node = value,
                None => return Vec::new(),
            }
        }
        let Some(Content::Map(items)) = self.nodes.get(self.target(node)).map(|node| &node.content) else {
            return Vec::new();
        };
        let keys = items.iter().step_by(2).filter(|key| self.is_scalar(**key, name));
        keys.map(|key| self.bytes(self.nodes[*key].span)).collect()
    }

    /// Where a text nests deeper than `levels`, as a character index. An error means the text cannot be
    /// parsed.
    ///
    /// Takes linear time; `serde_yaml` takes minutes for 200,000 brackets.
    pub fn too_deep(text: &str, levels: usize) -> Result<Option<usize>, (usize, String)> {
        let mut open = 0;
        for event in Parser::new_from_str(text) {
            match event {
                Ok((Event::SequenceStart(..) | Event::MappingStart(..), span)) => {
                    open += 1;
                    if open > levels {
                        return Ok(Some(span.start.index()));
                    }
                }
                Ok((Event::SequenceEnd | Event::MappingEnd, _)) => open -= 1,
                Ok(_) => {}
                Err(error) => return Err((error.marker().index(), error.info().to_owned())),
            }
        }
        Ok(None)
    }

    /// The character index at which values or text exceed these limits once aliases are expanded; else that
    /// of the alias that expands to the most. `None` if the text has no alias and stays within the limits.
    pub fn too_much(text: &str, most_values: u64, most_bytes: u64) -> Option<usize> {
        // Values and bytes of each open node, innermost last, with its anchor; and of each closed anchor.
        let mut open: Vec<(usize, [u64; 2])> = Vec::new();
        let mut closed: HashMap<usize, [u64; 2]> = HashMap::new();
        let mut all = [0u64; 2];
        let mut largest: Option<([u64; 2], usize)> = None;
        let add = |to: &mut [u64; 2], size: [u64; 2]| {
            to.iter_mut().zip(size).for_each(|(to, size)| *to = to.saturating_add(size));
        };
        for event in Parser::new_from_str(text) {
            let Ok((event, span)) = event else { break };
            let at = span.start.index();
            let size = match event {
                Event::Scalar(value, _, anchor, _) => {
                    let size = [1, value.len() as u64];
                    closed.insert(anchor, size);
                    size
                }
                Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                    open.push((anchor, [1, 0]));
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some((anchor, size)) = open.pop() else { break };
                    closed.insert(anchor, size);
                    if let Some((_, around)) = open.last_mut() {
                        add(around, size);
                    }
                    continue;
                }
                Event::Alias(anchor) => {
                    // An alias inside its own anchor would expand for ever.
                    let Some(size) = closed.get(&anchor).copied() else { return Some(at) };
                    if largest.is_none_or(|(other, _)| size > other) {
                        largest = Some((size, at));
                    }
                    size
                }
                _ => continue,
            };
            add(&mut all, size);
            if all[0] > most_values || all[1] > most_bytes {
                return Some(at);
            }
            if let Some((_, around)) = open.last_mut() {
                add(around, size);
            }
        }
        largest.map(|(_, at)| at)
    }

    /// The byte offset of the character with this index.
    pub fn byte(text: &str, index: usize) -> usize {
        text.char_indices().nth(index).map_or(text.len(), |(byte, _)| byte)
    }

    /// The node that an alias refers to, or the node itself if it is no alias. Anchors never name aliases.
    fn target(&self, node: usize) -> usize {
        match self.nodes[node].content {
            Content::Alias(target) => target,
            _ => node,
        }
    }

    fn step(&self, node: usize, segment: &Segment) -> Option<(Option<usize>, usize)> {
        match (&self.nodes[self.target(node)].content, segment) {
            (Content::List(items), Segment::Index(index)) => Some((None, *items.get(*index)?)),
            // The parser of params below `with:` reports list indices as text.
            (Content::List(items), Segment::Key(key)) => {
                Some((None, *items.get(key.parse::<usize>().ok()?)?))
            }
            (Content::Map(items), Segment::Key(key)) => self
                .entry(items, key)
                .map(|(key, value)| (Some(key), value))
                .or_else(|| self.merged(items, key)),
            _ => None,
        }
    }

    fn entry(&self, items: &[usize], name: &str) -> Option<(usize, usize)> {
        let pairs = items.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        pairs.rev().find(|(key, _)| self.is_scalar(*key, name))
    }

    /// Looks the name up in the maps merged by `<<`, one level deep.
    fn merged(&self, items: &[usize], name: &str) -> Option<(Option<usize>, usize)> {
        let (_, merge) = self.entry(items, "<<")?;
        let sources = match &self.nodes[self.target(merge)].content {
            Content::List(sources) => sources.clone(),
            _ => vec![merge],
        };
        sources.into_iter().find_map(|source| match &self.nodes[self.target(source)].content {
            Content::Map(items) => self.entry(items, name).map(|(key, value)| (Some(key), value)),
            _ => None,
        })
    }

    fn is_scalar(&self, node: usize, text: &str) -> bool {
        matches!(&self.nodes[self.target(node)].content, Content::Scalar(value) if value == text)
    }

    fn key_or_value(&self, key: Option<usize>, value: usize) -> Option<Range<usize>> {
        Some(self.bytes(self.nodes[key.unwrap_or(value)].span))
    }

    /// An empty value has no text to mark, so its key is marked.
    fn value_or_key(&self, key: Option<usize>, value: usize) -> Option<Range<usize>> {
        let span = self.bytes(self.nodes[value].span);
        if span.is_empty() { self.key_or_value(key, value) } else { Some(span) }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = Places::byte(self.text, span.start.index());
        let length = span.end.index().saturating_sub(span.start.index());
        start..start + Places::byte(&self.text[start..], length)
    }

    fn tag_before(&self, span: Span) -> Range<usize> {
        let value = self.bytes(span);
        let start = if self.text[value.start..].starts_with('!') {
            value.start
        } else {
            self.text[..value.start].rfind('!').unwrap_or(value.start)
        };
        let start = self.text[..start].trim_end_matches('!').len();
        let length = self.text[start..].find(|c: char| c.is_whitespace()).unwrap_or(self.text.len() - start);
        start..start + length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# über alles
stages:
  größe: &base
    kind: command
    with: {run: 'a b', list: [1, two]}
    script: |
      one {x}
      two
  b:
    <<: *base
    in: *base
    empty:
";

    fn find(place: Place) -> &'static str {
        Places::of(TEXT).find(&place).map_or("nothing", |span| &TEXT[span])
    }

    #[test]
    fn finds_keys_values_and_what_aliases_stand_for() {
        let size = Place::of(&["stages", "größe"]);
        assert_eq!(find(size.clone().at_key()), "größe");
        assert_eq!(find(size.clone().key("kind")), "command");
        assert_eq!(find(size.clone().key("with").key("run")), "'a b'");
        assert_eq!(find(size.clone().key("with").key("list").index(1)), "two");
        assert!(find(size.key("script")).contains("one {x}"));
        assert_eq!(find(Place::of(&["stages", "b", "kind"]).at_key()), "kind");
        assert_eq!(find(Place::of(&["stages", "b", "in", "kind"])), "command");
        assert_eq!(find(Place::of(&["stages", "b", "empty"])), "empty");
    }

    #[test]
    fn what_is_missing_is_shown_at_what_holds_it() {
        assert_eq!(find(Place::of(&["stages", "b", "retries"])), "b");
        assert_eq!(find(Place::of(&["nothing"])), "nothing");
    }

    #[test]
    fn finds_every_key_of_a_name() {
        let text = "a: 1\nb: {x: 1, x: 2}\na: 3\n";
        let places = Places::of(text);
        assert_eq!(places.find_all(&Place::of(&["a"])), [0..1, 21..22]);
        assert_eq!(places.find_all(&Place::of(&["b", "x"])).len(), 2);
    }

    #[test]
    fn hostile_texts_lead_to_no_wrong_place() {
        let found = |text: &str| Places::of(text).find(&Place::of(&["a", "b"]));
        for deep in ["[", "{a: ", "- ", "? "] {
            assert_eq!(found(&deep.repeat(200_000)), None, "{deep:?}");
        }
        for odd in ["", "\0", "*a", "&a *a", "a: *b", "]", "--- !", "\u{feff}"] {
            assert_eq!(found(odd), None, "{odd:?}");
        }
        // `a` is there and `b` is not: the nearest place is the key `a`.
        for odd in ["a: &a *a", "a: !!x"] {
            assert_eq!(found(odd), Some(0..1), "{odd:?}");
        }
    }
}
