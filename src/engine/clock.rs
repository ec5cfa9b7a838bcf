//! The calendar, for display only. No decision depends on it, because clocks jump.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `20261121-154502`, which sorts by time.
pub fn compact(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
    // Days to a civil date, counting years from March so that leap days come last
    // (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// `15:45:02 UTC`.
pub fn time(unix_seconds: u64) -> String {
    date(unix_seconds).split_off(11)
}

/// `2026-11-21 15:45:02 UTC`.
pub fn date(unix_seconds: u64) -> String {
    let compact = compact(unix_seconds);
    let (date, time) = compact.split_at(8);
    format!(
        "{}-{}-{} {}:{}:{} UTC",
        &date[..4],
        &date[4..6],
        &date[6..],
        &time[1..3],
        &time[3..5],
        &time[5..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(compact(0), "19700101-000000");
        assert_eq!(compact(951_782_399), "20000228-235959");
        assert_eq!(compact(951_782_400), "20000229-000000");
        assert_eq!(compact(1_795_236_302), "20261121-044502");
        assert_eq!(date(1_795_236_302), "2026-11-21 04:45:02 UTC");
    }
}
