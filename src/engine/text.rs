//! Formats numbers and texts for display.

use std::time::Duration;

/// `0.31 s`, `12.4 s`, `3 min 05 s`, `2 h 07 min`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
        s if s < 172_800.0 => format!("{} h {:02} min", s as u64 / 3600, s as u64 / 60 % 60),
        s => format!("{} days", s as u64 / 86_400),
    }
}

/// An estimate: `40 s`, `3 min`, `2 h 10 min`, rounded up to what an estimate can be trusted to.
pub fn roughly(seconds: f64) -> String {
    let up = |to: f64| (seconds / to).ceil() as u64 * to as u64;
    match seconds {
        s if s <= 55.0 => format!("{} s", up(5.0)),
        s if s <= 3540.0 => format!("{} min", up(60.0) / 60),
        _ => format!("{} h {:02} min", up(600.0) / 3600, up(600.0) / 60 % 60),
    }
}

/// A time that was measured, as [`seconds`] shows it.
pub fn duration(duration: Duration) -> String {
    seconds(duration.as_secs_f64())
}

/// `812 B`, `1.4 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{size:.1} {}", UNITS[unit]),
    }
}

/// A measured number: `0.787`, `0.0003`, `12.4`, `3510`, `2.1e-5`.
pub fn number(value: f64) -> String {
    let shown = match value.abs() {
        0.0 => return "0".to_owned(),
        size if size < 5e-5 => return format!("{value:.1e}"),
        size if size < 5e-4 => format!("{value:.4}"),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    shown.replace('-', "−")
}

/// The same with its sign, for differences.
pub fn signed(value: f64) -> String {
    match value > 0.0 {
        true => format!("+{}", number(value)),
        false => number(value).replace('-', "−"),
    }
}

/// Two long texts, each cut to the part around their first difference.
pub fn difference(old: &str, new: &str) -> (String, String) {
    const CHARACTERS: usize = 60;
    const BEFORE: usize = 16;
    if old.chars().count() <= CHARACTERS && new.chars().count() <= CHARACTERS {
        return (old.to_owned(), new.to_owned());
    }
    let common = old.chars().zip(new.chars()).take_while(|(a, b)| a == b).count();
    let skipped = common.saturating_sub(BEFORE);
    let cut = |text: &str| {
        let rest = text.chars().count().saturating_sub(skipped);
        let shown: String = text.chars().skip(skipped).take(CHARACTERS).collect();
        let (start, end) = (if skipped > 0 { "…" } else { "" }, if rest > CHARACTERS { "…" } else { "" });
        format!("{start}{shown}{end}")
    };
    (cut(old), cut(new))
}

/// `1 step`, `2 steps`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_to_their_difference() {
        let (a, b) = ("x".repeat(100) + "old", "x".repeat(100) + "new and more");
        let lead = format!("…{}", "x".repeat(16));
        assert_eq!(difference(&a, &b), (format!("{lead}old"), format!("{lead}new and more")));
        assert_eq!(difference("short", "long"), ("short".to_owned(), "long".to_owned()));
        let (a, _) = difference(&"y".repeat(200), "z");
        assert_eq!(a, format!("{}…", "y".repeat(60)));
    }

    #[test]
    fn measured_numbers_have_as_many_digits_as_they_need() {
        assert_eq!(
            [number(0.78712), number(12.44), number(-3510.2), number(0.0)],
            ["0.787", "12.4", "−3510", "0"]
        );
        assert_eq!([signed(0.0211), signed(-0.00028), number(2.1e-5)], ["+0.021", "−0.0003", "2.1e-5"]);
    }

    #[test]
    fn people_read_them() {
        assert_eq!(
            [seconds(0.314), seconds(12.44), seconds(185.9), seconds(7620.0)],
            ["0.31 s", "12.4 s", "3 min 05 s", "2 h 07 min"]
        );
        assert_eq!(
            [roughly(3.0), roughly(41.0), roughly(58.0), roughly(185.0), roughly(7620.0)],
            ["5 s", "45 s", "1 min", "4 min", "2 h 10 min"]
        );
        assert_eq!([bytes(812), bytes(1_468_006)], ["812 B", "1.4 MiB"]);
        assert_eq!([count(1, "step"), count(0, "step")], ["1 step", "0 steps"]);
    }
}
