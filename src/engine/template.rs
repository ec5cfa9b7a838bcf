//! Text with `{name}` in it: parsed once, rendered for each step.
//!
//! A name is letters, digits, `_` and `-`, beginning with a letter or `_`; dots lead into maps
//! (`{model.width}`). `{{` and `}}` are literal braces. There is no logic. A text that consists of a single
//! template keeps the value's type.

use crate::complaint::{Segment, word};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A parsed text.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Name(String),
}

/// Why a text cannot be parsed as a template.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateFault {
    /// The offending piece of the text.
    pub piece: String,
    /// What was expected and found.
    pub title: String,
    /// What to do.
    pub hint: String,
}

/// Why a template cannot be rendered.
#[derive(Debug, Clone, PartialEq)]
pub enum Unfit {
    /// The name's value is null.
    Null(String),
    /// The name's value is a map or a list, which cannot be put into text.
    Compound(String),
    /// The lookup has no value for the name; the second text says why.
    Missing(String, String),
}

impl Template {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Template, TemplateFault> {
        if !has_brace(text) {
            return Ok(Template { parts: vec![Part::Text(text.to_owned())] });
        }
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..at + 1];
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let end = after.find(['{', '}', '\n']).filter(|end| after[*end..].starts_with('}'));
            let Some(end) = end.filter(|_| brace == "{") else {
                let end = after.find('\n').unwrap_or(after.len());
                let piece = rest[at..at + 1 + end].chars().take(20).collect();
                return Err(TemplateFault {
                    piece,
                    title: format!("this `{brace}` belongs to no template"),
                    hint: format!("write `{brace}{brace}` for a literal `{brace}`"),
                });
            };
            let name = &after[..end];
            let shell = plain.ends_with('$');
            if shell || !is_path(name) {
                let piece = format!("{}{{{name}}}", if shell { "$" } else { "" });
                let title = format!("{} is not a template", word(&piece));
                let doubled = format!("{}{{{{{}}}}}", if shell { "$" } else { "" }, name);
                let hint = format!("write {} for literal braces, or `{{name}}` for a param", word(&doubled));
                return Err(TemplateFault { piece, title, hint });
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = &after[end + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template { parts })
    }

    /// The names in it, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text, if it contains no name.
    pub fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The name at its start, if it starts with one.
    pub fn first_name(&self) -> Option<&str> {
        match self.parts.first() {
            Some(Part::Name(name)) => Some(name),
            _ => None,
        }
    }

    /// The name, if there is nothing else in it.
    pub fn only_name(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// Its value: of any type if the template is a single name, else text.
    pub fn value<'v>(&self, lookup: &impl Fn(&str) -> Result<&'v Value, String>) -> Result<Value, Unfit> {
        match self.parts.as_slice() {
            [Part::Name(name)] => {
                lookup(name).cloned().map_err(|missing| Unfit::Missing(name.clone(), missing))
            }
            _ => self.text(lookup).map(Value::String),
        }
    }

    /// Its text.
    pub fn text<'v>(&self, lookup: &impl Fn(&str) -> Result<&'v Value, String>) -> Result<String, Unfit> {
        self.render(lookup, |name| Err(Unfit::Null(name.to_owned())))
    }

    /// Its text, in which the names of values that are null stay as they are written.
    pub fn outline<'v>(&self, lookup: &impl Fn(&str) -> Result<&'v Value, String>) -> Result<String, Unfit> {
        self.render(lookup, |name| Ok(format!("{{{name}}}")))
    }

    fn render<'v>(
        &self,
        lookup: &impl Fn(&str) -> Result<&'v Value, String>,
        null: impl Fn(&str) -> Result<String, Unfit>,
    ) -> Result<String, Unfit> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => text.push_str(plain),
                Part::Name(name) => {
                    match lookup(name).map_err(|missing| Unfit::Missing(name.clone(), missing))? {
                        Value::Null => text.push_str(&null(name)?),
                        Value::Array(_) | Value::Object(_) => return Err(Unfit::Compound(name.clone())),
                        Value::String(value) => text.push_str(value),
                        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
                        Value::Number(value) => text.push_str(&value.to_string()),
                    }
                }
            }
        }
        Ok(text)
    }
}

/// Whether a text may stand between the braces of a template.
pub fn is_path(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').enumerate().all(|(i, part)| if i == 0 { is_name(part) } else { is_part(part) })
}

