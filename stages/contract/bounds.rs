//! Limits of params, and the messages for values beyond them.

use crate::stage::Mistake;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// The maximum of anything counted in 32 bits: cells, genes, trees.
pub const MOST: usize = u32::MAX as usize;
/// The maximum width of a layer.
pub const WIDEST: usize = 1 << 16;
/// The maximum of numbers without a tighter limit; well within the range of 32-bit floats.
pub const LARGEST: f64 = 1e12;

/// Refuses a number outside these limits.
pub fn within<T: PartialOrd + Display + Copy>(
    name: &str,
    value: T,
    limits: RangeInclusive<T>,
) -> Result<(), Mistake> {
    if limits.contains(&value) {
        return Ok(());
    }
    // NaN is in no range, so it gets here and is refused too.
    let limit = match value > *limits.end() {
        true => format!("at most {}", limits.end()),
        false => format!("at least {}", limits.start()),
    };
    Err(Mistake::param(name, format!("`{name}` must be {limit}, not {value}")))
}

/// Refuses a number that is not above 0 or is larger than this.
pub fn above_zero(name: &str, value: f64, most: f64) -> Result<(), Mistake> {
    if value > 0.0 && value <= most {
        return Ok(());
    }
    let limit = if value > most { format!("at most {most}") } else { "above 0".to_owned() };
    Err(Mistake::param(name, format!("`{name}` must be {limit}, not {value}")))
}

/// Refuses a share below 0, or not below this limit.
pub fn share_below(name: &str, value: f64, below: f64) -> Result<(), Mistake> {
    if (0.0..below).contains(&value) {
        return Ok(());
    }
    Err(Mistake::param(name, format!("`{name}` must be a share from 0 to below {below}, not {value}")))
}

/// Refuses an empty or blank text.
pub fn not_blank(name: &str, text: &str) -> Result<(), Mistake> {
    if text.trim().is_empty() {
        return Err(Mistake::param(name, format!("`{name}` must not be empty")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{above_zero, share_below, within};

    #[test]
    fn a_refusal_names_the_param_the_limit_and_what_was_given() {
        assert_eq!(within("a.b", 0, 1..=5).unwrap_err().message, "`a.b` must be at least 1, not 0");
        assert_eq!(within("b", 6, 1..=5).unwrap_err().message, "`b` must be at most 5, not 6");
        assert_eq!(above_zero("c", 0.0, 1.0).unwrap_err().message, "`c` must be above 0, not 0");
        assert_eq!(
            share_below("d", 1.0, 1.0).unwrap_err().message,
            "`d` must be a share from 0 to below 1, not 1"
        );
        assert_eq!(within("e", 5, 1..=5), Ok(()));
    }

    #[test]
    fn what_is_no_number_is_never_within_limits() {
        assert!(within("a", f64::NAN, 0.0..=1.0).is_err());
        assert!(above_zero("a", f64::NAN, 1.0).is_err());
        assert!(above_zero("a", f64::INFINITY, f64::MAX).is_err());
        assert!(share_below("a", f64::NAN, 1.0).is_err());
    }
}
