//! Escaping of text in XML and HTML.

/// Escapes text for use in an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            // XML cannot represent these.
            c if c.is_control() && !matches!(c, '\n' | '\t') => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_of_a_text_is_taken_for_markup() {
        let text = "<script>\"a\" & 'b'\u{7}";
        assert_eq!(super::escape(text), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}");
    }
}