/// Whether a text can be the name of a param, an axis, a stage or a variant.
pub fn is_name(text: &str) -> bool {
    is_part(text) && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn is_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn has_brace(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'{' | b'}'))
}

fn any_has_brace(value: &Value) -> bool {
    match value {
        Value::String(text) => has_brace(text),
        Value::Array(items) => items.iter().any(any_has_brace),
        Value::Object(map) => map.values().any(any_has_brace),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A value whose texts are templates.
#[derive(Debug, Clone, PartialEq)]
pub enum Pattern {
    /// Nothing in it is a template. Shared with every step that it is rendered for.
    Plain(Arc<Value>),
    /// A text with names in it.
    Text(Template),
    /// A list with templates in it.
    List(Vec<Pattern>),
    /// A map with templates in its values; keys are plain text.
    Map(Vec<(String, Pattern)>),
}

impl Pattern {
    /// Parses every text of a value. An error comes with the path to the text.
    pub fn parse(value: Value) -> Result<Pattern, (Vec<Segment>, TemplateFault)> {
        if !any_has_brace(&value) {
            return Ok(Pattern::Plain(value.into()));
        }
        let below = |segment: Segment| {
            |(mut path, fault): (Vec<Segment>, TemplateFault)| {
                path.insert(0, segment);
                (path, fault)
            }
        };
        match value {
            Value::String(text) => {
                let template = Template::parse(&text).map_err(|fault| (Vec::new(), fault))?;
                Ok(match template.plain() {
                    Some(plain) => Pattern::Plain(Arc::new(plain.into())),
                    None => Pattern::Text(template),
                })
            }
            Value::Array(items) => {
                let parts = items.into_iter().enumerate();
                let parts: Vec<Pattern> = parts
                    .map(|(i, item)| Pattern::parse(item).map_err(below(Segment::Index(i))))
                    .collect::<Result<_, _>>()?;
                if !parts.iter().all(|part| matches!(part, Pattern::Plain(_))) {
                    return Ok(Pattern::List(parts));
                }
                let plain: Value = parts.into_iter().filter_map(Pattern::into_plain).collect();
                Ok(Pattern::Plain(plain.into()))
            }
            Value::Object(map) => {
                let parts = map.into_iter().map(|(key, value)| {
                    let part = Pattern::parse(value).map_err(below(Segment::Key(key.clone())))?;
                    Ok((key, part))
                });
                let parts: Vec<(String, Pattern)> =
                    parts.collect::<Result<_, (Vec<Segment>, TemplateFault)>>()?;
                if !parts.iter().all(|(_, part)| matches!(part, Pattern::Plain(_))) {
                    return Ok(Pattern::Map(parts));
                }
                let plain = parts.into_iter().filter_map(|(key, part)| Some((key, part.into_plain()?)));
                Ok(Pattern::Plain(Value::Object(plain.collect()).into()))
            }
            other => Ok(Pattern::Plain(other.into())),
        }
    }

    fn into_plain(self) -> Option<Value> {
        match self {
            Pattern::Plain(value) => Some(Arc::unwrap_or_clone(value)),
            _ => None,
        }
    }

    /// The template that produces the value at a path, and the rest of the path inside its value.
    pub fn template_at<'p>(&self, path: &'p [String]) -> Option<(&Template, &'p [String])> {
        let (first, rest) = match (self, path.split_first()) {
            (Pattern::Text(template), _) => return Some((template, path)),
            (_, found) => found?,
        };
        match self {
            Pattern::Plain(_) | Pattern::Text(_) => None,
            Pattern::List(items) => items.get(first.parse::<usize>().ok()?)?.template_at(rest),
            Pattern::Map(entries) => {
                entries.iter().find(|(key, _)| key == first).and_then(|(_, item)| item.template_at(rest))
            }
        }
    }

    /// Calls `each` with every template and its path.
    pub fn visit<'p>(&'p self, path: &mut Vec<Segment>, each: &mut impl FnMut(&[Segment], &'p Template)) {
        match self {
            Pattern::Plain(_) => {}
            Pattern::Text(template) => each(path, template),
            Pattern::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    path.push(Segment::Index(i));
                    item.visit(path, each);
                    path.pop();
                }
            }
            Pattern::Map(entries) => {
                for (key, item) in entries {
                    path.push(Segment::Key(key.clone()));
                    item.visit(path, each);
                    path.pop();
                }
            }
        }
    }

    /// Renders every template in the value. An error comes with the path to the template.
    pub fn render<'v>(
        &self,
        lookup: &impl Fn(&str) -> Result<&'v Value, String>,
    ) -> Result<Arc<Value>, (Vec<Segment>, Unfit)> {
        match self {
            Pattern::Plain(value) => Ok(Arc::clone(value)),
            other => other.rendered(lookup).map(Arc::new),
        }
    }

    fn rendered<'v>(
        &self,
        lookup: &impl Fn(&str) -> Result<&'v Value, String>,
    ) -> Result<Value, (Vec<Segment>, Unfit)> {
        let below = |segment: Segment| {
            |(mut path, unfit): (Vec<Segment>, Unfit)| {
                path.insert(0, segment);
                (path, unfit)
            }
        };
        match self {
            Pattern::Plain(value) => Ok((**value).clone()),
            Pattern::Text(template) => template.value(lookup).map_err(|unfit| (Vec::new(), unfit)),
            Pattern::List(items) => {
                let items = items.iter().enumerate();
                let values: Result<Vec<Value>, _> =
                    items.map(|(i, item)| item.rendered(lookup).map_err(below(Segment::Index(i)))).collect();
                Ok(Value::Array(values?))
            }
            Pattern::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, item) in entries {
                    let value = item.rendered(lookup).map_err(|e| below(Segment::Key(key.clone()))(e))?;
                    map.insert(key.clone(), value);
                }
                Ok(Value::Object(map))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(text: &str) -> Result<Value, Unfit> {
        let values =
            json!({"n": 5, "rate": 0.5, "on": true, "s": "x y", "none": null, "m.w": 7, "list": [1]});
        let lookup = |name: &str| values.get(name).ok_or_else(|| "unknown".to_owned());
        Template::parse(text).unwrap().value(&lookup)
    }

    #[test]
    fn one_name_alone_keeps_its_type() {
        assert_eq!(render("{n}"), Ok(json!(5)));
        assert_eq!(render("{list}"), Ok(json!([1])));
        assert_eq!(render("{none}"), Ok(Value::Null));
        assert_eq!(render("{m.w}"), Ok(json!(7)));
    }

    #[test]
    fn names_within_text_are_written_out() {
        assert_eq!(render("a {n}-{rate}{on} {s}"), Ok(json!("a 5-0.5true x y")));
        assert_eq!(render(" {none}"), Err(Unfit::Null("none".into())));
        assert_eq!(render("{list}{n}"), Err(Unfit::Compound("list".into())));
        assert_eq!(render("x{q}"), Err(Unfit::Missing("q".into(), "unknown".into())));
    }

    #[test]
    fn doubled_braces_are_literal() {
        assert_eq!(render("awk '{{print $1}}' ${{HOME}}"), Ok(json!("awk '{print $1}' ${HOME}")));
        assert_eq!(render("{{{n}}}"), Ok(json!("{5}")));
        assert_eq!(render(""), Ok(json!("")));
    }

    #[test]
    fn other_braces_are_faults_with_a_hint() {
        for (text, piece) in [
            ("a {", "{"),
            ("a }b", "}b"),
            ("x {} y", "{}"),
            ("{a b}", "{a b}"),
            ("${HOME}/x", "${HOME}"),
            ("awk '{print $1}'", "{print $1}"),
            ("{a..b}", "{a..b}"),
            ("{.a}", "{.a}"),
            ("{1a}", "{1a}"),
            ("{a{b}}", "{a{b}}"),
            ("{\n}", "{"),
        ] {
            let fault = Template::parse(text).unwrap_err();
            assert_eq!(fault.piece, piece, "{text}");
            assert!(fault.hint.contains("{{") || fault.hint.contains("}}"), "{}", fault.hint);
        }
    }

    #[test]
    fn patterns_render_below_lists_and_maps() {
        let value = json!({"a": ["{n}", "b"], "c": {"d": "{{x}}"}, "e": 1});
        let pattern = Pattern::parse(value).unwrap();
        let five = json!(5);
        let rendered = pattern.render(&|_| Ok(&five)).unwrap();
        assert_eq!(*rendered, json!({"a": [5, "b"], "c": {"d": "{x}"}, "e": 1}));
        let (path, _) = Pattern::parse(json!({"a": ["", "{"]})).unwrap_err();
        assert_eq!(path, [Segment::Key("a".into()), Segment::Index(1)]);
        assert!(matches!(Pattern::parse(json!({"a": ["{{"]})), Ok(Pattern::Plain(_))));
    }
}
