//! The tokens of a source file that affect what it computes.

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};
use std::collections::BTreeSet;

/// The keywords after `#[cfg(test)]` for which the whole item is left out. Any other item stays in the
/// digest, which at worst costs a rerun.
const ITEM_STARTS: [&str; 14] = [
    "async",
    "const",
    "enum",
    "fn",
    "impl",
    "let",
    "macro_rules",
    "mod",
    "pub",
    "static",
    "struct",
    "trait",
    "type",
    "use",
];

/// A source file as the digest sees it.
pub struct Source {
    tokens: Vec<TokenTree>,
}

impl Source {
    /// Parses Rust source. Comments are not tokens, so they are dropped.
    pub fn parse(text: &str) -> Result<Source, String> {
        let tokens: TokenStream = text.parse().map_err(|error| format!("is no Rust source: {error}"))?;
        Ok(Source { tokens: without_docs_and_tests(tokens) })
    }

    /// The digest of the tokens. Neither white space nor a comma before a closing bracket changes it.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hash(&self.tokens, &mut hasher);
        hasher.finalize().to_hex().to_string()
    }

    /// Every path in the file, as segments, with the braces of `use` expanded.
    pub fn paths(&self) -> BTreeSet<Vec<String>> {
        let mut paths = BTreeSet::new();
        collect_paths(&self.tokens, &mut paths);
        paths
    }

    /// The modules that the file declares without a body.
    pub fn declared_modules(&self) -> Vec<String> {
        let declaration = |three: &[TokenTree]| match three {
            [keyword, TokenTree::Ident(name), end] if is_ident(keyword, "mod") && is_punct(end, ';') => {
                Some(name.to_string())
            }
            _ => None,
        };
        self.tokens.windows(3).filter_map(declaration).collect()
    }

    /// Whether the file calls a macro of this name.
    pub fn calls(&self, name: &str) -> bool {
        calls(&self.tokens, name)
    }

    /// The files whose content is built in by `include_str!` or `include_bytes!`, as written.
    pub fn included_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        collect_included(&self.tokens, &mut files);
        files
    }
}

fn is_ident(token: &TokenTree, text: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == text)
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn group(token: &TokenTree, delimiter: Delimiter) -> Option<&Group> {
    match token {
        TokenTree::Group(group) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

fn without_docs_and_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if let Some((attribute, after)) = attribute_at(&tokens, at) {
            if attribute.starts_with("doc=") {
                at = after;
                continue;
            }
            if (attribute == "cfg(test)" || attribute.starts_with("cfg(any(test,"))
                && let Some(end) = end_of_item(&tokens, after)
            {
                at = end;
                continue;
            }
        }
        kept.push(match &tokens[at] {
            TokenTree::Group(group) => {
                let inner = without_docs_and_tests(group.stream()).into_iter().collect();
                TokenTree::Group(Group::new(group.delimiter(), inner))
            }
            other => other.clone(),
        });
        at += 1;
    }
    kept
}

/// The text of the attribute that begins at this token, without white space, and the index after it.
fn attribute_at(tokens: &[TokenTree], at: usize) -> Option<(String, usize)> {
    if !is_punct(tokens.get(at)?, '#') {
        return None;
    }
    let inner = usize::from(is_punct(tokens.get(at + 1)?, '!'));
    let brackets = group(tokens.get(at + 1 + inner)?, Delimiter::Bracket)?;
    let text = brackets.stream().to_string().split_whitespace().collect();
    Some((text, at + 2 + inner))
}

/// The index after the item that begins here: after its `;`, or after its braces and an optional `;`.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> Option<usize> {
    while let Some((_, after)) = attribute_at(tokens, at) {
        at = after;
    }
    let begins_item =
        ITEM_STARTS.iter().any(|keyword| tokens.get(at).is_some_and(|token| is_ident(token, keyword)));
    if !begins_item {
        return None;
    }
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if is_punct(token, ';') {
            return Some(index + 1);
        }
        if group(token, Delimiter::Brace).is_some() {
            let semicolon = tokens.get(index + 1).is_some_and(|next| is_punct(next, ';'));
            return Some(index + 1 + usize::from(semicolon));
        }
    }
    None
}

