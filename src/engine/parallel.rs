//! Loops on several threads.

use rayon::prelude::*;

/// Maps every item, in parallel if there are several: to wake another thread for a single one, and to wait for
/// it, often takes longer than the work.
pub fn map<T: Sync, R: Send>(items: &[T], each: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    match items {
        [] => Vec::new(),
        [one] => vec![each(one)],
        several => several.par_iter().map(each).collect(),
    }
}
