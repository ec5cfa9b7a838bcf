//! Sizes and durations as people write them: `1.5GiB`, `500MB`, `10m`, `1h30m`.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];
const SPANS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

/// Parses a number of bytes; the unit is required.
pub fn bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("expected a size such as `1GiB` or `500MB`, found `{text}`");
    let (number, unit) = split(text.trim()).ok_or_else(expected)?;
    let (_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(expected)?;
    let bytes = number * *factor as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(expected()) }
}

/// Parses a duration. Several units may follow one another, in any order.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as `90s`, `10m` or `1h30m`, found `{text}`");
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = split(rest).ok_or_else(expected)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (_, factor) = SPANS.iter().find(|(name, _)| *name == &after[..end]).ok_or_else(expected)?;
        seconds += number * factor;
        rest = after[end..].trim_start();
    }
    let longest = 10_000.0 * 86_400.0;
    let positive = seconds > 0.0 && seconds < longest;
    if positive { Ok(Duration::from_secs_f64(seconds)) } else { Err(expected()) }
}

/// Splits off the leading number.
fn split(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    Some((number, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("1.5 kb"), Ok(1_500));
        assert_eq!(bytes("0B"), Ok(0));
        for text in ["", "1", "GiB", "-1B", "1e9B", "1G", "99999999999TiB", "1..2B", "1GiB x"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_units_and_are_not_zero() {
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        for text in ["", "10", "0s", "-1s", "10y", "m", "1h30", "99999999d", "ä", "1sä"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