fn hash(tokens: &[TokenTree], hasher: &mut blake3::Hasher) {
    let mut before: Option<&TokenTree> = None;
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                let mut inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let ends_with_comma = inner.last().is_some_and(|last| is_punct(last, ','));
                if ends_with_comma && !may_be_tuple(group, before, &inner) {
                    inner.pop();
                }
                hasher.update(open.as_bytes());
                hash(&inner, hasher);
                hasher.update(close.as_bytes());
            }
            TokenTree::Punct(punct) => {
                // `a & &b` is not `a && b`. Spacing matters only before another punctuation token.
                let joined = punct.spacing() == Spacing::Joint
                    && matches!(tokens.get(index + 1), Some(TokenTree::Punct(_)));
                hasher.update(punct.as_char().to_string().as_bytes());
                hasher.update(if joined { b"" } else { b" " });
            }
            other => {
                hasher.update(other.to_string().as_bytes());
                hasher.update(b" ");
            }
        }
        before = Some(token);
    }
}

/// `(x,)` differs from `(x)`, unless it is a list of arguments.
fn may_be_tuple(group: &Group, before: Option<&TokenTree>, inner: &[TokenTree]) -> bool {
    let single = inner.iter().filter(|token| is_punct(token, ',')).count() == 1;
    let called = match before {
        Some(TokenTree::Ident(_) | TokenTree::Group(_)) => true,
        Some(TokenTree::Punct(punct)) => matches!(punct.as_char(), '>' | '!'),
        Some(TokenTree::Literal(_)) | None => false,
    };
    group.delimiter() == Delimiter::Parenthesis && single && !called
}

fn collect_paths(tokens: &[TokenTree], paths: &mut BTreeSet<Vec<String>>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => {
                let begins = at == 0 || !is_punct(&tokens[at - 1], ':') || !follows_path_sign(tokens, at);
                let named = at > 0 && is_ident(&tokens[at - 1], "use");
                let length = path_from(tokens, at, &[], paths, begins, named);
                at += length.max(1);
            }
            TokenTree::Group(group) => {
                collect_paths(&group.stream().into_iter().collect::<Vec<_>>(), paths);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// Whether `::` stands before a token.
fn follows_path_sign(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_punct(&tokens[at - 1], ':') && is_punct(&tokens[at - 2], ':')
}

/// Adds the paths that begin here, below `prefix`. Returns how many tokens they span.
fn path_from(
    tokens: &[TokenTree],
    start: usize,
    prefix: &[String],
    paths: &mut BTreeSet<Vec<String>>,
    begins: bool,
    single_counts: bool,
) -> usize {
    let mut segments = prefix.to_vec();
    let mut at = start;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        segments.push(ident.to_string());
        at += 1;
        let continues = tokens.get(at).is_some_and(|token| is_punct(token, ':'))
            && tokens.get(at + 1).is_some_and(|token| is_punct(token, ':'));
        if !continues {
            break;
        }
        at += 2;
        if let Some(braces) = tokens.get(at).and_then(|token| group(token, Delimiter::Brace)) {
            let inner: Vec<TokenTree> = braces.stream().into_iter().collect();
            for branch in inner.split(|token| is_punct(token, ',')) {
                path_from(branch, 0, &segments, paths, true, true);
            }
            return at + 1 - start;
        }
    }
    if begins && (single_counts || segments.len() > 1) {
        paths.insert(segments);
    }
    at - start
}

fn calls(tokens: &[TokenTree], name: &str) -> bool {
    tokens.windows(2).any(|two| is_ident(&two[0], name) && is_punct(&two[1], '!'))
        || tokens.iter().any(|token| match token {
            TokenTree::Group(group) => calls(&group.stream().into_iter().collect::<Vec<_>>(), name),
            _ => false,
        })
}

fn collect_included(tokens: &[TokenTree], files: &mut Vec<String>) {
    for (index, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
        let included = index >= 2
            && is_punct(&tokens[index - 1], '!')
            && ["include_str", "include_bytes"].iter().any(|name| is_ident(&tokens[index - 2], name));
        match inner.as_slice() {
            [TokenTree::Literal(path)] if included => {
                files.push(path.to_string().trim_matches('"').to_owned())
            }
            _ => collect_included(&inner, files),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> String {
        Source::parse(text).unwrap().digest()
    }

    fn paths(text: &str) -> Vec<String> {
        Source::parse(text).unwrap().paths().into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn comments_tests_and_layout_change_no_digest() {
        let plain = digest("fn f(a: u8, b: u8) -> u8 { g(a) + b }");
        assert_eq!(
            plain,
            digest("//! Doc.\n/// Says.\nfn f(\n  a: u8, // why\n  b: u8,\n) -> u8 { g(\n a,\n) + b }")
        );
        assert_eq!(
            plain,
            digest("fn f(a: u8, b: u8) -> u8 { g(a) + b } #[cfg(test)] mod tests { const X: u8 = 1; }")
        );
        assert_eq!(plain, digest("#[cfg(test)] use a::{b, c};\nfn f(a: u8, b: u8) -> u8 { g(a) + b }"));
        assert_eq!(
            plain,
            digest(
                "fn f(a: u8, b: u8) -> u8 { g(a) + b } #[cfg(any(test, feature = \"testing\"))] pub mod helpers;"
            )
        );
        assert_eq!(
            plain,
            digest("fn f(a: u8, b: u8) -> u8 { #[cfg(test)] const X: T = T { x: 1 }; g(a) + b }")
        );
    }

    #[test]
    fn what_computes_changes_the_digest() {
        let texts = [
            "fn f() -> u8 { 1 }",
            "fn f() -> u8 { 2 }",
            "fn f() { (1) }",
            "fn f() { (1,) }",
            "fn f() { a && b }",
            "fn f() { a & &b }",
            "fn f() { \"a  b\" }",
            "fn f() { \"a b\" }",
            "struct S { #[cfg(test)] a: u8, b: u8 }",
            "struct S { #[cfg(test)] a: u8, b: u16 }",
        ];
        let digests: BTreeSet<String> = texts.iter().map(|text| digest(text)).collect();
        assert_eq!(digests.len(), texts.len());
    }

    #[test]
    fn paths_are_found_in_imports_expressions_and_macros() {
        let text = "use crate::kit::{table::{self, Writer}, genes as g};\nuse rayon;\n\
                    fn f() { bail!(\"x\", crate::kit::rng::new()); let x: super::y::Z = std::mem::take(a); }";
        assert_eq!(
            paths(text),
            [
                "crate::kit::genes",
                "crate::kit::rng::new",
                "crate::kit::table::Writer",
                "crate::kit::table::self",
                "rayon",
                "std::mem::take",
                "super::y::Z",
            ]
        );
    }

    #[test]
    fn calls_of_a_macro_are_found_outside_tests() {
        let calls = |text: &str| Source::parse(text).unwrap().calls("code");
        assert!(calls("const K: Kind = Kind::of(code!());") && calls("fn f() { g(contract::code!(gpu)) }"));
        assert!(
            !calls("fn code() { recode!() }") && !calls("#[cfg(test)] mod tests { const C: u8 = code!(); }")
        );
    }

    #[test]
    fn modules_and_included_files_outside_tests_are_found() {
        let source = Source::parse(
            "mod a; pub(super) mod b; mod c { } #[cfg(test)] mod d;\n\
             const RULES: &str = include_str!(\"rules.txt\"); #[cfg(test)] const T: &str = include_str!(\"t.txt\");",
        )
        .unwrap();
        assert_eq!(source.declared_modules(), ["a", "b"]);
        assert_eq!(source.included_files(), ["rules.txt"]);
    }
}
